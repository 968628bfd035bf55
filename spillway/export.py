"""`spillway export`: a time range to one file, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks.durable import replace_durably
from spillway.settings import Settings
from spillway.store import Store
from spillway.times import bar_minutes, minute_range


def export_range(
    settings: Settings, instrument: Instrument, start: str | None, end: str | None, what: str, every: str, output: Path
) -> int:
    """Writes levels, minutes or bars to `output` (csv, parquet or json by its ending). Returns the number of rows.

    BadValue for an ending, time, bar length or instrument that can't be; StorageError where the file can't be written.
    """
    write = _WRITERS.get(output.suffix.lower())
    if write is None:
        raise BadValue(f"-o {output}: expected a name that ends in {', '.join(_WRITERS)}")
    minute_range(start, end), bar_minutes(every)
    with Store(settings) as store:
        if instrument not in store.instruments():
            known = ", ".join(map(str, store.instruments())) or "nothing"
            raise BadValue(f"{instrument}: nothing is kept of it under {settings.data_dir}; there is: {known}")
        frame = _frame(store, instrument, start, end, what, every)
    replace_durably(output, write(frame))
    return len(frame)


def _frame(store: Store, instrument: Instrument, start: str | None, end: str | None, what: str, every: str) -> pd.DataFrame:
    venue, symbol = instrument.venue, instrument.symbol
    if what == "bars":
        return store.bars(venue, symbol, start, end, every=every)
    return store.minutes(venue, symbol, start, end) if what == "minutes" else store.levels(venue, symbol, start, end)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode()


def _json(frame: pd.DataFrame) -> bytes:
    text = frame.to_json(orient="records", date_format="iso", date_unit="s", double_precision=15)
    return (text or "[]").encode() + b"\n"


def _parquet(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet(index=False, compression="zstd")


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {".csv": _csv, ".parquet": _parquet, ".json": _json}
