"""Hot, warm and cold in one range equal the same range wholly cold to the byte, while another process moves it all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import spillway
from spillway.frames import LAZY_KINDS
from spillway.store import Store
from tests import judge, tapes
from tests.processes import succeed
from tests.spillway.kept import BTC

MOVE = """
import asyncio, sys
from pathlib import Path
from pipeline.instrument import Instrument
from pipeline.minute import day_of
from pipeline.spill import Spiller
from sinks.compact import Compactor
from sinks.months import MonthMerger
from spillway.app import opened
from spillway.settings import Settings

BTC = Instrument("binance", "BTCUSDT")

async def move(data):
    async with opened(Settings(data_dir=data)) as app:
        minutes = await app.window.sealed_minutes(BTC)
        compactor = Compactor(app.files, app.archive)
        for at in range(0, len(minutes), 8):
            await Spiller(app.window, app.files).spill({BTC: minutes[at] + 1})
            print(len(await app.window.sealed_minutes(BTC)), len(app.files.between(BTC, 0, 1 << 40)), flush=True)
            if at % 24 == 16:  # so a day is compacted again and again, each time with more of its minutes
                for day in app.files.days(BTC):
                    await asyncio.to_thread(compactor.compact_day, BTC, day)
        await Spiller(app.window, app.files).spill({BTC: None})
        for day in app.files.days(BTC):
            await asyncio.to_thread(compactor.compact_day, BTC, day)
        await asyncio.to_thread(MonthMerger(app.archive).merge_month, BTC, "2023-11")

asyncio.run(move(Path(sys.argv[1])))
"""
HOT = {"SPILLWAY_REDIS__WINDOW_HOURS": "1000"}
FILE_GONE = ("No such file", "No files found", "Cannot open file")


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half days, all of it in the window."""
    folder = tmp_path_factory.mktemp("hot")
    tape = judge.write_tape(folder / "tape.csv", tapes.rows(hours=60, per_minute=20, every=15))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in HOT.items():
            patch.setenv(name, value)
        succeed("replay", tape, "--venue", BTC[0], "--symbol", BTC[1], "--data", folder / "data")
        succeed("replay", tape, "--venue", BTC[0], "--symbol", BTC[1], "--data", folder / "cold")
    for command in (("spill", "--all"), ("compact",)):
        succeed(*command, "--data", folder / "cold")
    return folder


@contextmanager
def moving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that spills, compacts and merges all of a folder, a few minutes at a time."""
    command = [sys.executable, "-c", MOVE, os.fspath(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


# --- frames as bytes ------------------------------------------------------------------------------------------------------


def digest_of(frame: Any) -> str:
    """Of a frame's columns, types and each value's bits."""
    if hasattr(frame, "collect"):
        frame = frame.collect()
    table = frame if isinstance(frame, pa.Table) else None
    if isinstance(frame, pd.DataFrame):
        assert frame.index.equals(pd.RangeIndex(len(frame)))
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(
            {"dtypes": repr(frame.dtypes.to_dict())}
        )
    elif table is None:
        table = frame.to_arrow() if hasattr(frame, "to_arrow") else frame.to_arrow_table()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks().unify_dictionaries(), max_chunksize=1 << 30)
    return hashlib.sha256(sink.getvalue()).hexdigest()


WHAT: dict[str, dict[str, Any]] = {
    "levels": {},
    "minutes": {},
    "bars": {"every": "1h"},
    "coverage": {"by": "minute"},
}
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    *((what, kind, options) for what, options in WHAT.items() for kind in ("pandas", "arrow", "polars")),
    *((what, kind, {}) for what in ("levels", "minutes") for kind in ("lazy", "duckdb")),
    ("bars", "arrow", {"every": "7h", "price_group": 5}),
    ("levels", "arrow", {"start": "2023-11-15 18:00", "end": "2023-11-16 06:00", "prices": (24_990, None)}),
    ("levels", "pandas", {"whole_only": True, "columns": ["price_level", "delta"]}),
]


def read(store: Store, what: str, kind: str, options: dict[str, Any]) -> str:
    """A frame's digest; "gone" where a compaction replaced a file before a lazy frame came to read it, which says so."""
    try:
        return digest_of(getattr(store, what)(*BTC, as_=kind, **options))
    except Exception as error:
        if kind not in LAZY_KINDS or not any(text in str(error) for text in FILE_GONE):
            raise
        return "gone"


def test_all_frames_are_the_cold_ones_to_the_byte_while_another_process_spills_compacts_and_merges(hot: Path) -> None:
    with spillway.open(hot / "cold") as store:
        want = {number: read(store, *asked) for number, asked in enumerate(ASKED)}
    counted: Counter[str] = Counter()
    with spillway.open(hot / "data") as store, moving(hot / "data") as mover:
        assert mover.stdout and mover.stderr and mover.stdout.readline()  # it has begun
        while mover.poll() is None:
            for number, asked in enumerate(ASKED):
                found = read(store, *asked)
                assert found in (want[number], "gone"), asked
                counted["gone" if found == "gone" else asked[1]] += mover.poll() is None
        assert mover.returncode == 0, mover.stderr.read()
        states = [tuple(map(int, line.split())) for line in mover.stdout]
        assert any(in_redis and in_files for in_redis, in_files in states)
        assert {number: read(store, *asked) for number, asked in enumerate(ASKED)} == want
        assert len(list((hot / "data" / "archive").rglob("month-0.parquet"))) == 2
    assert all(counted[kind] for kind in ("pandas", "arrow", "polars", "lazy", "duckdb")), counted
