"""docs/security.md: each limit that it tells is the one in the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
ROWS = re.findall(r"^\| ([^|]+) \| ([\d,]+)[^|]*\| [^|]+ \| `([\w.]+)` \|$", PAGE.read_text(), re.M)


def test_the_page_has_its_table() -> None:
    assert len(ROWS) > 20
    assert len(ROWS) == PAGE.read_text().count("` |\n")


@pytest.mark.parametrize(("what", "number", "where"), ROWS)
def test_a_limit_is_what_the_page_says(what: str, number: str, where: str) -> None:
    module, _, name = where.rpartition(".")
    holder = None
    if module.endswith(".Limits"):
        module, _, kind = module.rpartition(".")
        holder = getattr(importlib.import_module(module), kind)()
    assert getattr(holder or importlib.import_module(module), name) == int(number.replace(",", "")), what
