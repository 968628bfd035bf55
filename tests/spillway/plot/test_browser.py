"""Interactive pictures in a real browser, where there is one: they draw, tell, zoom, and ask for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from spillway import plot
from spillway.plot.picture import Picture
from tests.spillway.plot.frames import BAR, LIFTED, levels, minutes
from tests.spillway.plot.test_web import PICTURES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
FLAGS += " disable-sync dump-dom window-size=1600,950 virtual-time-budget=8000"
MOVE = """
const cell = chart.querySelector(".heatmaplayer image, .heatmaplayer .hm").getBoundingClientRect();
const at = {bubbles: true, clientX: cell.x + cell.width * 0.75, clientY: cell.y + cell.height * 0.5};
const drag = chart.querySelector(".nsewdrag");
for (const kind of ["mouseover", "mousemove"]) drag.dispatchEvent(new MouseEvent(kind, at));
"""
LOOK = """
const labels = [...chart.querySelectorAll(".heatmap-label")];
return {
  buttons: [...chart.querySelectorAll(".modebar-btn")].map((button) => button.dataset.title),
  hover: [...chart.querySelectorAll(".hoverlayer text")].map((text) => text.textContent).join(" "),
  shown: labels.filter((label) => label.style.display !== "none").length,
  hidden: labels.filter((label) => label.style.display === "none").length,
};
"""
ASK = """
const wait = () => new Promise((done) => setTimeout(done, 300));
(async () => {
  let answer;
  for (const step of [STEPS]) { await wait(); answer = await step(); }
  const box = document.createElement("pre");
  box.id = "told";
  box.textContent = JSON.stringify(answer ?? {});
  document.body.append(box);
})();
"""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine to open the page in"),
]
Open = Callable[[str], tuple[dict[str, Any], list[str]]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens a page: what its last script answered, and the addresses that it asked the network for."""

    def opened(html: str) -> tuple[dict[str, Any], list[str]]:
        page, log = tmp_path / "page.html", tmp_path / "net.json"
        page.write_text(html)
        flags = [f"--{flag}" for flag in [*FLAGS.split(), f"user-data-dir={tmp_path / 'profile'}", f"log-net-log={log}"]]
        done = subprocess.run([str(CHROMIUM), *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)
        return json.loads(unescape(told[1])) if told else {}, asked_for(json.loads(log.read_text()))

    return opened


def asked_for(log: dict[str, Any]) -> list[str]:
    """What pages asked for; the browser's own requests have no page that they come from."""
    started = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    events = [event.get("params") or {} for event in log["events"] if event["type"] == started]
    return [found["url"] for found in events if "url" in found and found.get("initiator") != "not an origin"]


def with_script(picture: Picture, *steps: str) -> str:
    """The page, which after it was drawn does these steps and says what the last one returns."""
    functions = ", ".join(f"async () => {{ {step} }}" for step in steps)
    return picture.encoded(".html").decode().replace("</body>", f"<script>{ASK.replace('STEPS', functions)}</script></body>")


def test_the_browsers_log_shows_what_a_page_loads(opened: Open) -> None:
    _, asked = opened('<html><body><img src="http://example.invalid/picture.png"></body></html>')
    assert asked == ["http://example.invalid/picture.png"]


@pytest.mark.parametrize("kind", PICTURES)
def test_a_page_draws_and_asks_the_network_for_nothing(kind: str, opened: Open) -> None:
    told, asked = opened(with_script(PICTURES[kind]("binance BTCUSDT"), LOOK))
    assert told["buttons"]
    assert not [title for title in told["buttons"] if "loud" in title or "hare" in title]
    assert asked == []


def test_a_cell_tells_its_numbers_where_the_mouse_points(opened: Open) -> None:
    told, _ = opened(with_script(PICTURES["footprint"](""), MOVE, LOOK))
    assert "price from 101" in told["hover"]
    assert "buy 9" in told["hover"]
    assert "buy imbalance" in told["hover"]


def test_numbers_too_small_to_read_come_when_there_is_room(opened: Open) -> None:
    picture = plot.footprint(levels(*[BAR, LIFTED] * 90), minutes(*["complete"] * 180), every="1m")
    zoom = "return Plotly.relayout(chart, {'xaxis.range': ['2024-10-23T14:00:00', '2024-10-23T14:10:00']}).then(() => 0);"
    told, _ = opened(with_script(picture, LOOK))
    assert told["shown"] == 0
    told, _ = opened(with_script(picture, zoom, LOOK))
    assert told["shown"] >= 30
    assert told["hidden"] == 0
