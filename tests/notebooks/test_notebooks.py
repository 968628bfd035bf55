"""The notebooks, each run in a kernel of its own on made-up data as on a fresh clone: what they show must be so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import spillway
from spillway import sample

books: Any = nbformat  # only some of its calls carry types
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
MONTHS_DAYS = 33  # so many take seconds; the notebook makes 213
_CAREFUL = """
import warnings
warnings.simplefilter("error")
warnings.simplefilter("ignore", PendingDeprecationWarning)  # ipykernel's own
"""


@dataclass(frozen=True)
class Shown:
    """What a notebook showed, by the ids of its cells, and the values that were asked for at its end."""

    outputs: dict[str, list[Any]]
    values: dict[str, Any]

    def text(self, cell: str) -> str:
        """All that a cell printed, and its value as text."""
        told = [o.get("text") or o["data"].get("text/plain", "") for o in self.outputs[cell]]
        return "\n".join(told)

    def pictures(self) -> dict[str, int]:
        """The size in bytes, as base64, of the picture of each cell that shows one."""
        return {
            c: len(o["data"]["image/png"]) for c, out in self.outputs.items() for o in out if "image/png" in o.get("data", {})
        }


@pytest.fixture
def shown(sample_days: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """Runs a notebook where the samples lie and nothing else; `values`: Python expressions, told at its end."""
    monkeypatch.delenv("SPILLWAY_DATA_DIR", raising=False)

    def run(name: str, **values: str) -> Shown:
        book = books.read(FOLDER / f"{name}.ipynb", 4)
        ask = ", ".join(f"{key!r}: {expression}" for key, expression in values.items())
        asked = books.v4.new_code_cell(f"import json; print(json.dumps({{{ask}}}, default=str))", id="asked")
        book.cells = [books.v4.new_code_cell(_CAREFUL), *book.cells, asked]
        NotebookClient(book, timeout=120, resources={"metadata": {"path": str(sample_days.parent.parent)}}).execute()
        outputs = {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}
        return Shown(outputs, json.loads(outputs["asked"][-1]["text"]))

    return run


@pytest.fixture(scope="module")
def sample_months(sample_days: Path) -> Path:
    """Few months, beside the days."""
    folder = sample_days.parent / "months"
    sample.make_sample(folder, "months", days=MONTHS_DAYS)
    return folder


def test_there_are_four() -> None:
    assert NAMES == ["1_first_look", "2_order_flow", "3_data_quality", "4_years"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_what_it_showed_and_each_cell_has_a_name(name: str) -> None:
    book = books.read(FOLDER / f"{name}.ipynb", 4)
    books.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert all(not cell.metadata for cell in book.cells)
    assert all(cell.id.replace("-", "").isalpha() for cell in book.cells)
    assert book.metadata.kernelspec.name == "python3"


def test_a_first_look(shown: Callable[..., Shown], sample_days: Path) -> None:
    told = shown("1_first_look", day="DAY", levels="len(levels)", trades="int(minutes['trade_count'].sum())")
    with spillway.open(sample_days) as store:
        levels = store.levels("binance", "BTCUSDT", during=told.values["day"])
        names = list(map(repr, store.instruments()))
    assert told.values["levels"] == len(levels)
    assert told.values["trades"] == levels["trade_count"].sum()
    assert "reading sample/days" in told.text("open")
    assert all(name in told.text("open") for name in names)
    assert set(told.pictures()) == {"chart", "week"}
    assert "bitstamp" in told.text("several")
    assert "by price, by minute, by hour and by group alike" in told.text("check")


@pytest.mark.long
def test_order_flow(shown: Callable[..., Shown]) -> None:
    told = shown(
        "2_order_flow",
        together="float(together)",
        tick="str(analysis.tick_size(levels))",
        whole="int(whole.sum())",
        stacks="len(stacks)",
        poc="float(area['poc'])",
        area="[float(area['val']), float(area['vah'])]",
    )
    assert told.values["together"] > 0.3  # the market was made so
    assert told.values["tick"] == "0.1"
    assert told.values["whole"] == 95  # the quarter of an hour with the hole isn't
    assert told.values["stacks"] > 5
    low, high = told.values["area"]
    assert low <= told.values["poc"] <= high
    assert set(told.pictures()) == {"cvd", "together", "profile", "stack-chart", "vwap"}
    assert "agree" in told.text("check")


def test_data_quality(shown: Callable[..., Shown]) -> None:
    told = shown(
        "3_data_quality",
        states="runs.groupby('status', observed=True)['minutes'].sum().to_dict()",
        gaps="gaps['state'].tolist()",
        lost="size['missing %'].tolist()",
        whole="[len(kept), len(hours)]",
        damaged="[str(damaged), found.damages['file'].tolist()]",
    )
    lost_minutes = (sample.LOST[1] // 60_000) - (sample.LOST[0] // 60_000) - 1  # the outer two have trades
    assert told.values["states"]["absent"] == lost_minutes + 1
    assert told.values["states"]["repaired"] == 13
    assert told.values["states"]["empty"] >= 12  # the halt
    assert told.values["gaps"] == ["open", "open", "repaired", "lost", "open"]
    assert [share > 5 for share in told.values["lost"]] == [False, False, True, False]
    assert told.values["whole"] == [88, 94]
    file, found = told.values["damaged"]
    assert found == [file]
    assert "all is whole" in told.text("verify")
    assert "spillway backfill --venue binance --symbol BTCUSDT" in told.text("found")
    assert "CRC" in told.text("found") or "damaged" in told.text("found").partition("reading it:")[2]
    assert set(told.pictures()) == {"calendar"}


def test_years(shown: Callable[..., Shown], sample_months: Path) -> None:
    told = shown(
        "4_years",
        days="len(daily)",
        counts="counts",
        volume="list(map(float, volume.values()))",
        months="sorted(set(monthly['month']))",
        busy="float(grid[:, 12:17].mean() / grid[:, 0:5].mean())",
        rows="[len(profile), len(queried)]",
        kinds="{str(kind) for kind in pl.scan_parquet(archive / 'levels').collect_schema().values()}",
    )
    with spillway.open(sample_months) as store:
        minutes = store.minutes("binance", "DEMOUSDT")
    archived, every = told.values["counts"]
    assert told.values["days"] == MONTHS_DAYS
    assert every == len(minutes) > archived
    assert told.values["volume"] == pytest.approx([minutes["total_volume"].sum()] * 4, rel=1e-9)
    assert told.values["months"] == ["2023-08"]  # September is still in the window
    assert told.values["busy"] > 2
    assert told.values["rows"][0] == told.values["rows"][1] > 10
    assert "PROJECT 2/7 COLUMNS" in told.text("plan")
    assert set(told.pictures()) == {"season", "bars", "duckdb-profile"}
