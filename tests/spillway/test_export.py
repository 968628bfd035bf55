"""A time range to a file: exact, safe to open in a spreadsheet, whole or not at all, in the layouts that others read."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spillway
from pipeline.errors import BadValue, DiskFull, StorageError
from pipeline.instrument import Instrument
from pipeline.minute import Minute
from spillway.export import Export, export_range
from spillway.export_files import CsvFile, JsonFile, Writing, staged
from spillway.recorded import NotRecorded
from spillway.settings import Settings
from tests.pipeline.builders import BTC, START, minute
from tests.processes import succeed
from tests.sinks.days import random_day
from tests.spillway.kept import stored
from tests.spillway.test_store_trades import as_told, record, told

ENDINGS = ("csv", "json", "parquet", "feather")
VOLUMES = ("price_level", "buy_volume", "sell_volume", "total_volume", "delta")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days, the last one not compacted."""
    folder = stored(tmp_path_factory.mktemp("kept") / "data", [*random_day(30), *random_day(20, start=START + 1440)])
    return stored(folder, random_day(20, start=START + 2880), compacted=False)


def export(data: Path, output: Path, **options: Any) -> list[str]:
    return export_range(Settings(data_dir=data), Export(BTC, output, **options)).notes


def frame_of(path: Path) -> pd.DataFrame:
    if path.suffix == ".json":
        return pd.DataFrame(json.loads(path.read_text()))  # pandas' own parser may be off by the last digit
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".feather": pd.read_feather}
    found: pd.DataFrame = readers[path.suffix](path)
    return found


def texts_of(path: Path) -> list[dict[str, Any]]:
    """The rows with each number as the file's own text."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    found: list[dict[str, Any]] = json.loads(path.read_text(), parse_float=str, parse_int=str)
    return found


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("what", ["levels", "minutes", "bars"])
def test_each_kind_in_each_format_holds_all_rows(what: str, ending: str, data: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out.{ending}"
    export(data, target, what=what, every="1h")
    with spillway.open(data) as store:
        want = getattr(store, what)(BTC.venue, BTC.symbol, **({"every": "1h"} if what == "bars" else {}))
    found = frame_of(target)
    assert list(found.columns) == list(want.columns)
    times = pd.to_datetime(found["timestamp"], utc=True)
    assert times.astype("int64").tolist() == want["timestamp"].astype("int64").tolist() or (times == want["timestamp"]).all()
    for name in ("buy_volume", "total_volume", "delta", "trade_count"):
        assert found[name].tolist() == want[name].tolist()


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_numbers_are_the_shortest_texts_of_the_exact_decimals(ending: str, data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / f"out.{ending}")
    exact = {Decimal(repr(v)) for name in VOLUMES for v in all_levels(data)[name].tolist()}
    found = [row[name] for row in texts_of(tmp_path / f"out.{ending}") for name in VOLUMES]
    assert {Decimal(text) for text in found} == exact
    assert all(text == f"{Decimal(text).normalize():f}" or text == f"{Decimal(text).normalize():f}.0" for text in found)


def all_levels(data: Path) -> pd.DataFrame:
    with spillway.open(data) as store:
        found: pd.DataFrame = store.levels(BTC.venue, BTC.symbol)
    return found


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-8, 1.23456789012345e14, 0.1, 60000.0])


@given(st.lists(NUMBERS, min_size=1))
def test_any_number_comes_back_from_its_text(values: list[float]) -> None:
    table = pa.table({"x": pa.array(values, pa.float64())})
    for make in (CsvFile, JsonFile):
        sink = pa.BufferOutputStream()
        with Writing(sink, make) as writing:
            writing.write(table)
        text = sink.getvalue().to_pybytes().decode()
        texts = text.split()[1:] if make is CsvFile else [row["x"] for row in json.loads(text, parse_float=str)]
        assert [float(one) for one in texts] == values
        assert all("." in one and "e" not in one for one in texts)


def test_what_is_no_number_is_null() -> None:
    sink = pa.BufferOutputStream()
    with Writing(sink, JsonFile) as writing:
        writing.write(pa.table({"x": pa.array([1.5, float("nan"), None]), "s": ['a"b\n', None, "ü"]}))
    assert json.loads(sink.getvalue().to_pybytes()) == [{"x": 1.5, "s": 'a"b\n'}, {"x": None, "s": None}, {"x": None, "s": "ü"}]


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+cmd", "-cmd", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "\uff1d1+1", "\uff20SUM(A1)"],
)
def test_a_csv_cell_is_never_a_formula(name: str, tmp_path: Path) -> None:
    one = minute({60_000: (1, 0, 1, 1)}, first_trade_id=name, last_trade_id="-17")
    export(stored(tmp_path / "data", [one], compacted=False), tmp_path / "out.csv", what="minutes")
    (row,) = texts_of(tmp_path / "out.csv")
    assert row["first_trade_name"] == f"'{name}"
    assert row["last_trade_name"] == "-17"


def test_a_range_without_a_minute_is_a_file_without_a_row(data: Path, tmp_path: Path) -> None:
    for ending in ENDINGS:
        for what in ("levels", "minutes", "bars"):
            target = tmp_path / f"{what}.{ending}"
            export(data, target, what=what, start="2030")
            assert target.stat().st_size
            if ending != "json":
                assert frame_of(target).empty
            else:
                assert json.loads(target.read_text()) == []


def test_a_month_or_a_day_is_named_by_its_text(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "out.parquet", start="2023-11-16", end="2023-11-17")
    assert set(frame_of(tmp_path / "out.parquet")["timestamp"].dt.date.astype(str)) == {"2023-11-16"}


def test_only_what_is_whole_and_a_note_of_what_is_not(data: Path, tmp_path: Path) -> None:
    assert "bars are not whole: marked in the column `whole`" in export(data, tmp_path / "a.csv", what="bars", every="1h")[0]
    export(data, tmp_path / "b.csv", what="bars", every="1h", whole_only=True)
    assert frame_of(tmp_path / "b.csv").empty
    export(data, tmp_path / "m.csv", what="minutes", whole_only=True)
    assert set(frame_of(tmp_path / "m.csv")["status"]) == {"complete", "repaired"}


# --- whole or not at all ------------------------------------------------------------------------------------------------


def test_an_export_that_fails_leaves_what_stood_there(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")

    def full(self: CsvFile, table: pa.Table) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(CsvFile, "write", full)
    with pytest.raises(DiskFull, match=f"{target}: can't be written: the disk is full"):
        export(data, target)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere/out\.csv: can't be written: No such file"):
        export(data, tmp_path / "nowhere" / "out.csv")


def test_nothing_has_the_files_name_before_all_is_written(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as file:
        file.write(b"half")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"half"
    assert len(list(tmp_path.iterdir())) == 1


def test_days_are_written_one_after_another(data: Path, tmp_path: Path) -> None:
    told_of: list[tuple[int, int, str]] = []
    wanted = Export(BTC, tmp_path / "out.parquet")
    export_range(Settings(data_dir=data), wanted, lambda what, done, total, note="": told_of.append((done, total, note)))
    assert told_of == [(1, 3, "2023-11-15"), (2, 3, "2023-11-16"), (3, 3, "2023-11-17")]
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3


# --- trades -------------------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> Path:
    """A data folder with two hours of trades, and their recording."""
    asyncio.run(record(folder, told()))
    found = sorted((folder / "recordings").rglob("*.gz"))
    succeed("replay", *found, "--venue", "binance", "--symbol", "BTCUSDT", "--data", folder)
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
def test_trades_come_from_the_recordings(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"out.{ending}"
    assert export(recorded(tmp_path / "data"), target, what="trades") == []
    if ending in ("csv", "json"):
        found = texts_of(target)
        assert [(int(r["trade_id"]), Decimal(r["price"]), Decimal(r["size"]), r["side"]) for r in found] == as_told(told())
    else:
        assert frame_of(target)["price"].tolist() == [float(t["price"]) for t in told()]


def test_trades_that_were_not_recorded_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotRecorded, match="no recording holds a trade"):
        export(data, tmp_path / "out.csv", what="trades")
    assert list(tmp_path.iterdir()) == []


# --- layouts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Ten minutes of prices that differ, and whose ids join."""
    minutes: list[Minute] = []
    for n in range(10):
        levels = {60_000 + n: (3, 2, 5, 2), 60_004 + n: (1, 0, 1, 1)}
        minutes.append(minute(levels, start=START + n, first_trade_id=n * 9, last_trade_id=n * 9 + 8))
    return stored(tmp_path / "data", minutes)


def test_freqtrade_reads_candles_as_its_own(walk: Path, tmp_path: Path) -> None:
    """As its handlers read: `read_feather`, six columns in its order, and dates through `to_datetime(unit="ms")`."""
    for ending in ("feather", "parquet"):
        target = tmp_path / f"BTC_USDT-5m.{ending}"
        notes = export(walk, target, what="bars", every="5m", layout="freqtrade")
        assert notes == []
        found = frame_of(target)
        assert list(found.columns) == ["date", "open", "high", "low", "close", "volume"]
        found["date"] = pd.to_datetime(found["date"], unit="ms", utc=True)
        assert found["date"].tolist() == [pd.Timestamp((START + n) * 60, unit="s", tz="UTC") for n in (0, 5)]
        assert {str(found[name].dtype) for name in found.columns[1:]} == {"float64"}
    target = tmp_path / "BTC_USDT-5m.json"
    export(walk, target, what="bars", every="5m", layout="freqtrade")
    values = pd.read_json(target, orient="values")
    assert values.shape == (2, 6)
    assert values[0].astype("int64").tolist() == [(START + n) * 60_000 for n in (0, 5)]
    assert values[5].tolist() == pytest.approx(found["volume"].tolist())


def test_freqtrade_reads_trades_as_its_own(tmp_path: Path) -> None:
    data = recorded(tmp_path / "data")
    export(data, tmp_path / "BTC_USDT-trades.feather", what="trades", layout="freqtrade")
    found = pd.read_feather(tmp_path / "BTC_USDT-trades.feather")
    assert list(found.columns) == ["timestamp", "id", "type", "side", "price", "amount", "cost"]
    assert found["timestamp"].tolist() == [int(t["time"]) for t in told()]
    assert found["id"].tolist() == [t["id"] for t in told()]
    assert (found["cost"] == found["price"] * found["amount"]).all()
    export(data, tmp_path / "BTC_USDT-trades.json", what="trades", layout="freqtrade")
    rows = json.loads((tmp_path / "BTC_USDT-trades.json").read_text())
    assert rows[0][:4] == [int(told()[0]["time"]), "1", None, told()[0]["side"]]


def test_backtesting_libraries_get_a_time_index_and_their_column_names(walk: Path, tmp_path: Path) -> None:
    export(walk, tmp_path / "bars.csv", what="bars", every="5m", layout="backtesting")
    export(walk, tmp_path / "bars.parquet", what="bars", every="5m", layout="backtesting")
    for found in (
        pd.read_csv(tmp_path / "bars.csv", index_col=0, parse_dates=True),
        pd.read_parquet(tmp_path / "bars.parquet"),
    ):
        assert list(found.columns) == ["Open", "High", "Low", "Close", "Volume"]
        assert isinstance(found.index, pd.DatetimeIndex) and found.index.is_monotonic_increasing
        assert found.index[0] == pd.Timestamp(START * 60, unit="s")
        assert found["High"].tolist() == pd.read_csv(tmp_path / "bars.csv")["High"].tolist()


def test_backtrader_reads_by_its_defaults(walk: Path, tmp_path: Path) -> None:
    export(walk, tmp_path / "bars.csv", what="bars", every="5m", layout="backtrader")
    header, *lines = (tmp_path / "bars.csv").read_text().splitlines()
    assert header == "datetime,open,high,low,close,volume,openinterest"
    for line in lines:
        cells = line.split(",")
        assert datetime.strptime(cells[0], "%Y-%m-%d %H:%M:%S")
        assert len([float(cell) for cell in cells[1:]]) == 6


def test_a_layout_of_an_incomplete_bar_says_so(data: Path, tmp_path: Path) -> None:
    (note,) = export(data, tmp_path / "bars.csv", what="bars", every="1h", layout="backtrader")
    assert "not whole: written as they are (--whole-only leaves them out)" in note


@pytest.mark.parametrize(
    ("output", "options", "complaint"),
    [
        ("out.xlsx", {}, r"expected a name that ends in \.csv, \.parquet, \.json, \.feather"),
        ("out.csv", {"what": "levels", "layout": "freqtrade"}, "freqtrade takes --what bars, trades"),
        ("out.csv", {"what": "bars", "layout": "excel"}, "expected backtesting, backtrader, freqtrade"),
        ("BTC-5m.csv", {"what": "bars", "layout": "freqtrade"}, r"freqtrade reads \.feather"),
        ("out.feather", {"what": "bars", "layout": "freqtrade", "every": "5m"}, r"expected one such as BTC_USDT-5m\.feather"),
        ("out.feather", {"what": "trades", "layout": "freqtrade"}, r"expected one such as BTC_USDT-trades\.feather"),
        ("out.feather", {"what": "bars", "layout": "backtesting"}, r"backtesting reads \.csv, \.parquet"),
        ("out.csv", {"what": "trades", "whole_only": True}, "--whole-only is for levels, minutes and bars"),
        ("out.csv", {"every": "90s"}, "bar length"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_read(
    output: str, options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(BadValue, match=complaint):
        Export(BTC, tmp_path / output, **options)


def test_an_instrument_of_which_nothing_is_kept_is_refused_with_those_that_are(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"binance ETHUSDT: nothing is kept of it .* there is: binance BTCUSDT"):
        export_range(Settings(data_dir=data), Export(Instrument("binance", "ETHUSDT"), tmp_path / "out.csv"))


def test_polars_reads_what_was_exported(data: Path, tmp_path: Path) -> None:
    export(data, tmp_path / "out.feather")
    export(data, tmp_path / "out.parquet")
    assert pl.read_ipc(tmp_path / "out.feather").equals(pl.read_parquet(tmp_path / "out.parquet"))


def test_the_command_writes_a_layout_and_says_what_is_not_whole(walk: Path, tmp_path: Path) -> None:
    target = tmp_path / "BTC_USDT-4m.feather"
    options = ("--what", "bars", "--every", "4m", "--layout", "freqtrade", "-o", target, "--data", walk)
    output = succeed("export", "--venue", "binance", "--symbol", "BTCUSDT", *options)
    assert f"3 rows written to {target}" in output
    assert "1 of 3 bars are not whole: written as they are" in output
    assert "2 rows" in succeed("export", "--venue", "binance", "--symbol", "BTCUSDT", *options, "--whole-only")
