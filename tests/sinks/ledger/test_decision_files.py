"""Decisions from and to a folder of `{date}_{id}.json`; seed files of other programs come as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.trading.minute_ref import MinuteRef
from sinks.ledger.decision_files import export_decisions, import_decisions
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.filled import decision

MALFORMED: dict[str, str | bytes] = {
    "2024-10-23_cut.json": '{"id": "cut", ',
    "2024-10-23_list.json": "[1, 2]",
    "2024-10-23_none.json": '{"action": "BUY"}',
    "2024-10-23_nan.json": '{"id": "nan", "confidence": NaN}',
    "2024-10-23_way.json": '{"id": "../../etc/passwd", "timestamp": "2024-10-23T14:30:00"}',
    "2024-10-23_act.json": '{"id": "act", "action": "GAMBLE"}',
    "2024-10-23_bytes.json": b"\xff\xfe\x00",
    "2024-10-23_deep.json": "[" * 100_000,
}


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with open_ledger("memory://") as opened:
        yield opened


def put(folder: Path, *decisions: dict[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    for each in decisions:
        (folder / f"2024-10-23_{each['id']}.json").write_text(json.dumps(each))


def test_a_folder_comes_in_and_goes_out_the_same(ledger: Ledger, tmp_path: Path) -> None:
    rich = decision("d2", nested={"deep": [1, 2.5, None, True]}, tiny=1e-07, big=2**62, confidence=85, note="\u00fc=1+1")
    put(tmp_path / "in", decision("d1"), rich, {"id": "bare"})
    taken = import_decisions(ledger._database, tmp_path / "in")
    assert (taken.added, taken.refused) == (3, {})
    assert ledger.decisions.get_decision_by_id("d2") == rich
    assert export_decisions(ledger._database, tmp_path / "out") == 3
    assert json.loads((tmp_path / "out" / "2024-10-23_d2.json").read_text()) == rich
    with open_ledger("memory://") as other:
        assert import_decisions(other._database, tmp_path / "out").added == 3
        for key in ("d1", "d2", "bare"):
            assert other.decisions.get_decision_by_id(key) == ledger.decisions.get_decision_by_id(key)


def test_taken_in_again_nothing_changes_and_what_differs_stays_unless_told(ledger: Ledger, tmp_path: Path) -> None:
    put(tmp_path, decision("d1"), decision("d2"))
    import_decisions(ledger._database, tmp_path)
    put(tmp_path, decision("d2", confidence=0.1))
    again = import_decisions(ledger._database, tmp_path)
    assert (again.added, again.same, again.differing) == (0, 1, ["d2"])
    assert ledger.decisions.get_decision_by_id("d2") == decision("d2")
    told = import_decisions(ledger._database, tmp_path, replace=True)
    assert (told.replaced, told.same, told.differing) == (1, 1, [])
    assert ledger.decisions.get_decision_by_id("d2") == decision("d2", confidence=0.1)


def test_malformed_files_are_named_and_counted_and_left_where_they_are(ledger: Ledger, tmp_path: Path) -> None:
    put(tmp_path, decision("good"))
    for name, text in MALFORMED.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "2024-10-23_folder.json").mkdir()
    (tmp_path / "notes.txt").write_text("not one of them")
    before = sorted(tmp_path.iterdir())
    taken = import_decisions(ledger._database, tmp_path)
    assert taken.added == 1
    assert set(taken.refused) == {*MALFORMED, "2024-10-23_folder.json"}
    assert "expected one of BUY, SELL, HOLD" in taken.refused["2024-10-23_act.json"]
    assert "\n" not in "".join(taken.refused.values())
    assert sorted(tmp_path.iterdir()) == before
    assert ledger.decisions.get_decision_count() == 1


def test_the_minutes_that_a_decision_saw_go_with_it(ledger: Ledger, tmp_path: Path) -> None:
    seen = MinuteRef("binance", "BTCUSDT", 28_828_710, 2, "abc")
    ledger.decisions.save_decision(decision("d1"), [seen])
    export_decisions(ledger._database, tmp_path)
    with open_ledger("memory://") as other:
        import_decisions(other._database, tmp_path)
        assert other.decisions.minutes_seen() == [("d1", seen)]


def test_a_folder_that_is_not_there_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere: can't be read"):
        import_decisions(ledger._database, tmp_path / "nowhere")


def test_a_second_minute_of_the_same_name_refuses_that_file_only(ledger: Ledger, tmp_path: Path) -> None:
    ref = {"venue": "binance", "symbol": "BTCUSDT", "minute": 5, "revision": 1, "checksum": "x"}
    put(tmp_path, decision("twice", minutes=[ref, ref | {"revision": 2}]), decision("good"))
    taken = import_decisions(ledger._database, tmp_path)
    assert (taken.added, list(taken.refused)) == (1, ["2024-10-23_twice.json"])
    assert ledger.decisions.get_decision_by_id("twice") is None
