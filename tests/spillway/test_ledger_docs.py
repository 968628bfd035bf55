"""The page of the ledger: what its tables name is there, and what is there stands in them."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from sinks.ledger.audit import audit
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.repository import Repository
from spillway.ledger import DatabaseManager, open_ledger, open_shared
from tests.processes import succeed
from tests.sinks.ledger.filled import condition

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
IN_A_LEDGER = ["accounts", "balances", "conditions", "decisions", "orders"]
IN_A_LEDGER += ["performance", "positions", "strategies", "trades", "transactions"]
IN_REDIS = ["services", "cache"]
SEED_002 = {"strategies": 10, "orders": 14, "trades": 11, "positions": 13, "services": 10, "cache": 16}
OF_ALL = {name for name in dir(Repository) if not name.startswith("_")}


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, object]]:
    """What the tables tell of, by name."""
    with open_ledger("memory://") as ledger, open_shared("memory://") as shared:
        yield {name: getattr(ledger, name) for name in IN_A_LEDGER} | {name: getattr(shared, name) for name in IN_REDIS}


@pytest.mark.parametrize("what", IN_A_LEDGER + IN_REDIS)
def test_each_operation_stands_in_a_table_and_is_there(opened: dict[str, object], what: str) -> None:
    told = set(re.findall(rf"`{what}\.(\w+)`", PAGE))
    there = (
        {name for name in dir(opened[what]) if not name.startswith("_")} - {"kind"} - ({"close"} if what in IN_REDIS else set())
    )
    assert told <= there
    assert there - told <= (OF_ALL if isinstance(opened[what], Repository) else set())


def test_the_manager_stands_in_a_table_too() -> None:
    told = set(re.findall(r"`manager\.(\w+)`", PAGE))
    with DatabaseManager("memory://") as manager:
        assert told == {name for name in dir(manager) if not name.startswith("_")}


def test_the_example_does_what_it_says() -> None:
    example = dedent(PAGE[PAGE.index("    from spillway.ledger") : PAGE.index("\nThe calls block")])
    example = (
        example.replace("sqlite:///data/ledger.db", "memory://") + "    held = str(ledger.balances.find_by_id('acc_001'))\n"
    )
    known: dict[str, object] = {"now": datetime.now(UTC)}
    exec(example, known)
    assert known["held"] == "0.1 BTC, 5500.5 USDT"


def test_what_all_repositories_share_is_named() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("`save`, `create`")]
    assert set(re.findall(r"`(\w+)`", line)) == OF_ALL | {"find"}


def test_as_many_operations_as_the_seed_counts_are_there() -> None:
    rows = re.findall(r"^\| (?!\(ours\))[^|]+\| ([^|]+)\|", PAGE, re.MULTILINE)
    counted = {what: sum(f"`{what}." in row for row in rows) for what in SEED_002}
    assert all(counted[what] >= number for what, number in SEED_002.items()), counted
    assert sum(counted.values()) >= 72


UPGRADE = (Path(__file__).parents[2] / "docs" / "ledger-upgrade.md").read_text()


def commands(page: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^ {4,}(spillway ledger .+)$", page, re.MULTILINE)]


def test_the_page_of_upgrades_leads_from_a_json_file_to_postgresql_and_to_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with JsonConditions(Path("data/conditions.json")) as file:
        file.save(condition("c1"))
    Path("data/decisions").mkdir()
    Path("data/decisions/2024-10-23_d1.json").write_text('{"id": "d1", "timestamp": "2024-10-23T14:30:00"}')
    for args in commands(UPGRADE):
        succeed(*(arg.replace("postgresql://user@host/db", postgres_url) for arg in args))
    with open_ledger(postgres_url) as there:
        assert [found.condition_id for found in there.conditions.find_all()] == ["c1"]
    assert [path.name for path in Path("data/decisions-again").iterdir()] == ["2024-10-23_d1.json"]


def test_the_short_program_of_the_page_brings_accounts_and_their_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    with sqlite3.connect("data/jarvis_trading.db") as old:
        old.execute("CREATE TABLE accounts (account_id TEXT, name TEXT)")
        old.execute(
            "CREATE TABLE transactions (account_id TEXT, transaction_type TEXT, amount REAL, currency TEXT, created_at TEXT)"
        )
        old.execute("INSERT INTO accounts VALUES ('acc_001', 'Main')")
        old.executemany("INSERT INTO transactions VALUES ('acc_001', 'deposit', ?, 'USDT', '2024')", [(0.1,), (0.2,)])
    old.close()
    program = UPGRADE[UPGRADE.index("    import sqlite3") : UPGRADE.index("\nPut in the columns")]
    known: dict[str, Any] = {}
    exec(dedent(program), known)
    known["old"].close()
    with open_ledger("sqlite:///data/ledger.db") as ledger:
        assert str(ledger.balances.available("acc_001", "USDT")) == "0.3 USDT"
        assert audit(ledger.database).differences == []
