"""The page on the ledger among programs: its examples do what they say, and its tables are those of the code."""

from __future__ import annotations

import ast
import re
from decimal import Decimal
from inspect import iscoroutine
from pathlib import Path
from textwrap import dedent
from types import FunctionType

import pytest

import spillway.ledger
from pipeline.trading.condition import Condition
from pipeline.trading.order import Order
from sinks.ledger.changes import Changes
from spillway.trading_config import AdapterConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ledger-services.md").read_text()
EXAMPLES = [dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)]


def test_the_page_has_an_example_in_each_section() -> None:
    assert len(EXAMPLES) == PAGE.count("\n## ") == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("(")[0].split()[-1])
async def test_each_example_runs(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(f"TRADING_ADAPTER_{name}", "memory://")
    with spillway.ledger.open_ledger("sqlite:///data/ledger.db") as ledger:
        before = ledger.changes.latest()
        ledger.conditions.save(Condition(symbol="X"))
    example = re.sub(r'"redis://[^"]*"', '"memory://"', example).replace("ledger.changes.latest()", str(before))
    order = Order(order_id="o1", symbol="X", side="buy", order_type="market", quantity=1)  # type: ignore[arg-type]
    known = {name: getattr(spillway.ledger, name) for name in spillway.ledger.__all__} | {"Decimal": Decimal, "order": order}
    code = compile(example, "the page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = FunctionType(code, known)()
    if iscoroutine(result):
        await result
    assert known.get("closed", 1) == 1


def test_each_setting_of_the_adapter_stands_in_its_table() -> None:
    table = PAGE[PAGE.index("| `TRADING_ADAPTER_...`") : PAGE.index("An unknown variable")]
    told = {
        name.lower()
        for name in re.findall(r"`([A-Z_]{2,})`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:] if row))
    }
    assert told == set(AdapterConfig.model_fields)


def test_each_operation_on_changes_stands_in_its_table() -> None:
    told = set(re.findall(r"^\| `changes\.(\w+)\(", PAGE, re.MULTILINE))
    assert told == {name for name in vars(Changes) if not name.startswith("_")} - {"follow_batches"}


def test_the_user_has_as_many_rights_as_the_page_says() -> None:
    users = (ROOT / "config" / "redis" / "users.acl").read_text().splitlines()
    (user,) = (line for line in users if line.startswith("user trading-adapter "))
    assert f"{len(re.findall(r' [+](?!@)', user))} commands" in PAGE
