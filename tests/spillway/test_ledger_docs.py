"""The page of the ledger: what its tables name is there, and what is there stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from sinks.ledger.repository import Repository
from spillway.ledger import open_ledger, open_shared

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
