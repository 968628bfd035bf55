"""Every analysis through a replayed store, beside its reference: generated trades, and real ones where they are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest

import spillway
from spillway import analysis
from spillway.analysis import Session
from tests import judge, tapes
from tests.processes import succeed
from tests.spillway.analysis import agree, reference

TAPES = Path(__file__).parents[4] / "shared" / "data"
GENERATED = "generated.csv"
KNOWN = [
    (GENERATED, "binance", "ETHUSDT", "0.1"),
    ("tapes/binance_XRPETH_aggtrades_59h.json.gz", "binance", "XRPETH", "0.00000001"),
    ("frames/binance_spot_btcusdt_20240808.gz", "binance", "BTCUSDT", "0.01"),
    ("frames/binance_usdm_btcusdt_20240808.gz", "binance-usdm", "BTCUSDT", "0.1"),
    ("tapes/bitflyer_BTC_JPY_62h.csv.gz", "bitflyer", "BTC_JPY", "1"),
]


@dataclass(frozen=True)
class Tape:
    """What a replayed store gives of it: all, and its first 120 minutes with trades, for the references are slow."""

    name: str
    all_levels: pd.DataFrame
    all_minutes: pd.DataFrame
    tick: Decimal

    @cached_property
    def minutes(self) -> pd.DataFrame:
        return self.all_minutes.iloc[:120]

    @cached_property
    def levels(self) -> pd.DataFrame:
        return self.all_levels.query("timestamp <= @until", local_dict={"until": self.minutes["timestamp"].iloc[-1]})

    @property
    def span(self) -> list[int]:
        first, last = self.levels["timestamp"].iloc[[0, -1]]
        return [int(first.timestamp()) // 60, int(last.timestamp()) // 60]


@pytest.fixture(
    scope="module",
    params=[*KNOWN[:2], *(pytest.param(tape, marks=pytest.mark.long) for tape in KNOWN[2:])],
    ids=lambda p: p[0].rpartition("/")[2],
)
def tape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tape]:
    name, venue, symbol, tick = request.param
    folder = tmp_path_factory.mktemp("tape")
    path, data = TAPES / name, folder / "data"
    if name == GENERATED:  # every third minute: between them is silence, which the ids prove
        path = judge.write_tape(folder / name, tapes.rows(hours=6, per_minute=20, every=3))
    elif not path.is_file():
        pytest.skip("the recorded trades are not on this machine")
    succeed("replay", path, "--venue", venue, "--symbol", symbol, "--data", data)
    with spillway.open(data) as store:
        minutes, levels = store.minutes(venue, symbol), store.levels(venue, symbol)
    yield Tape(name, levels, minutes, Decimal(tick))


def test_its_tick_is_found(tape: Tape) -> None:
    found = analysis.tick_size(tape.levels)
    assert found >= tape.tick
    assert found % tape.tick == 0


@pytest.mark.parametrize("rows", [5, 50])
def test_levels_agree_with_the_reference_by_five_minutes(tape: Tape, rows: int) -> None:
    agree.agree_on_levels(tape.levels, tape.tick * rows, reference.fixed(5), every="5m")


def test_levels_agree_with_the_reference_by_tokyo_sessions(tape: Tape) -> None:
    bar_of = reference.in_sessions(tape.span, "09:00", "Asia/Tokyo", None, None)
    tick = tape.tick * 50
    agree.agree_on_levels(tape.levels, tick, bar_of, every="session", session=Session("09:00", "Asia/Tokyo"))


def test_sums_agree_with_the_reference(tape: Tape) -> None:
    bar_of = reference.in_sessions(tape.span, "09:00", "Asia/Tokyo", None, 60)
    agree.agree_on_sums(tape.levels, bar_of, every="1h", session=Session("09:00", "Asia/Tokyo"))


def test_naked_points_of_control_agree_with_the_reference(tape: Tape) -> None:
    agree.agree_on_tests(tape.levels, tape.tick * 50, reference.fixed(60), every="1h")


def test_the_average_of_bars_agrees_with_the_reference_by_tokyo_sessions(tape: Tape) -> None:
    minutes = tape.all_minutes
    bounds = [int(minutes["timestamp"].iloc[n].timestamp()) // 60 for n in (0, -1)]
    bar_of = reference.in_sessions(range(bounds[0], bounds[1] + 1, 720), "09:00", "Asia/Tokyo", None, 240)
    agree.agree_on_candles(minutes, bar_of, every="4h", session=Session("09:00", "Asia/Tokyo"))


def test_all_of_the_tape_agrees_with_the_reference_by_days_in_coarse_rows(tape: Tape) -> None:
    levels = analysis.regroup(tape.all_levels, tick=tape.tick * 1000, every="30m")  # which itself agrees, see above
    for name in ("buy_volume", "sell_volume", "total_volume", "trade_count"):
        exact = [Decimal(str(value)) for value in tape.all_levels[name]]
        assert sum(exact) == sum(Decimal(str(value)) for value in levels[name])
    bounds = [int(levels["timestamp"].iloc[n].timestamp()) // 60 for n in (0, -1)]
    bar_of = reference.in_sessions(range(bounds[0], bounds[1] + 1, 720), "18:00", "America/New_York", None, None)
    futures_day = Session("18:00", "America/New_York")
    agree.agree_on_levels(levels, tape.tick * 1000, bar_of, every="session", session=futures_day)
    agree.agree_on_tests(levels, tape.tick * 1000, bar_of, every="session", session=futures_day)
    by_hour = reference.in_sessions(range(bounds[0], bounds[1] + 1, 720), "18:00", "America/New_York", None, 60)
    agree.agree_on_sums(levels, by_hour, every="1h", session=futures_day)


def test_what_levels_sum_to_is_what_the_minutes_say(tape: Tape) -> None:
    have, minutes = analysis.delta(tape.levels), tape.minutes.reset_index(drop=True)
    for name in ("buy_volume", "sell_volume", "total_volume", "delta", "trade_count"):
        assert have[name].tolist() == minutes[name].tolist()
    vwap = analysis.vwap(tape.levels, session=Session("00:00"), every="1m")
    assert vwap["vwap"].iloc[0] == pytest.approx(minutes["vwap"].iloc[0], rel=1e-9)


def test_what_is_whole_is_what_the_reference_finds_whole(tape: Tape) -> None:
    known = reference.statuses(tape.minutes.fillna({"first_trade_id": 0, "last_trade_id": -1}))
    have = analysis.delta(tape.levels, every="15m", minutes=tape.minutes)
    good = reference.whole_minutes(known)
    starts = (have["timestamp"].astype("int64") // 60_000_000).tolist()
    assert have["whole"].tolist() == [all(m in good for m in range(start, start + 15)) for start in starts]
    if tape.name == GENERATED:  # silent two minutes of three, and recorded from its first trade on; it ends inside a minute
        assert have["whole"].tolist() == [*[True] * (len(have) - 1), False]
