"""Conditions from the JSON file into a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import BadValue, StorageError
from pipeline.trading.strategy import Strategy
from sinks.ledger.import_conditions import import_conditions
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.filled import condition


def test_they_come_as_they_are_and_once(ledger: Ledger, tmp_path: Path) -> None:
    with JsonConditions(tmp_path / "c.json") as file:
        file.save_many([condition("c1"), condition("c2", parameters={"note": "0.1"})])
        file.change("c2", lambda c: c.pause())
        kept = file.find_all()
    assert import_conditions(ledger._database, tmp_path / "c.json").added == 2
    assert sorted(ledger.conditions.find_all(), key=lambda c: c.condition_id) == kept
    again = import_conditions(ledger._database, tmp_path / "c.json")
    assert (again.added, again.same) == (0, 2)


def test_what_differs_stays_unless_told(ledger: Ledger, tmp_path: Path) -> None:
    with JsonConditions(tmp_path / "c.json") as file:
        file.save(condition("c1"))
        import_conditions(ledger._database, tmp_path / "c.json")
        file.change("c1", lambda c: c.cancel())
    held = ledger.conditions.find_by_id("c1")
    assert held is not None
    assert import_conditions(ledger._database, tmp_path / "c.json").differing == ["c1"]
    assert ledger.conditions.find_by_id("c1") == held
    assert import_conditions(ledger._database, tmp_path / "c.json", replace=True).replaced == 1
    found = ledger.conditions.find_by_id("c1")
    assert found is not None
    assert (found.status, found.version) == ("cancelled", 3)


def test_a_strategy_that_the_ledger_lacks_is_named_and_nothing_is_taken(ledger: Ledger, tmp_path: Path) -> None:
    with JsonConditions(tmp_path / "c.json") as file:
        file.save_many([condition("c1"), condition("c2", strategy_id="s1")])
    with pytest.raises(BadValue, match=r"c\.json: condition 'c2' is of strategy 's1', which the ledger lacks"):
        import_conditions(ledger._database, tmp_path / "c.json")
    assert ledger.conditions.count() == 0
    ledger.strategies.save(Strategy(strategy_id="s1", name="one"))
    assert import_conditions(ledger._database, tmp_path / "c.json").added == 2


def test_a_damaged_or_absent_file_is_named_and_left(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(StorageError, match=r"c\.json"):
        import_conditions(ledger._database, tmp_path / "c.json")
    assert (tmp_path / "c.json").read_text() == "{"
    with pytest.raises(BadValue, match="nowhere"):
        import_conditions(ledger._database, tmp_path / "nowhere.json")
    assert not (tmp_path / "nowhere.json").exists()
