"""docs/analysis.md: its examples run, and it leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spillway import analysis
from tests.spillway.analysis import agree

DOCS = (Path(__file__).parents[3] / "docs" / "analysis.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in DOCS.split("\n## ")[1:]}


@pytest.mark.parametrize("title", [title for title, text in SECTIONS.items() if "\n    " in text])
def test_the_examples_run(title: str) -> None:
    levels = agree.levels((n * 7, str(100 + n * 5 % 17), str(n % 4), "1.5") for n in range(200))
    minutes = agree.minutes((n, "complete", n + 1, n + 1) for n in range(1400))
    prices = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0}
    volumes = {"buy_volume": 1.0, "sell_volume": 0.5, "total_volume": 1.5, "trade_count": 1}
    names: dict[str, Any] = {"analysis": analysis, "Session": analysis.Session, "levels": levels}
    names["minutes"] = minutes.assign(**prices, **volumes)
    lines = re.findall(r"^    (.+)$", SECTIONS[title], re.M)
    assert len(lines) == 3
    for line in lines:
        code = compile(line, title, "exec" if re.match(r"\w+ = ", line) else "eval")
        found = eval(code, names)
        assert found is None or isinstance(found, pd.DataFrame | pd.Series) or found == 1, line


def test_every_function_has_its_section_and_every_docstring_its_source() -> None:
    titles = " ".join(SECTIONS)
    for name in analysis.__all__:
        function = getattr(analysis, name)
        if isinstance(function, type):
            continue
        assert f"`{name}`" in titles or name == "tick_size"
        assert name in DOCS
        assert name == "tick_size" or "Source: " in (function.__doc__ or ""), name
