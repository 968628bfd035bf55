"""`spillway export`: a time range to one file, whole or not at all, a day at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import day_of, day_text, minute_time
from spillway.export_files import CsvFile, FeatherFile, JsonFile, ParquetFile, TableFile, Writing, staged
from spillway.frames import ARROW
from spillway.layouts import Layout, check_name, layout_of
from spillway.progress import Reporter
from spillway.recorded import NotRecorded
from spillway.settings import Settings
from spillway.store import IncompleteWarning, Store
from spillway.times import bar_minutes, minute_range
from spillway.warned import warned

LEVELS, MINUTES, BARS, TRADES = WHAT = ("levels", "minutes", "bars", "trades")
_MAKERS: dict[str, Callable[..., TableFile]] = {
    ".csv": CsvFile,
    ".parquet": ParquetFile,
    ".json": JsonFile,
    ".feather": FeatherFile,
}
_EXACT = (".csv", ".json")  # of trades: texts hold any decimal, other files floats


@dataclass(frozen=True, slots=True)
class Export:
    """What to write where. BadValue for what can't be."""

    instrument: Instrument
    output: Path
    what: str = LEVELS
    start: str | None = None
    end: str | None = None
    every: str = "1m"
    layout: str | None = None
    whole_only: bool = False
    shape: Layout | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.output.suffix.lower() not in _MAKERS:
            raise BadValue(f"-o {self.output}: expected a name that ends in {', '.join(_MAKERS)}")
        minute_range(self.start, self.end), bar_minutes(self.every)
        if self.whole_only and self.what == TRADES:
            raise BadValue("--whole-only is for levels, minutes and bars: single trades are what recordings hold")
        if self.layout is not None:
            shape = layout_of(self.layout, self.what)
            check_name(shape, self.output, self.every)
            object.__setattr__(self, "shape", shape)

    @property
    def names(self) -> tuple[str, str, str | None, str | None]:
        """What the store is asked for."""
        return self.instrument.venue, self.instrument.symbol, self.start, self.end


@dataclass(slots=True)
class Exported:
    """What became of an export."""

    rows: int = 0
    notes: list[str] = field(default_factory=list)  # what the reader of the file should know


def export_range(settings: Settings, wanted: Export, progress: Reporter | None = None) -> Exported:
    """Writes levels, minutes, bars or trades to a file, by its ending.

    BadValue for an instrument of which nothing is kept; NotRecorded for trades without a recording; StorageError where the file
    can't be written. Then what stood there before still does.
    """
    with Store(settings) as store:
        if wanted.instrument not in store.instruments():
            known = ", ".join(map(str, store.instruments())) or "nothing"
            raise BadValue(f"{wanted.instrument}: nothing is kept of it under {settings.data_dir}; there is: {known}")
        done = Exported()
        with warned(IncompleteWarning) as lines, staged(wanted.output) as file, Writing(file, _maker(wanted)) as writing:
            for table in _tables(store, wanted, done, progress):
                writing.write(wanted.shape.shaped(table, wanted.output.suffix.lower()) if wanted.shape else table)
        done.rows = writing.rows
    done.notes = list(dict.fromkeys([*lines, *done.notes]))
    return done


# --- inside -------------------------------------------------------------------------------------------------------------


def _maker(wanted: Export) -> Callable[[Any, pa.Schema], TableFile]:
    ending = wanted.output.suffix.lower()
    if ending == ".json" and wanted.shape:
        return partial(JsonFile, values=wanted.shape.values)
    return _MAKERS[ending]


def _tables(store: Store, wanted: Export, done: Exported, progress: Reporter | None) -> Iterator[pa.Table]:
    """The range as tables, of which the first may be empty."""
    if wanted.what == BARS:
        yield _bars(store, wanted, done)
        return
    begin = minute_range(wanted.start, wanted.end)[0]
    days = store.days(*wanted.names) or [(begin, begin)]
    read = _trades if wanted.what == TRADES else _day
    unrecorded: list[NotRecorded] = []
    for number, (first, until) in enumerate(days):
        try:
            yield read(store, wanted, done, (minute_time(first), minute_time(until)))
        except NotRecorded as error:
            unrecorded.append(error)
        if progress:
            progress("export", number + 1, len(days), day_text(day_of(first)))
    if len(unrecorded) == len(days):
        raise unrecorded[0]
    done.notes += map(str, unrecorded)


def _day(store: Store, wanted: Export, done: Exported, span: tuple[datetime, datetime]) -> pa.Table:
    frame = store.levels if wanted.what == LEVELS else store.minutes
    return frame(*wanted.names[:2], *span, whole_only=wanted.whole_only, as_=ARROW)


def _trades(store: Store, wanted: Export, done: Exported, span: tuple[datetime, datetime]) -> pa.Table:
    exact = wanted.shape is None and wanted.output.suffix.lower() in _EXACT
    return store.trades(*wanted.names[:2], *span, exact=exact, as_=ARROW)


def _bars(store: Store, wanted: Export, done: Exported) -> pa.Table:
    bars = store.bars(*wanted.names, every=wanted.every, as_=ARROW)
    partial_bars = len(bars) - (pc.sum(bars["whole"]).as_py() or 0)
    if partial_bars:
        fate = "left out" if wanted.whole_only else "marked in the column `whole`"
        fate = fate if wanted.whole_only or not wanted.shape else "written as they are (--whole-only leaves them out)"
        done.notes.append(f"{partial_bars:,} of {len(bars):,} bars are not whole: {fate}")
    return bars.filter(bars["whole"]) if wanted.whole_only else bars


__all__ = ["BARS", "LEVELS", "MINUTES", "TRADES", "WHAT", "Export", "Exported", "NotRecorded", "export_range"]
