"""What a venue must never send, made from a good frame of its own; and the real frames that were recorded."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.venues.parsed import Parsed, cut_short
from pipeline.trade import RawTrades

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "frames"
LATEST_NS = 2_000_000_000 * 10**9
DEEP = 10_000

# Values of every kind; a test leaves out those that the field takes.
VALUES: list[Any] = [None, True, 1.5, -1, 7, "x", "", [], {}, [1], {"a": 1}, 2**63, 10**400]

Parse = Callable[[Sequence[bytes]], Parsed]
Row = tuple[Any, int, Decimal, Decimal, int]  # id, time in ns, price, size, side


def recorded(name: str) -> list[bytes]:
    """The frames that a client received, as they came. Skips where there are none."""
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"no recorded frames in {RECORDED}")
    with gzip.open(path) as lines:
        return [line.rstrip(b"\n").partition(b": ")[2] for line in lines if line[:1].isdigit()]


def exact(text: bytes) -> Any:
    """JSON whose numbers are exact: read without the parser under test."""
    return json.loads(text, parse_float=Decimal)


def rows(trades: RawTrades) -> Iterator[Row]:
    """Each row as plain, exact values."""
    columns = (list(trades.ids), trades.ts_ns.tolist(), trades.price, trades.size, trades.side.tolist())
    for i, t, p, q, side in zip(*columns, strict=True):
        yield i if isinstance(i, str) else int(i), t, Decimal(p), Decimal(q), side


def found(parsed: Parsed, symbol: str) -> list[Any]:
    """The ids of a symbol's trades."""
    trades = parsed.trades.get(symbol)
    return np.asarray(trades.ids).tolist() if trades else []


def broken(good: bytes) -> dict[str, bytes]:
    """Frames that are no frames of the venue, by what is wrong with them. `good` is an object."""
    deep = b"[" * DEEP + b"]" * DEEP
    return {
        "empty": b"",
        "a space": b" ",
        "not json": b"hello",
        "cut": good[:-2],
        "not utf-8": good.replace(b'"', b'"\xff\xfe'),
        "an array of frames": b"[" + good + b"]",
        "a number": b"5",
        "null": b"null",
        "two frames with a comma": good + b"," + good,
        "two frames": good + good,
        "arrays nested 10,000 deep": b'{"x":' + deep + b"}",
        "objects nested 10,000 deep": b'{"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        "an array 10,000 deep": deep,
        "deep in a good frame": good[:-1] + b',"x":' + deep + b"}",
        "deep where the trades stand": b'{"data":' + deep + b',"params":' + deep + b"}",
        "a giant, as the connection cuts it": cut_short(b'{"data":"' + b"y" * (1 << 20) + b'"}'),
        "a giant": b'{"data":"' + b"y" * (1 << 22),
        "a number that no float holds": b'{"data":1e400}',
        "an object of nothing": b"{}",
    }


def mutants(good: bytes, count: int = 2_000) -> Iterator[bytes]:
    """Good frames with a few bytes changed, the same ones each time."""
    rng = random.Random(7)
    for _ in range(count):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(bad))
            bad[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 2)) or b'"'
        yield bytes(bad)
