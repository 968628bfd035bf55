"""`spillway plot` on a data folder that a tape was replayed into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.instrument import Instrument
from spillway.plot.job import Drawing
from spillway.plot.scale import when
from tests import judge, tapes
from tests.spillway.test_cli import refused, spillway

BTC = ("--venue", "binance", "--symbol", "BTCUSDT")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tape = judge.write_tape(tmp_path_factory.mktemp("tape") / "tape.csv", tapes.rows(hours=3, per_minute=20))
    folder = tmp_path_factory.mktemp("plotted") / "data"
    assert spillway("replay", tape, *BTC, "--data", folder).exit_code == 0
    return folder


@pytest.mark.parametrize("ending", [".png", ".svg", ".html"])
@pytest.mark.parametrize("what", ["footprint", "bars", "coverage"])
def test_each_picture_is_written_in_each_format(data: Path, tmp_path: Path, what: str, ending: str) -> None:
    done = spillway("plot", *BTC, "--what", what, "-o", tmp_path / f"chart{ending}", "--data", data)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("binance BTCUSDT · ")
    assert done.stdout.strip().endswith(f"chart{ending}")
    assert (tmp_path / f"chart{ending}").stat().st_size > 10_000


def test_bars_rows_and_range_are_as_asked_for(data: Path, tmp_path: Path) -> None:
    args = ("--last", "1h", "--every", "10m", "--tick", "20", "--colour", "volume", "--imbalance", "400", "--size", "900x700")
    done = spillway("plot", *BTC, *args, "-o", tmp_path / "chart.svg", "--data", data)
    assert done.exit_code == 0, done.stderr
    assert "10m bars, rows of 20" in done.stdout
    text = (tmp_path / "chart.svg").read_text()
    assert "sell imbalance 400 %" in text
    assert "more volume" in text


def test_what_is_not_kept_at_the_ends_of_the_range_is_shaded(data: Path, tmp_path: Path) -> None:
    args = ("--from", "2023-11-14T23:00", "--to", "2023-11-15T02:00")  # the tape begins at midnight
    done = spillway("plot", *BTC, *args, "-o", tmp_path / "chart.svg", "--data", data)
    assert "2023-11-14 23:00 to 2023-11-15 02:00 UTC" in done.stdout, done.stderr
    assert "absent: 60 of 180 minutes" in (tmp_path / "chart.svg").read_text()
    done = spillway("plot", *BTC, *args, "--what", "bars", "-o", tmp_path / "bars.svg", "--data", data)
    assert "absent: 60 of 180 minutes" in (tmp_path / "bars.svg").read_text()


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ({}, (1000, 1100)),
        ({"start": 950}, (950, 1100)),
        ({"end": 1150}, (1000, 1150)),
        ({"start": 950, "end": 1150}, (950, 1150)),
        ({"start": 950, "end": 1151}, (1000, 1100)),  # less than half of it is kept
        ({"end": 5000, "now": 1120}, (1000, 1120)),  # what is to come is not missing
        ({"end": 1120, "last": "130m"}, (990, 1120)),
        ({"last": "130m"}, (1000, 1100)),
    ],
)
def test_what_was_asked_for_is_drawn_whole_if_half_of_it_is_kept(asked: dict[str, Any], span: tuple[int, int]) -> None:
    asked = {name: when(value).isoformat() if name in ("start", "end") else value for name, value in asked.items()}
    drawing = Drawing(Instrument("binance", "BTCUSDT"), Path("chart.png"), **({"now": 10**7} | asked))
    assert drawing.span((1000, 1100)) == span


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-o", "chart.gif"), ".png, .svg, .html"),
        (("-o", "chart.png", "--from", "2001-01-01", "--to", "2001-01-02"), "nothing is kept from 2001-01-01 to 2001-01-02"),
        (("-o", "chart.png", "--what", "bars", "--from", "2001-01-01", "--to", "2001-01-02"), "nothing is kept"),
        (("-o", "chart.png", "--what", "coverage", "--from", "2001-01-01", "--to", "2001-01-02"), "nothing is kept"),
        (("-o", "chart.png", "--every", "often"), "often"),
        (("-o", "chart.png", "--tick", "-1"), "--tick"),
        (("-o", "chart.png", "--tick", "0.000001"), "higher rows"),
        (("-o", "chart.png", "--last", "soon"), "soon"),
        (("-o", "chart.png", "--from", "2001-01-01", "--last", "1h"), "last"),
        (("-o", "chart.png", "--size", "large"), "1600x900"),
        (("-o", "nowhere/chart.png"), "nowhere"),
    ],
)
def test_what_can_not_be_drawn_is_told_in_one_line(
    data: Path, tmp_path: Path, args: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused("plot", *BTC, *args, "--data", data)
    assert list(tmp_path.iterdir()) == []
