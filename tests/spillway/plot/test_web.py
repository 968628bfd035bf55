"""Interactive pictures: one file that needs nothing else, and shows what the still one shows."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from spillway import plot
from spillway.plot.picture import Picture
from tests.spillway.plot.frames import BAR, LIFTED, levels, minutes
from tests.spillway.plot.test_coverage_view import hours

PICTURES = {
    "footprint": lambda title: plot.footprint(levels(BAR, LIFTED), minutes("complete", "unknown"), title=title),
    "bars": lambda title: plot.bars(minutes("complete", None, "degraded"), title=title),
    "coverage": lambda title: plot.coverage(hours([30, 0, 0, 30, 0, 0]), title=title),
}


class Page(HTMLParser):
    """Which tags a page has, with their attributes, and what stands in its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.title = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        if self._in == "title":
            self.title += data


def figure_of(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.scripts[1])
    return found


def page_of(picture: Picture) -> Page:
    return Page(picture.encoded(".html").decode())


@pytest.mark.parametrize("kind", PICTURES)
def test_a_page_loads_nothing_and_forbids_the_browser_to(kind: str) -> None:
    page = page_of(PICTURES[kind]("binance BTCUSDT"))
    assert {tag for tag, _ in page.tags} <= {"html", "head", "meta", "title", "style", "script", "body", "div"}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "srcset", "data", "action"} & set(attrs)]
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?:|connect-src|\*", policy)
    assert "form-action 'none'" in policy  # plotly uploads by a form, which no other rule forbids
    assert '"sendChartToCloud"' in page.scripts[2]  # and its button is taken away
    assert "http" not in json.dumps(figure_of(page))
    assert len(page.scripts[0]) > 1_000_000  # the library itself


@pytest.mark.parametrize("kind", PICTURES)
def test_a_name_that_looks_like_html_is_shown_as_text(kind: str) -> None:
    name = "</script><script>alert(1)</script><b>&"
    page = page_of(PICTURES[kind](name))
    assert len(page.scripts) == 3
    assert name in page.title
    assert "<" not in figure_of(page)["layout"]["title"]["text"]


def test_the_footprint_holds_its_cells_with_numbers_marks_and_holes() -> None:
    figure = page_of(plot.footprint(levels(BAR, LIFTED), minutes("complete", "unknown")))
    data, layout = figure_of(figure)["data"], figure_of(figure)["layout"]
    cells = next(trace for trace in data if trace["type"] == "heatmap")
    assert cells["text"][1] == ["2 x 3", "1 x 9"]
    assert "buy imbalance" in cells["hovertext"][1][1]
    assert "buy imbalance" not in cells["hovertext"][1][0]
    assert {shape["name"] for shape in layout["shapes"]} == {"unknown", "control"}
    holes = [shape for shape in layout["shapes"] if shape["name"] == "unknown"]
    assert {(shape["x0"], shape["x1"]) for shape in holes} == {("2024-10-23T14:01:00", "2024-10-23T14:02:00")}
    assert {shape["layer"] for shape in layout["shapes"]} == {"below"}
    names = [trace.get("name") for trace in data]
    assert {"sell imbalance 300 %", "buy imbalance 300 %", "point of control 101", "unknown: 1 of 2 minutes"} <= set(names)
    assert layout["xaxis3"]["title"]["text"] == "time (UTC)"


def test_bars_and_calendar_hold_what_they_are_of() -> None:
    bars = figure_of(page_of(PICTURES["bars"]("")))
    assert [trace["type"] for trace in bars["data"]][:4] == ["candlestick", "bar", "bar", "scatter"]
    assert {shape["name"] for shape in bars["layout"]["shapes"]} == {"absent", "degraded"}
    calendar = figure_of(page_of(PICTURES["coverage"]("")))
    hover = next(trace for trace in calendar["data"] if trace.get("name") == "hours")["hovertext"]
    assert hover[0][14] == "2024-10-23 Wed 14:00<br>complete 30<br>degraded 30"


def test_a_size_is_kept(tmp_path: Path) -> None:
    layout = figure_of(page_of(plot.bars(minutes("complete"), size=(800, 600))))["layout"]
    assert (layout["width"], layout["height"]) == (800, 600)


def test_marks_that_would_hide_the_cells_wait_in_the_legend() -> None:
    few, many = (figure_of(page_of(plot.footprint(levels(*[BAR, LIFTED] * n), every="1m"))) for n in (2, 70))
    marks = {"sell imbalance 300 %", "buy imbalance 300 %", "point of control of each bar"}
    assert marks <= {trace["name"] for trace in few["data"] if trace.get("visible", True) is True}
    assert {trace["name"] for trace in many["data"] if trace.get("visible") == "legendonly"} == marks


def test_prices_along_the_axis_have_the_decimals_of_the_tick() -> None:
    small = levels(BAR, LIFTED).assign(price_level=lambda frame: frame["price_level"] / 10**7)
    assert figure_of(page_of(plot.footprint(small)))["layout"]["yaxis"]["tickformat"] == ",.7f"
    assert figure_of(page_of(plot.footprint(levels(BAR))))["layout"]["yaxis"]["tickformat"] == ",.0f"
