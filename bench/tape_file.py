"""Writes made-up trades as the csv that Binance publishes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from bench.market import CENTS, LOTS, Trades

_PART = 500_000  # rows that are texts at the same time


def write_csv(trades: Trades, path: Path) -> None:
    """`id,price,qty,quote_qty,time,is_buyer_maker`, in place only when it is whole."""
    temporary = path.with_suffix(".part")
    options = csv.WriteOptions(quoting_style="none")
    first = _table(trades, slice(0, 0))
    with csv.CSVWriter(temporary, first.schema, write_options=options) as writer:
        for at in range(0, len(trades), _PART):
            writer.write_table(_table(trades, slice(at, at + _PART)))
    temporary.rename(path)


def _table(trades: Trades, rows: slice) -> pa.Table:
    cents, lots = trades.cents[rows], trades.lots[rows]
    return pa.table(
        {
            "id": np.arange(len(trades))[rows] + 1,
            "price": _texts(cents, CENTS),
            "qty": _texts(lots, LOTS),
            "quote_qty": _texts(cents * lots, CENTS + LOTS),
            "time": trades.time_ms[rows],
            "is_buyer_maker": pa.array(trades.sold[rows]),
        }
    )


def _texts(values: NDArray[np.int64], scale: int) -> pa.Array:
    """Whole numbers of the last decimal as decimal texts."""
    words = np.zeros((len(values), 2), dtype=np.int64)  # 128 bits a value, the low word first
    words[:, 0] = values
    decimals = pa.Array.from_buffers(pa.decimal128(18, scale), len(values), [None, pa.py_buffer(words)])
    return pc.cast(decimals, pa.string())
