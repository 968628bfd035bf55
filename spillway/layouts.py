"""How other programs want the data: their columns, names of files, and what they can read at all.

* freqtrade (`freqtrade/data/history/datahandlers`): candles `date, open, high, low, close, volume` in `PAIR-TIMEFRAME.feather`,
  `.parquet` or `.json` (a list of lists, `date` in ms); trades `timestamp` (ms)`, id, type, side, price, amount, cost` in
  `PAIR-trades.*`.
* backtesting.py and vectorbt: a DatetimeIndex, then `Open, High, Low, Close, Volume`, as csv or Parquet.
* Backtrader's `GenericCSVData`, by its defaults: `datetime, open, high, low, close, volume, openinterest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadValue

_CANDLES = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "total_volume"}
_MS = pa.timestamp("ms", tz="UTC")
_NAIVE = pa.timestamp("us")


@dataclass(frozen=True, slots=True)
class Layout:
    """A program's layout of bars or trades."""

    name: str
    shaped: Callable[[pa.Table, str], pa.Table]  # our table, and the file's ending
    endings: tuple[str, ...]
    values: bool = False  # JSON as lists of values
    file_name: Callable[[str], str] | None = None  # by a bar's length, a pattern that the file's name must match


def layout_of(name: str, what: str) -> Layout:
    """The layout of that name for bars or trades. BadValue where there is none."""
    found = _LAYOUTS.get((name, what))
    if found is None:
        known = sorted({n for n, _ in _LAYOUTS})
        kinds = ", ".join(w for n, w in _LAYOUTS if n == name) or "bars or trades"
        raise BadValue(f"--layout {name} of {what}: expected {', '.join(known)}; {name} takes --what {kinds}")
    return found


def check_name(layout: Layout, output: Path, every: str) -> None:
    """BadValue where the program wouldn't read a file of that name."""
    if output.suffix.lower() not in layout.endings:
        raise BadValue(f"-o {output}: {layout.name} reads {', '.join(layout.endings)}")
    pattern = layout.file_name(every) if layout.file_name else ""
    if pattern and not re.fullmatch(pattern, output.stem):
        example = "BTC_USDT-trades" if "trades" in pattern else f"BTC_USDT-{every}"
        raise BadValue(f"-o {output}: {layout.name} finds its files by name: expected one such as {example}{output.suffix}")


# --- inside -------------------------------------------------------------------------------------------------------------


def _freqtrade_bars(bars: pa.Table, ending: str) -> pa.Table:
    date = bars["timestamp"].cast(_MS)
    columns = {"date": date.cast(pa.int64()) if ending == ".json" else date}
    return pa.table(columns | {name: bars[ours] for name, ours in _CANDLES.items()})


def _freqtrade_trades(trades: pa.Table, ending: str) -> pa.Table:
    columns = {
        "timestamp": pc.floor_temporal(trades["timestamp"], unit="millisecond").cast(_MS).cast(pa.int64()),
        "id": trades["trade_id"].cast(pa.string()),
        "type": pa.nulls(len(trades), pa.string()),
        "side": trades["side"].cast(pa.string()),
        "price": trades["price"],
        "amount": trades["size"],
        "cost": pc.multiply(trades["price"], trades["size"]),
    }
    return pa.table(columns)


def _backtesting(bars: pa.Table, ending: str) -> pa.Table:
    times = bars["timestamp"].cast(_NAIVE)
    columns = {name.capitalize(): bars[ours] for name, ours in _CANDLES.items()}
    if ending == ".csv":
        return pa.table({"Date": _spaced(times), **columns})
    table = pa.table({**columns, "Date": times})
    index = pd.DatetimeIndex([], name="Date").as_unit("us")
    metadata = pa.Table.from_pandas(table.slice(0, 0).to_pandas().drop(columns="Date").set_index(index)).schema.metadata
    return table.replace_schema_metadata(metadata)


def _backtrader(bars: pa.Table, ending: str) -> pa.Table:
    columns = {name: bars[ours] for name, ours in _CANDLES.items()}
    return pa.table({"datetime": _spaced(bars["timestamp"].cast(_NAIVE)), **columns, "openinterest": pa.array([0] * len(bars))})


def _spaced(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.strftime(times.cast(pa.timestamp("s")), "%Y-%m-%d %H:%M:%S")


_LAYOUTS = {
    ("freqtrade", "bars"): Layout(
        "freqtrade",
        _freqtrade_bars,
        (".feather", ".parquet", ".json"),
        True,
        lambda every: rf"[^/]+-{re.escape(every)}(-futures)?",
    ),
    ("freqtrade", "trades"): Layout(
        "freqtrade", _freqtrade_trades, (".feather", ".parquet", ".json"), True, lambda every: r"[^/]+-trades"
    ),
    ("backtesting", "bars"): Layout("backtesting", _backtesting, (".csv", ".parquet")),
    ("backtrader", "bars"): Layout("backtrader", _backtrader, (".csv",)),
}
NAMES = tuple(dict.fromkeys(name for name, _ in _LAYOUTS))
