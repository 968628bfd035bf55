"""A picture as a file: by its ending, the same bytes each time, whole or not at all; a missing library is named."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from pipeline.errors import BadValue, StorageError
from spillway import plot
from spillway.frames import NotInstalled
from spillway.plot.picture import Picture
from tests.spillway.plot.frames import BAR, LIFTED, levels, minutes
from tests.spillway.plot.test_coverage_view import hours


def pictures() -> list[Picture]:
    return [
        plot.footprint(levels(BAR, LIFTED, BAR), minutes("complete", "unknown", "complete"), title="kraken BTC/USD"),
        plot.bars(minutes("complete", None, "degraded")),
        plot.coverage(hours([30, 0, 0, 30, 0, 0])),
    ]


@pytest.mark.parametrize("ending", [".png", ".svg", ".html"])
def test_the_same_input_gives_the_same_bytes(ending: str) -> None:
    assert [picture.encoded(ending) for picture in pictures()] == [picture.encoded(ending) for picture in pictures()]


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_the_users_own_settings_of_matplotlib_change_nothing_and_are_left_alone(ending: str) -> None:
    plain = pictures()[0].encoded(ending)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 7, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        assert pictures()[0].encoded(ending) == plain
        assert dict(mpl.rcParams) == before


def test_the_ending_says_what_is_written(tmp_path: Path) -> None:
    heads = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!DOCTYPE html>", ".PNG": b"\x89PNG"}
    for ending, head in heads.items():
        path = pictures()[0].save(tmp_path / f"chart{ending}")
        assert path.read_bytes().startswith(head)


def test_an_svg_names_nothing_to_load_and_keeps_its_texts_as_texts() -> None:
    text = pictures()[0].encoded(".svg").decode()
    assert "kraken BTC/USD" in text
    assert "<image" not in text
    assert 'href="http' not in text


def test_a_picture_has_the_size_that_was_asked_for() -> None:
    data = plot.footprint(levels(BAR), size=(800, 600)).encoded(".png")
    assert struct.unpack(">II", data[16:24]) == (800, 600)
    assert plot.footprint(levels(BAR))._repr_png_()[16:24] == struct.pack(">II", 1920, 1080)


def test_what_can_not_be_written_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"\.gif"):
        pictures()[0].save(tmp_path / "chart.gif")
    with pytest.raises(StorageError, match="nowhere"):
        pictures()[0].save(tmp_path / "nowhere" / "chart.png")
    with pytest.raises(BadValue, match="size"):
        plot.footprint(levels(BAR), size=(10, 600))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ending", "library"), [(".png", "matplotlib"), (".html", "plotly")])
def test_a_missing_library_is_named_with_how_to_install_it(ending: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library or name.startswith("spillway.plot.")]:
        if name.startswith((library, "spillway.plot.still", "spillway.plot.web")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NotInstalled, match=rf'^{library} is not installed: pip install "spillway\[plot\]"$'):
        pictures()[0].encoded(ending)


def test_neither_library_is_imported_before_a_picture_is_drawn() -> None:
    code = "import sys, spillway.plot.job; print([m for m in ('matplotlib', 'plotly') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
