"""Seed 001's TimeSeriesDataStore: each of its examples and scenarios, and what it promises beyond them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.errors import BadValue, StorageError
from sinks.timeseries import TimeSeriesDataStore

NOON = datetime(2024, 12, 29, 12, tzinfo=UTC)
BROKEN = ["{", "nonsense", '{"a": 1,}', "[1, 2]", "3", '"text"', "null", "{" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"]


@pytest.fixture
def store(tmp_path: Path) -> TimeSeriesDataStore:
    return TimeSeriesDataStore(storage_path=tmp_path / "time_series_data")


@contextmanager
def fresh() -> Iterator[TimeSeriesDataStore]:
    """A store of its own for each example of hypothesis."""
    with tempfile.TemporaryDirectory() as folder:
        yield TimeSeriesDataStore(folder)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def file_of(store: TimeSeriesDataStore, symbol: str) -> Path:
    (path,) = (p for p in store.storage_path.iterdir() if p.name == f"{symbol}_timeseries.jsonl")
    return path


# --- the seed's examples ------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_seeds_unless_said_otherwise_and_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TimeSeriesDataStore()
    assert (tmp_path / "data/time_series_data").is_dir()


def test_the_seeds_example_of_two_entries_stands_in_the_file_line_by_line(store: TimeSeriesDataStore) -> None:
    store.save_data("BTCUSD", {"symbol": "BTCUSD", "timestamp": "2024-12-29T10:00:00", "price": 42500.50})
    store.save_data("BTCUSD", {"symbol": "BTCUSD", "timestamp": "2024-12-29T11:00:00", "price": 42510.75})
    lines = file_of(store, "btcusd").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"symbol": "BTCUSD", "timestamp": "2024-12-29T10:00:00", "price": 42500.5},
        {"symbol": "BTCUSD", "timestamp": "2024-12-29T11:00:00", "price": 42510.75},
    ]
    assert store.load_data("BTCUSD") == [json.loads(line) for line in lines]


def test_the_seeds_own_lines_are_loaded(store: TimeSeriesDataStore) -> None:
    line = {"symbol": "IBM", "timestamp": "2024-12-29T10:00:00", "price": 180.25, "volume": float("nan")}
    (store.storage_path / "ibm_timeseries.jsonl").write_text(json.dumps(line) + "\n")
    (entry,) = store.load_data("IBM")
    assert entry["price"] == 180.25
    assert np.isnan(entry["volume"])


@pytest.mark.parametrize(
    ("symbol", "name"), [("BTCUSD", "btcusd"), ("IBM", "ibm"), ("BTC_JPY", "btc_jpy"), ("btc-usd", "btc-usd")]
)
def test_an_ordinary_name_gives_the_seeds_file(store: TimeSeriesDataStore, symbol: str, name: str) -> None:
    assert store._get_filepath(symbol) == str(store.storage_path / f"{name}_timeseries.jsonl")


def test_a_datetime_becomes_iso_text_wherever_it_stands(store: TimeSeriesDataStore) -> None:
    inner = {
        "timestamp": datetime(2024, 12, 29, 10),
        "at": [NOON, {"day": date(2024, 12, 29)}],
        "ns": pd.Timestamp(1, tz="UTC"),
    }
    store.save_data("BTCUSD", inner)
    (entry,) = store.load_data("BTCUSD")
    assert entry == {
        "timestamp": "2024-12-29T10:00:00",
        "at": ["2024-12-29T12:00:00+00:00", {"day": "2024-12-29"}],
        "ns": "1970-01-01T00:00:00.000000001+00:00",
    }


def test_a_symbol_that_nothing_is_kept_of_is_empty(store: TimeSeriesDataStore) -> None:
    found = store.load_data("NOTHING")
    assert found == []
    assert found.malformed == 0


def test_a_malformed_line_is_skipped_and_counted_and_the_others_are_loaded(store: TimeSeriesDataStore) -> None:
    store.save_data("BTCUSD", {"timestamp": "2024-12-29T10:00:00", "n": 1})
    with file_of(store, "btcusd").open("ab") as file:
        file.write(b'{"timestamp": "2024-12-29T11:0\n\xff\xfe\n\n')
    store.save_data("BTCUSD", {"timestamp": "2024-12-29T12:00:00", "n": 2})
    with capture_logs() as logs:
        found = store.load_data("BTCUSD")
    assert [entry["n"] for entry in found] == [1, 2]
    assert found.malformed == 2
    assert [place.split(": ")[0].rpartition("/")[2] for place in found.places] == [
        "btcusd_timeseries.jsonl:2",
        "btcusd_timeseries.jsonl:3",
    ]
    assert [(entry["log_level"], entry["malformed"]) for entry in logs] == [("warning", 2)]


@given(
    st.lists(st.sampled_from(BROKEN) | st.integers(0, 10**6) | st.text(st.characters(exclude_characters="\n\r"), max_size=30))
)
def test_among_any_lines_all_entries_are_found_and_all_others_counted(lines: list[str | int]) -> None:
    with fresh() as store, capture_logs():
        for line in lines:
            if isinstance(line, int):
                store.save_data("X", {"timestamp": 1735466400, "n": line})
            else:
                with Path(store._get_filepath("X")).open("ab") as file:
                    file.write(line.encode() + b"\n")
        found = store.load_data("X")
    assert [entry["n"] for entry in found if "n" in entry] == [line for line in lines if isinstance(line, int)]
    texts = [line for line in lines if isinstance(line, str) and line.encode().strip() and not _is_object(line)]
    assert found.malformed == len(texts)
    assert len(found.places) == min(10, found.malformed)


# --- exactness ----------------------------------------------------------------------------------------------------------------


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_a_decimal_comes_back_digit_by_digit(value: Decimal) -> None:
    with fresh() as store:
        store.save_data("X", {"timestamp": 0, "price": value})
        (exact,), (plain,) = store.load_data("X", exact=True), store.load_data("X")
    assert str(exact["price"]) == (str(value) if isinstance(exact["price"], Decimal) else str(int(value)))
    assert Decimal(str(plain["price"])) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("60000.000000000000000001"), "60000.000000000000000001"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("0.30", '"0.30"'),
        (10**30, "1" + "0" * 30),
        (np.float64(0.1), "0.1"),
        (np.int64(7), "7"),
        (np.bool_(True), "true"),
        (np.datetime64("2024-12-29T10:00:00", "us"), '"2024-12-29T10:00:00"'),
        ("ß \u2028", '"ß \u2028"'),
    ],
)
def test_a_value_stands_in_the_file_as_it_was_given(store: TimeSeriesDataStore, value: Any, text: str) -> None:
    store.save_data("X", {"timestamp": 0, "v": value})
    assert file_of(store, "x").read_text(encoding="utf-8") == f'{{"timestamp":0,"v":{text}}}\n'


def test_a_number_that_a_float_would_change_comes_as_a_decimal(store: TimeSeriesDataStore) -> None:
    store.save_data("X", {"timestamp": 0, "a": Decimal("0.1"), "b": Decimal("0.123456789012345678901")})
    (entry,) = store.load_data("X")
    assert entry == {"timestamp": 0, "a": 0.1, "b": Decimal("0.123456789012345678901")}
    assert [type(entry[name]) for name in ("a", "b")] == [float, Decimal]


@pytest.mark.parametrize(
    "entry",
    [
        {"price": 1},
        ["timestamp"],
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"timestamp": float("nan")},
        {"timestamp": Decimal("sNaN")},
        {"timestamp": 10**5000},
        {"timestamp": pd.NaT},
        {"timestamp": True},
        {"timestamp": 0, "v": 10**5000},
        {"timestamp": 0, "v": float("nan")},
        {"timestamp": 0, "v": Decimal("Infinity")},
        {"timestamp": 0, "v": {1: "a number as a key"}},
        {"timestamp": 0, "v": pd.NaT},
        {"timestamp": 0, "v": object()},
        {"timestamp": 0, "v": "\ud800"},
        {"timestamp": 0, "v": b"bytes"},
    ],
)
def test_what_can_not_be_kept_as_it_is_is_refused_and_nothing_written(store: TimeSeriesDataStore, entry: Any) -> None:
    with pytest.raises(BadValue):
        store.save_data("X", entry)
    assert store.load_data("X") == []


def test_an_entry_that_holds_itself_is_refused(store: TimeSeriesDataStore) -> None:
    entry: dict[str, Any] = {"timestamp": 0}
    entry["self"] = entry
    with pytest.raises(BadValue):
        store.save_data("X", entry)


def test_a_failed_write_is_logged_and_raised(store: TimeSeriesDataStore) -> None:
    Path(store._get_filepath("X")).mkdir()
    with capture_logs() as logs, pytest.raises(StorageError, match=r"x_timeseries\.jsonl"):
        store.save_data("X", {"timestamp": 0})
    assert [entry["log_level"] for entry in logs] == ["error"]


# --- time ranges --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stamp",
    [
        NOON,
        NOON.isoformat(),
        "2024-12-29T12:00:00Z",
        "2024-12-29 12:00",
        "2024-12-29T13:00:00+01:00",
        NOON.astimezone(timezone(timedelta(hours=-5))),
        int(NOON.timestamp()),
        NOON.timestamp(),
        Decimal("1735473600.0"),
        int(NOON.timestamp()) * 10**3,
        int(NOON.timestamp()) * 10**6,
        int(NOON.timestamp()) * 10**9,
        np.int64(int(NOON.timestamp()) * 10**9),
    ],
)
def test_a_range_takes_its_start_and_leaves_out_its_end_however_a_time_is_written(
    store: TimeSeriesDataStore, stamp: Any
) -> None:
    store.save_data("X", {"timestamp": stamp})
    assert len(store.load_data("X", NOON, NOON + timedelta(microseconds=1))) == 1
    assert len(store.load_data("X", start="2024-12-29")) == 1
    assert store.load_data("X", end=NOON) == []
    assert store.load_data("X", start=NOON + timedelta(microseconds=1)) == []
    assert store.load_data("X", date(2024, 12, 30)) == []


def test_an_entry_without_a_time_is_counted_where_a_range_is_asked_for(store: TimeSeriesDataStore) -> None:
    Path(store._get_filepath("X")).write_text('{"n": 1}\n{"n": 2, "timestamp": "noon"}\n{"n": 3, "timestamp": 0}\n')
    assert len(store.load_data("X")) == 3
    found = store.load_data("X", "1970-01-01")
    assert [entry["n"] for entry in found] == [3]
    assert (found.malformed, found.undated) == (0, 2)


def test_a_range_that_is_no_time_is_refused(store: TimeSeriesDataStore) -> None:
    with pytest.raises(BadValue, match="yesterday"):
        store.load_data("X", "yesterday")


# --- names and rotation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["../../etc/passwd", "..", ".", "/etc/passwd", "BTC/USD", "a\\b", "a b", "é", "~", "%2f"])
def test_a_name_that_a_path_would_trip_over_stays_in_the_folder(store: TimeSeriesDataStore, symbol: str) -> None:
    store.save_data(symbol, {"timestamp": 0, "of": symbol})
    store.save_dataframe(symbol, frame(), "2024-01-01", "2024-01-02", symbol)
    assert len([path for path in store.storage_path.parent.rglob("*") if path.is_file()]) == 2
    assert len([path for path in store.storage_path.iterdir() if path.is_file()]) == 2
    assert store.load_data(symbol) == [{"timestamp": 0, "of": symbol}]
    assert store.load_dataframe(symbol, "2024-01-01", "2024-01-02", symbol) is not None
    (found,) = store.find_dataframes(symbol)
    assert (found.asset_pair, found.timeframe) == (symbol, symbol)


@pytest.mark.parametrize("symbol", ["", "x" * 65, "a\nb", "\x00", "\ud800", None])
def test_what_is_no_name_is_refused(store: TimeSeriesDataStore, symbol: Any) -> None:
    with pytest.raises(BadValue):
        store.save_data(symbol, {"timestamp": 0})
    with pytest.raises(BadValue):
        store.load_dataframe(symbol, "2024-01-01", "2024-01-02", "1h")


def test_a_file_that_would_exceed_the_limit_is_turned_over_and_still_loaded(tmp_path: Path) -> None:
    store = TimeSeriesDataStore(tmp_path, rotate_bytes=100)
    for number in range(20):
        store.save_data("BTCUSD", {"timestamp": number, "n": number})
    assert [entry["n"] for entry in store.load_data("BTCUSD")] == list(range(20))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["btcusd_timeseries.0001.jsonl", "btcusd_timeseries.0002.jsonl"]
    assert names[-1] == "btcusd_timeseries.jsonl"
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_the_limit_is_a_gigabyte_unless_said_otherwise(tmp_path: Path) -> None:
    """A sparse file stands for the gigabyte."""
    store = TimeSeriesDataStore(tmp_path)
    store.save_data("X", {"timestamp": 1})
    with (tmp_path / "x_timeseries.jsonl").open("r+b") as file:
        file.truncate(10**9 - 1)
    store.save_data("X", {"timestamp": 2})
    assert (tmp_path / "x_timeseries.0001.jsonl").stat().st_size == 10**9 - 1
    assert (tmp_path / "x_timeseries.jsonl").read_text() == '{"timestamp":2}\n'
    with pytest.raises(BadValue, match="rotate_bytes"):
        TimeSeriesDataStore(tmp_path, rotate_bytes=0)


# --- frames -------------------------------------------------------------------------------------------------------------------


def frame(start: str = "2024-01-01", rows: int = 24, freq: str = "1h", close: float = 1.0) -> pd.DataFrame:
    index = pd.date_range(start, periods=rows, freq=freq, tz="UTC", name="timestamp", unit="us").rename("timestamp")
    values = {"Open": 1.0, "High": 2.0, "Low": 0.5, "Close": close, "Volume": 10.0}
    return pd.DataFrame(values, index=index)


def same(found: pd.DataFrame | None, wanted: pd.DataFrame) -> None:
    assert found is not None
    pd.testing.assert_frame_equal(found, wanted, check_freq=False, check_index_type=False)


def test_a_frame_comes_back_by_pair_timeframe_and_range(store: TimeSeriesDataStore) -> None:
    start, end = datetime(2024, 1, 1), datetime(2024, 1, 31)
    store.save_dataframe("BTCUSD", frame(), start, end, "1h")
    assert [path.name for path in store.storage_path.iterdir()] == ["BTCUSD_1h_2024-01-01_2024-01-31.parquet"]
    assert store._get_dataframe_filepath("BTCUSD", start, end, "1h") == next(store.storage_path.iterdir())
    found = store.load_dataframe("BTCUSD", start, end, "1h")
    same(found, frame())
    assert found is not None
    assert isinstance(found.index, pd.DatetimeIndex)
    assert (str(found.index.tz), found.index.name) == ("UTC", "timestamp")
    for other in (("ETHUSD", start, end, "1h"), ("BTCUSD", start, end, "1d"), ("BTCUSD", start, datetime(2024, 2, 1), "1h")):
        assert store.load_dataframe(*other) is None


def test_saving_and_loading_by_the_seeds_argument_names(store: TimeSeriesDataStore) -> None:
    asked: dict[str, Any] = {
        "asset_pair": "BTCUSD",
        "start_date": NOON,
        "end_date": NOON + timedelta(days=1),
        "timeframe": "1d",
    }
    store.save_dataframe(df=frame(), **asked)
    same(store.load_dataframe(**asked), frame())
    store.save_data(symbol="BTCUSD", data_entry={"timestamp": NOON})
    assert len(store.load_data(symbol="BTCUSD")) == 1


def test_an_empty_frame_is_not_kept_and_that_is_told(store: TimeSeriesDataStore) -> None:
    with capture_logs() as logs:
        store.save_dataframe("BTCUSD", pd.DataFrame(), datetime(2024, 1, 1), datetime(2024, 1, 2), "1h")
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert list(store.storage_path.iterdir()) == []


@pytest.mark.parametrize(
    "given_frame",
    [
        frame().tz_localize(None),
        frame().tz_convert("Asia/Tokyo"),
        frame().rename_axis("Date"),
        frame().reset_index(),
        frame().reset_index().rename(columns={"timestamp": "date"}),
        frame().set_axis([str(when) for when in frame().index]),
        frame().iloc[::-1],
        frame()
        .set_axis([when.to_pydatetime() for when in frame().index])
        .astype(float)
        .pipe(lambda f: f.set_axis(f.index.astype(object))),
    ],
    ids=["naive", "another zone", "another name", "a column", "a column named date", "text", "backwards", "objects"],
)
def test_times_become_a_utc_index_named_timestamp_whatever_they_were(
    store: TimeSeriesDataStore, given_frame: pd.DataFrame
) -> None:
    before = given_frame.copy()
    store.save_dataframe("BTCUSD", given_frame, "2024-01-01", "2024-01-01", "1h")
    same(store.load_dataframe("BTCUSD", "2024-01-01", "2024-01-01", "1h"), frame())
    pd.testing.assert_frame_equal(given_frame, before)


@pytest.mark.parametrize(
    "bad",
    [
        frame().reset_index(drop=True),
        frame().set_axis(["noon"] * 24),
        frame(rows=2).reset_index(drop=True).assign(timestamp=[1704067200000, 1704067260000]),
        frame().set_axis([*frame().index[:-1], pd.NaT]),
        frame().assign(Close=pd.Series([object()] * 24, index=frame().index)),
    ],
    ids=["no times", "no time", "numbers", "a time is missing", "what Parquet can't hold"],
)
def test_a_frame_that_can_not_be_kept_is_refused_in_one_line(store: TimeSeriesDataStore, bad: pd.DataFrame) -> None:
    with pytest.raises(BadValue, match=r"^a frame.*$"):
        store.save_dataframe("BTCUSD", bad, "2024-01-01", "2024-01-01", "1h")
    assert list(store.storage_path.iterdir()) == []


def test_a_range_that_runs_backwards_is_refused(store: TimeSeriesDataStore) -> None:
    with pytest.raises(BadValue, match="the end is before the start"):
        store.save_dataframe("BTCUSD", frame(), "2024-01-02", "2024-01-01", "1h")


def test_exact_decimals_and_text_in_a_frame_come_back_exact(store: TimeSeriesDataStore) -> None:
    exact = frame(rows=2)
    exact["Close"] = pd.Series([Decimal("0.10"), Decimal("123.45")], index=exact.index)
    exact["note"] = "a"
    store.save_dataframe("BTCUSD", exact, "2024-01-01", "2024-01-01", "1h")
    found = store.load_dataframe("BTCUSD", "2024-01-01", "2024-01-01", "1h")
    assert found is not None
    assert [str(value) for value in found["Close"]] == ["0.10", "123.45"]
    assert found["note"].tolist() == ["a", "a"]


def test_the_same_range_again_takes_the_place_of_the_former_by_the_same_bytes(store: TimeSeriesDataStore) -> None:
    asked = ("2024-01-01", "2024-01-31", "1h")
    store.save_dataframe("BTCUSD", frame(rows=24), *asked)
    store.save_dataframe("BTCUSD", frame(rows=12, close=9.0), *asked)
    same(store.load_dataframe("BTCUSD", *asked), frame(rows=12, close=9.0))
    before = next(store.storage_path.iterdir()).read_bytes()
    store.save_dataframe("BTCUSD", frame(rows=12, close=9.0), *asked)
    assert next(store.storage_path.iterdir()).read_bytes() == before


def test_other_hours_of_the_same_dates_join_the_file_and_come_back_each_alone(store: TimeSeriesDataStore) -> None:
    """The name holds dates only: the seed would lose the first."""
    morning = (datetime(2024, 1, 1, 0), datetime(2024, 1, 1, 3, 59), "1h")
    noon = (datetime(2024, 1, 1, 3), datetime(2024, 1, 1, 8), "1h")
    store.save_dataframe("BTCUSD", frame("2024-01-01T00:00", 4), *morning)
    store.save_dataframe("BTCUSD", frame("2024-01-01T03:00", 6, close=9.0), *noon)
    assert len(list(store.storage_path.iterdir())) == 1
    same(store.load_dataframe("BTCUSD", *noon), frame("2024-01-01T03:00", 6, close=9.0))
    joined = pd.concat([frame("2024-01-01T00:00", 3), frame("2024-01-01T03:00", 1, close=9.0)])
    same(store.load_dataframe("BTCUSD", *morning), joined)
    assert store.load_dataframe("BTCUSD", datetime(2024, 1, 1, 1), datetime(2024, 1, 1, 2), "1h") is None


def test_a_frame_that_the_seed_wrote_is_loaded_whatever_the_case_of_its_name(store: TimeSeriesDataStore) -> None:
    frame().tz_localize(None).to_parquet(store.storage_path / "btcusd_1h_2024-01-01_2024-01-31.parquet")
    same(store.load_dataframe("BTCUSD", datetime(2024, 1, 1), datetime(2024, 1, 31), "1h"), frame())


def _flipped(data: bytes) -> bytes:
    at = len(data) // 8  # in a page, not in the footer
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"no Parquet", _flipped])
def test_a_damaged_frame_is_none_with_a_warning_that_names_it_and_is_set_aside_when_it_is_saved_again(
    store: TimeSeriesDataStore, damage: Any
) -> None:
    asked = ("2024-01-01", "2024-01-31", "1h")
    store.save_dataframe("BTCUSD", frame(), *asked)
    (path,) = store.storage_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with capture_logs() as logs:
        assert store.load_dataframe("BTCUSD", *asked) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert str(path) in logs[0]["error"]
    with pytest.raises(StorageError, match=path.name):
        store.load_range("BTCUSD", "1h", "2024-01-01", "2024-01-02")
    store.save_dataframe("BTCUSD", frame(), *asked)
    same(store.load_dataframe("BTCUSD", *asked), frame())
    assert path.with_name(path.name + ".damaged").exists()


def test_a_frame_is_there_whole_or_not_at_all(store: TimeSeriesDataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("2024-01-01", "2024-01-31", "1h")
    store.save_dataframe("BTCUSD", frame(), *asked)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(StorageError, match="full"):
        store.save_dataframe("BTCUSD", frame(close=9.0), *asked)
    monkeypatch.undo()
    same(store.load_dataframe("BTCUSD", *asked), frame())
    assert [path.name for path in store.storage_path.iterdir()] == ["BTCUSD_1h_2024-01-01_2024-01-31.parquet"]


def test_frames_are_found_by_pair_and_timeframe(store: TimeSeriesDataStore) -> None:
    for pair, timeframe, start in (
        ("BTC_JPY", "1h", "2024-02-01"),
        ("BTC_JPY", "1h", "2024-01-01"),
        ("ETH/USD", "1_h", "2024-01-01"),
    ):
        store.save_dataframe(pair, frame(start), start, start, timeframe)
    (store.storage_path / "note.parquet").touch()
    (store.storage_path / "X_1h_2024-99-01_2024-01-01.parquet").touch()
    assert [(f.asset_pair, f.timeframe, f.start) for f in store.find_dataframes()] == [
        ("BTC_JPY", "1h", date(2024, 1, 1)),
        ("BTC_JPY", "1h", date(2024, 2, 1)),
        ("ETH/USD", "1_h", date(2024, 1, 1)),
    ]
    assert len(store.find_dataframes("BTC_JPY")) == 2
    assert len(store.find_dataframes(timeframe="1_h")) == 1
    assert store.find_dataframes("BTC") == []


def test_a_range_comes_from_all_frames_of_a_pair_each_time_once(store: TimeSeriesDataStore) -> None:
    store.save_dataframe("BTCUSD", frame("2024-01-01", 48), "2024-01-01", "2024-01-02", "1h")
    store.save_dataframe("BTCUSD", frame("2024-01-02T12:00", 24, close=9.0), "2024-01-02T12:00", "2024-01-03", "1h")
    store.save_dataframe("BTCUSD", frame("2024-01-02", 1), "2024-01-02", "2024-01-02", "1d")
    found = store.load_range("BTCUSD", "1h", "2024-01-01T12:00", datetime(2024, 1, 3))
    same(found, pd.concat([frame("2024-01-01T12:00", 24), frame("2024-01-02T12:00", 12, close=9.0)]))
    assert store.load_range("BTCUSD", "1h", "2025-01-01", "2025-01-02").empty
