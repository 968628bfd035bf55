"""Single trades out of raw recordings: each once and exact, and what no recording holds is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import orjson
import pandas as pd
import pytest

import spillway
from pipeline.errors import BadValue, StorageError
from sinks.recording import Recorder
from spillway.store import IncompleteWarning, NotRecorded, Store
from tests.processes import succeed
from tests.sinks.days import flip_bit
from tests.tapes import START_MS, rows

BTC = ("binance", "BTCUSDT")
ARGS = ("--venue", "binance", "--symbol", "BTCUSDT")
Row = dict[str, str]


def told() -> list[Row]:
    """Two hours of trades, each with an aggressor, as Binance's frames need it."""
    return [row | {"side": row["side"] or "buy"} for row in rows(hours=2, per_minute=6)]


def frame(row: Row, symbol: str = "BTCUSDT") -> bytes:
    """A combined stream's frame of a trade."""
    trade = {"e": "trade", "s": symbol, "t": int(row["id"]), "p": row["price"], "q": row["size"], "T": int(row["time"])}
    return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": trade | {"m": row["side"] == "sell"}})


async def record(data: Path, trades: Sequence[Row], *, finish: bool = True, symbol: str = "BTCUSDT") -> list[Path]:
    """A recording of trades, received a little after they were made; without `finish` its file is still being written."""
    recorder = Recorder(data / "recordings", venue="binance", clock_ns=lambda: int(trades[-1]["time"]) * 10**6, sync_s=0.01)
    await recorder.put([frame(row, symbol) for row in trades], [(int(row["time"]) + 40) * 10**6 for row in trades])
    await recorder.close()
    found = sorted((data / "recordings").rglob("*.gz"))
    return found


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "frames.txt"
    path.write_bytes(b"".join(b"%d %b\n" % ((int(row["time"]) + 40) * 10**6, frame(row)) for row in told()))
    return path


@pytest.fixture
def data(tape: Path, tmp_path: Path) -> Path:
    """All two hours collected."""
    succeed("replay", tape, *ARGS, "--data", tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[Store]:
    with spillway.open(data) as opened:
        yield opened


def as_told(trades: Sequence[Row]) -> list[tuple[int, Decimal, Decimal, str]]:
    return [(int(t["id"]), Decimal(t["price"]), Decimal(t["size"]), t["side"]) for t in trades]


def as_read(found: pd.DataFrame) -> list[tuple[int, Decimal, Decimal, str]]:
    return list(zip(found["trade_id"], found["price"], found["size"], found["side"], strict=True))


async def test_trades_come_exactly_and_once_though_connections_overlap(data: Path, store: Store) -> None:
    trades = told()
    await record(data, trades[:400])
    await record(data, trades[300:])
    found = store.trades(*BTC, exact=True)
    assert as_read(found) == as_told(trades)
    assert found["timestamp"].tolist() == [pd.Timestamp(int(t["time"]), unit="ms", tz="UTC") for t in trades]
    assert found["trade_count"].sum() == len(trades)
    plain = store.trades(*BTC)
    assert plain["price"].tolist() == [float(t["price"]) for t in trades]
    assert plain["size"].tolist() == [float(t["size"]) for t in trades]


async def test_a_range_holds_just_its_trades(data: Path, store: Store) -> None:
    trades = told()
    await record(data, trades)
    first, last = START_MS + 600_000, START_MS + 1_200_000
    want = [t for t in trades if first <= int(t["time"]) < last]
    assert as_read(store.trades(*BTC, "2023-11-15 00:10", "2023-11-15 00:20", exact=True)) == as_told(want)
    assert len(store.trades(*BTC, "2023-11-15 00:10", "2023-11-15 00:20", columns=["price"], as_="polars")) == len(want)


async def test_trades_of_other_symbols_in_the_same_recording_are_passed_over(data: Path, store: Store) -> None:
    trades = told()
    await record(data, trades[:50], symbol="ETHUSDT")
    await record(data, trades)
    assert as_read(store.trades(*BTC, exact=True)) == as_told(trades)


async def test_minutes_that_no_recording_holds_are_told(data: Path, store: Store) -> None:
    trades = told()
    await record(data, [t for t in trades if not START_MS + 600_000 <= int(t["time"]) < START_MS + 780_000])
    with pytest.warns(IncompleteWarning, match="18 trades of 3 minutes are in no recording: 2023-11-15 00:10 to 2023-"):
        found = store.trades(*BTC)
    assert len(found) == len(trades) - 18
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.trades(*BTC, "2023-11-15 01:00")) == 360


async def test_where_nothing_was_recorded_it_says_what_was(data: Path, store: Store) -> None:
    with pytest.raises(NotRecorded, match=r"no recording holds a trade .* are none: `record: true`"):
        store.trades(*BTC)
    await record(data, told()[:60])
    with pytest.raises(NotRecorded, match=r"from 2023-11-15 01:00 to 2023-11-15 01:59; .* are from 2023-11-15"):
        store.trades(*BTC, during="2023-11-15 01")


async def test_a_file_that_is_still_being_written_is_read_up_to_its_last_whole_member(data: Path, store: Store) -> None:
    trades = told()
    (path,) = await record(data, trades)
    part = path.rename(path.with_name(path.name + ".part"))
    part.write_bytes(part.read_bytes() + b"\x1f\x8b\x08\x00cut off")
    assert as_read(store.trades(*BTC, exact=True)) == as_told(trades)


async def test_a_damaged_recording_is_named(data: Path, store: Store) -> None:
    (path,) = await record(data, told())
    flip_bit(path, path.stat().st_size // 2)
    with pytest.raises(StorageError, match=str(path)):
        store.trades(*BTC)


def test_a_column_that_trades_do_not_have_is_refused(store: Store) -> None:
    with pytest.raises(BadValue, match="trades have no column 'volume': expected some of timestamp, trade_id"):
        store.trades(*BTC, columns=["volume"])
