"""One read API over window, minute files and archive: no seam, nothing twice, also while minutes move."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pandas.testing as pdt
import pytest

import spillway
from pipeline.errors import BadValue
from spillway.store import Store
from tests import judge, tapes
from tests.processes import succeed

BTC = ("binance", "BTCUSDT")
ARGS = ("--venue", "binance", "--symbol", "BTCUSDT")
DAY_MS = 86_400_000


def rows() -> Iterator[dict[str, str]]:
    return tapes.rows(hours=60, per_minute=20, every=15)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judge.write_tape(tmp_path_factory.mktemp("tape") / "tape.csv", rows())


@pytest.fixture
def data(tape: Path, tmp_path: Path) -> Path:
    """Hot, warm and cold at once: the first hours in Parquet, some in files, the rest in Redis, an open minute too."""
    folder = tmp_path / "data"
    succeed("replay", tape, *ARGS, "--data", folder)
    return folder


@pytest.fixture(scope="module")
def cold(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The same trades, all of them in the archive."""
    folder = tmp_path_factory.mktemp("cold") / "data"
    succeed("replay", tape, *ARGS, "--data", folder)
    succeed("spill", "--all", "--data", folder)
    succeed("compact", "--data", folder)
    with spillway.open(folder) as store:
        yield store


def judged(levels: pd.DataFrame) -> judge.Levels:
    minutes = (levels["timestamp"].astype("int64") // 60_000_000).tolist()
    columns = [levels[c].tolist() for c in ("price_level", "buy_volume", "sell_volume", "total_volume", "trade_count")]
    return {
        (minute, Decimal(str(p)).normalize()): [*(Decimal(str(v)) for v in volumes), count]
        for minute, p, *volumes, count in zip(minutes, *columns, strict=True)
    }


def differing(store: Store, want: Store) -> list[str]:
    """Which frames of one store are not, in each value and type, those of another."""
    asked: list[tuple[str, dict[str, Any]]] = [("levels", {}), ("minutes", {}), ("bars", {"every": "1h"})]
    wrong = []
    for what, options in [*asked, ("bars", {"every": "7h", "price_group": 5}), ("coverage", {"by": "hour"})]:
        mine, theirs = (getattr(one, what)(*BTC, **options) for one in (store, want))
        try:
            pdt.assert_frame_equal(mine, theirs, check_exact=True)
        except AssertionError as error:
            wrong.append(f"{what}: {error}")
    return wrong


def test_levels_of_all_three_places_are_exactly_the_trades(data: Path) -> None:
    with spillway.open(data) as store:
        assert judge.differences(judge.expected(rows()), judged(store.levels(*BTC))) == []


def test_hot_and_warm_rows_equal_the_cold_ones_to_the_byte_of_the_frame(data: Path, cold: Store) -> None:
    with spillway.open(data) as store:
        assert differing(store, cold) == []


def test_a_range_is_read_from_its_start_up_to_and_without_its_end(data: Path, cold: Store) -> None:
    with spillway.open(data) as store:
        for start, end in (("2023-11-15T10:00", "2023-11-15T14:00"), ("2023-11-15", "2023-11-16"), ("2023-11-17T11:00", None)):
            frame = store.levels(*BTC, start, end)
            pdt.assert_frame_equal(frame, cold.levels(*BTC, start, end))
            assert frame["timestamp"].min() >= pd.Timestamp(start, tz="UTC")
            assert end is None or frame["timestamp"].max() < pd.Timestamp(end, tz="UTC")


def test_times_are_texts_dates_or_datetimes_and_naive_ones_are_utc(cold: Store) -> None:
    want = cold.minutes(*BTC, "2023-11-16", "2023-11-17")
    assert len(want) == 96
    for start in (datetime(2023, 11, 16), datetime(2023, 11, 16, tzinfo=UTC).date(), pd.Timestamp("2023-11-16", tz="UTC")):
        pdt.assert_frame_equal(cold.minutes(*BTC, start, "2023-11-17T00:00Z"), want)


def test_bars_are_the_sums_of_their_minutes(cold: Store) -> None:
    minutes, bars = cold.minutes(*BTC), cold.bars(*BTC, every="1h")
    hour = minutes[minutes["timestamp"].dt.floor("1h") == bars["timestamp"].iloc[7]]
    bar = bars.iloc[7]
    assert bar["open"] == hour["open"].iloc[0]
    assert bar["close"] == hour["close"].iloc[-1]
    assert (bar["high"], bar["low"]) == (hour["high"].max(), hour["low"].min())
    exact = sum((Decimal(str(v)) for v in hour["total_volume"]), Decimal(0))
    assert Decimal(str(bar["total_volume"])) == exact
    assert bar["minutes"] == len(hour) == 4
    assert bar["vwap"] == pytest.approx(float(hour["notional"].sum()) / float(exact))
    assert bars["trade_count"].sum() == 4800


def test_a_bars_status_is_the_worst_of_its_minutes(cold: Store) -> None:
    bars = cold.bars(*BTC, every="1d")
    assert bars["status"].tolist() == ["complete", "complete", "unknown"]  # the tape ends inside its last minute


def test_an_instrument_of_which_nothing_is_kept_gives_empty_frames_with_all_columns(cold: Store) -> None:
    assert list(cold.levels("binance", "ETHUSDT").columns) == list(cold.levels(*BTC).columns)
    assert cold.levels("binance", "ETHUSDT").empty
    assert cold.minutes("binance", "ETHUSDT").empty
    assert cold.bars("binance", "ETHUSDT", every="5m").empty


@pytest.mark.parametrize("every", ["90s", "soon", "0m", "-5m", ""])
def test_a_bar_length_that_is_no_whole_number_of_minutes_is_refused(every: str, cold: Store) -> None:
    with pytest.raises(BadValue, match="bar length"):
        cold.bars(*BTC, every=every)


def test_a_range_that_runs_backwards_is_refused(cold: Store) -> None:
    with pytest.raises(BadValue, match="before the start"):
        cold.levels(*BTC, "2023-11-16", "2023-11-15")


def test_a_folder_with_no_redis_in_it_is_read_without_starting_one(tmp_path: Path) -> None:
    with spillway.open(tmp_path / "empty") as store:
        assert store.instruments() == []
    assert not (tmp_path / "empty").exists()


def test_what_a_lazy_frame_took_from_redis_is_not_seen_twice_when_it_is_compacted_meanwhile(data: Path, cold: Store) -> None:
    with spillway.open(data) as store:
        frames = {kind: store.levels(*BTC, as_=kind) for kind in ("lazy", "duckdb")}
        succeed("spill", "--all", "--data", data)
        succeed("compact", "--data", data)
        want = cold.levels(*BTC)
        pdt.assert_frame_equal(frames["lazy"].collect().to_arrow().to_pandas(), want)
        pdt.assert_frame_equal(frames["duckdb"].to_arrow_table().to_pandas(), want)


def test_a_store_that_was_opened_before_anything_was_kept_sees_what_comes(tape: Path, tmp_path: Path) -> None:
    with spillway.open(tmp_path / "data") as store:
        assert store.levels(*BTC).empty
        succeed("replay", tape, *ARGS, "--data", tmp_path / "data")
        assert store.minutes(*BTC)["trade_count"].sum() == 4800


def test_a_late_trade_shows_at_once_wherever_its_minute_lies(data: Path, tmp_path: Path) -> None:
    succeed("spill", "--all", "--data", data)
    succeed("compact", "--data", data)
    told = list(rows())
    late = [told[20 * n + 3] | {"id": str(4801 + at), "price": "12345.5"} for at, n in enumerate((2, 50, 200))]
    succeed("replay", judge.write_tape(tmp_path / "late.csv", late), *ARGS, "--data", data)
    want = judge.expected([*told, *late])
    with spillway.open(data) as store:
        assert judge.differences(want, judged(store.levels(*BTC))) == []
        minutes = store.minutes(*BTC)
        assert sorted(minutes["revision"].value_counts().to_dict().items()) == [(1, 237), (2, 3)]
    succeed("spill", "--all", "--data", data)
    succeed("compact", "--data", data)
    assert judge.differences(want, judge.stored(data)) == []
    with spillway.open(data) as store:
        assert judge.differences(want, judged(store.levels(*BTC))) == []


def test_a_late_trade_is_never_half_there_while_its_minute_goes_through_all_places_again(data: Path, tmp_path: Path) -> None:
    """Each read gives the minutes as they were before the late trades or after them, and never goes back."""
    succeed("spill", "--all", "--data", data)
    succeed("compact", "--data", data)
    told = list(rows())
    late = [told[20 * n + 3] | {"id": str(4801 + at), "price": "12345.5"} for at, n in enumerate((2, 50, 200))]
    tape = judge.write_tape(tmp_path / "late.csv", late)
    moved = threading.Event()

    def move() -> None:
        try:
            succeed("replay", tape, *ARGS, "--data", data)
            succeed("spill", "--all", "--data", data)
            succeed("compact", "--data", data)
        finally:
            moved.set()

    with spillway.open(data) as store:
        mover = threading.Thread(target=move)
        mover.start()
        counts = [4800]
        while not moved.is_set():
            minutes, levels = store.minutes(*BTC), store.levels(*BTC)
            assert len(minutes) == 240
            assert levels.groupby("timestamp").ngroups == 240
            counts += [int(minutes["trade_count"].sum()), int(levels["trade_count"].sum())]
        mover.join()
        counts.append(int(store.minutes(*BTC)["trade_count"].sum()))
    assert counts == sorted(counts)
    assert counts[-1] == 4803
