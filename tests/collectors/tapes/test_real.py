"""Real recorded tapes, compared with an independent slow reading. Skipped where the recordings aren't."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collectors.tapes.tape import open_tape
from pipeline.instrument import Instrument
from pipeline.trade import TradeBatch
from tests.collectors.tapes.checks import LATEST_NS, Row, read

DATA = Path(__file__).parents[4] / "shared" / "data"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded trades are not on this machine")


def iso_ns(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) * 1000


def bitflyer(path: Path) -> Iterator[Row | None]:
    sides = {"BUY": 1, "SELL": -1, "": 0}
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            when = row["exec_date"]
            price, size = Decimal(row["price"]), Decimal(row["size"])
            yield (int(row["id"]), iso_ns(when), price, size, sides[row["side"]], 1) if when else None


def ccxt(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt") as file:
        for item in json.load(file, parse_float=Decimal):
            info = item["info"]
            price, size = Decimal(info["p"]), Decimal(info["q"])
            yield info["a"], info["T"] * 10**6, price, size, -1 if info["m"] else 1, info["l"] - info["f"] + 1


def frames(path: Path, kind: str = "trade", symbol: str = "BTCUSDT") -> Iterator[Row]:
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.startswith("wss://") or not line.strip():
                continue
            frame = json.loads(line.partition(" ")[2])
            event = frame.get("data", frame)
            if event.get("e") == kind and event["s"] == symbol:
                price, size = Decimal(event["p"]), Decimal(event["q"])
                count = event["l"] - event["f"] + 1 if kind == "aggTrade" else 1
                yield event["t" if kind == "trade" else "a"], event["T"] * 10**6, price, size, -1 if event["m"] else 1, count


def totals(rows: Iterable[Row]) -> dict[int, list[Any]]:
    """By side: how many, and the sums of sizes, of price x size, of counts, ids and times."""
    sums: dict[int, list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0), 0, 0, 0])
    for trade_id, ns, price, size, side, count in rows:
        row = sums[side]
        for at, value in enumerate((1, size, price * size, count, int(trade_id), ns)):
            row[at] += value
    return dict(sums)


def totals_of(batches: list[TradeBatch]) -> dict[int, list[Any]]:
    """The same of what our reader gave, quicker."""
    sums: dict[int, list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0), 0, 0, 0])
    for batch in batches:
        for side in set(batch.side.tolist()):
            part = batch.take(batch.side == side)
            price, size = part.price.astype(object), part.size.astype(object)
            exact = Decimal(size.sum()).scaleb(-part.size_scale), Decimal((price * size).sum())
            numbers = (part.count.sum(), part.ids.astype(object).sum(), part.ts_ns.astype(object).sum())
            values = (len(part), exact[0], exact[1].scaleb(-part.price_scale - part.size_scale), *map(int, numbers))
            sums[side] = [a + b for a, b in zip(sums[side], values, strict=True)]
    return dict(sums)


def test_the_62_hours_of_bitflyer_are_read_exactly_and_rows_without_a_time_refused() -> None:
    path = DATA / "tapes" / "bitflyer_BTC_JPY_62h.csv.gz"
    expected = list(bitflyer(path))
    batches, refused = [], []
    for block in open_tape(path, Instrument("bitflyer", "BTC_JPY")).blocks():
        batch, reasons = block.trades.checked(latest_ns=LATEST_NS)
        batches.append(batch)
        refused += [(block.raws(row)[1], reason) for row, reason in reasons.items()]
        assert not block.rejects
        assert not block.skipped
    assert totals_of(batches) == totals(row for row in expected if row)
    lines = [f"{path.name}:{n}" for n, row in enumerate(expected, 2) if row is None]
    assert len(lines) == 1559
    assert sorted(refused) == sorted((line, "no time: it can't be placed in a minute") for line in lines)


def test_the_59_hours_of_binances_aggregated_trades_are_read_exactly() -> None:
    path = DATA / "tapes" / "binance_XRPETH_aggtrades_59h.json.gz"
    assert open_tape(path, Instrument("binance", "XRPETH")).stream == "agg"
    found = read(path, "binance", "XRPETH")
    assert found.trades == list(ccxt(path))
    assert (len(found.trades), found.rejects) == (12_477, [])


@pytest.mark.parametrize(
    ("name", "venue", "count"),
    [
        ("binance_spot_btcusdt_20240808", "binance", 9757),
        ("binance_spot_btcusdt_20240809", "binance", 10_147),
        ("binance_usdm_btcusdt_20240808", "binance-usdm", 21_313),
    ],
)
def test_recorded_frames_of_binance_are_read_exactly(name: str, venue: str, count: int) -> None:
    path = DATA / "frames" / f"{name}.gz"
    assert open_tape(path, Instrument(venue, "BTCUSDT")).stream == "trade"
    found = read(path, venue, "BTCUSDT")
    assert found.trades == list(frames(path))
    assert (len(found.trades), found.rejects) == (count, [])


@pytest.mark.parametrize(
    ("name", "venue", "symbol"), [("BINANCE", "binance", "NKNUSDT"), ("BINANCE_FUTURES", "binance-usdm", "SUSHIUSDT")]
)
def test_frames_recorded_by_cryptofeed_are_read_exactly(name: str, venue: str, symbol: str) -> None:
    path = DATA / "frames" / f"recorded_{name}.ws.1.0.gz"
    assert open_tape(path, Instrument(venue, symbol)).stream == "agg"
    found = read(path, venue, symbol)
    assert found.trades == list(frames(path, "aggTrade", symbol))
    assert found.trades
    assert found.rejects == []


def coinbase(frame: Any, symbol: str) -> Iterator[Row]:
    if isinstance(frame, dict) and frame.get("type") in ("match", "last_match") and frame["product_id"] == symbol:
        side = {"sell": 1, "buy": -1}[frame["side"]]  # the maker's
        yield frame["trade_id"], iso_ns(frame["time"]), Decimal(frame["price"]), Decimal(frame["size"]), side, 1


def bitstamp(frame: Any, symbol: str) -> Iterator[Row]:
    if frame["event"] == "trade" and frame["channel"] == f"live_trades_{symbol}":
        t = frame["data"]
        side = {0: 1, 1: -1}[t["type"]]
        yield t["id"], int(t["microtimestamp"]) * 1000, Decimal(t["price_str"]), Decimal(t["amount_str"]), side, 1


def bitflyer_frames(frame: Any, symbol: str) -> Iterator[Row]:
    params = frame.get("params", {})
    if params.get("channel") == f"lightning_executions_{symbol}":
        for t in params["message"]:
            side = {"BUY": 1, "SELL": -1, "": 0}[t["side"]]
            ns = iso_ns(t["exec_date"][:19] + "+00:00") + int(t["exec_date"][20:].rstrip("Z").ljust(9, "0")[:9])
            yield t["id"], ns, t["price"], t["size"], side, 1


@pytest.mark.parametrize(
    ("name", "venue", "symbol", "reader"),
    [
        ("COINBASE.ws.28.0", "coinbase", "SKL-USD", coinbase),
        ("COINBASE.ws.28.0", "coinbase", "YFI-BTC", coinbase),
        ("BITSTAMP.ws.1.0", "bitstamp", "ethusd", bitstamp),
        ("BITFLYER.ws.1.0", "bitflyer", "FX_BTC_JPY", bitflyer_frames),
        ("BITFLYER.ws.1.0", "bitflyer", "ETH_JPY", bitflyer_frames),
    ],
)
def test_recorded_frames_of_other_venues_are_read_exactly(
    name: str, venue: str, symbol: str, reader: Callable[[Any, str], Iterator[Row]]
) -> None:
    path = DATA / "frames" / f"recorded_{name}.gz"
    with gzip.open(path, "rt") as file:
        received = [line.partition(" ")[2] for line in file if not line.startswith("wss://") and line.strip()]
    expected = [row for text in received for row in reader(json.loads(text, parse_float=Decimal), symbol)]
    found = read(path, venue, symbol)
    assert found.trades == expected
    assert expected
    assert (found.rejects, found.error) == ([], "")
