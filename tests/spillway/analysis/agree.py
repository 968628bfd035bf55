"""Each analysis beside its reference, on any frame of levels; and random frames to try them on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from spillway import analysis
from spillway.analysis import Session
from tests.spillway.analysis import reference
from tests.spillway.analysis.reference import BarOf, Footprint, Rows

FIRST = 28_000_000  # 2023-03-28 10:40 UTC
NEW_YORK = Session("09:30", "America/New_York", "16:00")


def levels(cells: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame of levels from (minute, price, buy, sell) or (..., traded without an aggressor), numbers as text."""
    rows: list[tuple[Any, ...]] = []
    for minute, price, buy, sell, *rest in cells:
        volumes = [Decimal(buy), Decimal(sell), Decimal(buy) + Decimal(sell) + Decimal(rest[0] if rest else 0)]
        rows.append((FIRST + minute, float(price), *map(float, volumes), float(volumes[0] - volumes[1]), 1 + len(rows) % 3))
    names = ["timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count"]
    frame = pd.DataFrame(rows, columns=names).sort_values(["timestamp", "price_level"], ignore_index=True)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"] * 60, unit="s", utc=True).dt.as_unit("us")
    return frame


def minutes(known: Iterable[tuple[int, str, int, int]]) -> pd.DataFrame:
    """A frame of minutes from (minute, status, first id, last id)."""
    frame = pd.DataFrame(known, columns=["timestamp", "status", "first_trade_id", "last_trade_id"])
    frame["timestamp"] = stamps(FIRST + frame["timestamp"].to_numpy())
    return frame


def stamps(found: Any) -> pd.DatetimeIndex:
    return pd.to_datetime(np.asarray(found, dtype=np.int64) * 60, unit="s", utc=True).as_unit("us")


def at(minute: int) -> pd.Timestamp:
    return pd.Timestamp((FIRST + minute) * 60, unit="s", tz="UTC")


@st.composite
def footprints(draw: st.DrawFn, apart: int = 40) -> pd.DataFrame:
    """Few prices and few sizes, so that ties, gaps, single levels and one-sided ones are common; 0 to 8 decimals; some prices
    are below 0, as those of spreads and of oil have been."""
    price_scale, size_scale = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    base = draw(st.sampled_from([0, 7, 1000, 123_456, 87_654_321, -5, -1000]))
    large = 10**12 - 1
    size = st.sampled_from([0, 0, 1, 1, 2, 3, 3, 9, 10, 30, 31, large]) if draw(st.booleans()) else st.integers(0, 50)
    cells = {}
    for minute in draw(st.lists(st.integers(0, apart), min_size=1, max_size=8, unique=True)):
        for row in draw(st.lists(st.integers(0, 14), min_size=1, max_size=10, unique=True)):
            buy, sell = draw(size), draw(size)
            bare = draw(st.sampled_from([0, 0, 0, 5])) or (0 if buy + sell else 1)
            price = Decimal(base + row).scaleb(-price_scale)
            cells[minute, price] = [minute, price, *(Decimal(v).scaleb(-size_scale) for v in (buy, sell, bare))]
    return levels(cells.values())


def ticks(frame: pd.DataFrame) -> list[Decimal]:
    """The frame's own tick, and others that its prices don't all lie on."""
    scale = max(-int(Decimal(str(p)).normalize().as_tuple().exponent) for p in frame["price_level"])
    own = Decimal(1).scaleb(-max(scale, 0))
    return [own, 2 * own, 3 * own, 5 * own, own / 2]


def known(frame: pd.DataFrame, column: str) -> list[Any]:
    return frame[column].tolist()


def same(frame: pd.DataFrame, column: str, wanted: Iterable[Decimal]) -> None:
    """To the last bit: the float nearest to each exact decimal."""
    assert known(frame, column) == [float(w) for w in wanted]


def starts(frame: pd.DataFrame, bars: Iterable[int], column: str = "timestamp") -> None:
    assert frame[column].dtype == pd.DatetimeTZDtype("us", "UTC")
    assert (frame[column].astype("int64") // 60_000_000).tolist() == list(bars)


def agree_on_levels(frame: pd.DataFrame, tick: Decimal, bar_of: BarOf, **when: Any) -> None:
    """All analyses of levels."""
    found = reference.footprint(frame)
    bars = reference.regroup(found, tick, bar_of)
    regrouped(frame, tick, bars, when)
    profiles(frame, tick, bars, when)
    for percent, least, ignore in ((300, 0, False), (100, 0, True), (150, "2.5", False)):
        outweighed(frame, tick, bars, when, percent=percent, min_volume=least, ignore_zero=ignore)
    auctions(frame, tick, bars, when)


def regrouped(frame: pd.DataFrame, tick: Decimal, bars: Footprint, when: dict[str, Any]) -> None:
    have = analysis.regroup(frame, tick=tick, **when)
    cells = [(bar, price, cell) for bar, rows in bars.items() for price, cell in rows.items()]
    starts(have, (bar for bar, _, _ in cells))
    same(have, "price_level", (price for _, price, _ in cells))
    for name in ("buy", "sell", "total"):
        same(have, f"{name}_volume", (getattr(cell, name) for _, _, cell in cells))
    same(have, "delta", (cell.buy - cell.sell for _, _, cell in cells))
    assert known(have, "trade_count") == [cell.count for _, _, cell in cells]


def profiles(frame: pd.DataFrame, tick: Decimal, bars: Footprint, when: dict[str, Any]) -> None:
    have = analysis.point_of_control(frame, tick=tick, **when)
    starts(have, bars)
    pocs = [reference.point_of_control(rows) for rows in bars.values()]
    same(have, "poc", pocs)
    same(have, "poc_volume", (rows[p].total for rows, p in zip(bars.values(), pocs, strict=True)))
    same(have, "poc_delta", (rows[p].buy - rows[p].sell for rows, p in zip(bars.values(), pocs, strict=True)))
    same(have, "total_volume", (total(rows) for rows in bars.values()))
    for percent in ("70", "68.27", "100", "1"):
        for method, grow in (("tradingview", reference.value_area), ("two_rows", reference.value_area_by_two)):
            area = [grow(rows, tick, Decimal(percent)) for rows in bars.values()]
            have = analysis.value_area(frame, tick=tick, percent=percent, method=method, **when)
            same(have, "poc", pocs)
            same(have, "val", (low for low, _, _ in area))
            same(have, "vah", (high for _, high, _ in area))
            same(have, "value_area_volume", (volume for _, _, volume in area))
            shares = [float(volume / total(rows)) for (_, _, volume), rows in zip(area, bars.values(), strict=True)]
            assert known(have, "value_area_share") == pytest.approx(shares, rel=1e-12)
    flagged(frame, tick, bars, when)


def flagged(frame: pd.DataFrame, tick: Decimal, bars: Footprint, when: dict[str, Any]) -> None:
    have = analysis.volume_profile(frame, tick=tick, **when)
    wanted = []
    for rows in bars.values():
        low, high, _ = reference.value_area(rows, tick, Decimal(70))
        poc = reference.point_of_control(rows)
        wanted += [(float(p), p == poc, low <= p <= high, float(cell.total / total(rows))) for p, cell in rows.items()]
    assert known(have, "price_level") == [p for p, *_ in wanted]
    assert known(have, "poc") == [poc for _, poc, _, _ in wanted]
    assert known(have, "value_area") == [inside for _, _, inside, _ in wanted]
    assert known(have, "share") == pytest.approx([share for *_, share in wanted], rel=1e-12)


def outweighed(frame: pd.DataFrame, tick: Decimal, bars: Footprint, when: dict[str, Any], **how: Any) -> None:
    have = analysis.imbalances(frame, tick=tick, **how, **when)
    settings = (Decimal(how["percent"]), Decimal(how["min_volume"]), how["ignore_zero"])
    flags = [reference.imbalances(rows, tick, *settings) for rows in bars.values()]
    starts(have, (bar for bar, rows in bars.items() for _ in rows))
    same(have, "price_level", (p for rows in bars.values() for p in rows))
    assert known(have, "buy_imbalance") == [buy for found in flags for buy, _ in found.values()]
    assert known(have, "sell_imbalance") == [sell for found in flags for _, sell in found.values()]
    for run in (1, 2, 3):
        stacks = [
            (bar, *stack)
            for (bar, rows), found in zip(bars.items(), flags, strict=True)
            for stack in reference.stacked(rows, found, tick, run)
        ]
        stack = analysis.stacked_imbalances(frame, tick=tick, run=run, **how, **when)
        starts(stack, (bar for bar, *_ in stacks))
        for n, name in enumerate(("low", "side", "high", "length", "volume"), 1):
            wanted = [s[n] for s in stacks]
            assert known(stack, name) == [float(w) if isinstance(w, Decimal) else w for w in wanted], name


def auctions(frame: pd.DataFrame, tick: Decimal, bars: Footprint, when: dict[str, Any]) -> None:
    for least in ("0", "2.5"):
        have = analysis.unfinished_auctions(frame, tick=tick, min_volume=least, **when)
        starts(have, bars)
        for end, extreme, own, other in (("high", max, "buy", "sell"), ("low", min, "sell", "buy")):
            prices = [extreme(rows) for rows in bars.values()]
            cells = [rows[p] for rows, p in zip(bars.values(), prices, strict=True)]
            same(have, end, prices)
            same(have, f"{end}_buy", (cell.buy for cell in cells))
            same(have, f"{end}_sell", (cell.sell for cell in cells))
            wanted = [getattr(c, other) > 0 and getattr(c, own) > Decimal(least) for c in cells]
            assert known(have, f"unfinished_{end}") == wanted
    have = analysis.zero_prints(frame, tick=tick, **when)
    prints = [
        (bar, float(p), "buy" if cell.buy == 0 else "sell", float(cell.buy + cell.sell), p in (min(rows), max(rows)))
        for bar, rows in bars.items()
        for p, cell in rows.items()
        if (cell.buy == 0) != (cell.sell == 0)
    ]
    starts(have, (bar for bar, *_ in prints))
    assert list(have.drop(columns="timestamp").itertuples(index=False, name=None)) == [p[1:] for p in prints]


def agree_on_tests(frame: pd.DataFrame, tick: Decimal, bar_of: BarOf, **when: Any) -> None:
    """Naked points of control."""
    found = reference.footprint(frame)
    wanted = reference.naked(found, reference.regroup(found, tick, bar_of), tick, bar_of)
    have = analysis.naked_points_of_control(frame, tick=tick, **when)
    starts(have, (bar for bar, _, _ in wanted))
    same(have, "poc", (poc for _, poc, _ in wanted))
    tested = [None if pd.isna(t) else int(t.timestamp()) // 60 for t in have["tested_at"]]
    assert tested == [minute for _, _, minute in wanted]
    assert known(have, "naked") == [minute is None for _, _, minute in wanted]


def agree_on_sums(frame: pd.DataFrame, bar_of: BarOf, **when: Any) -> None:
    """Delta, cumulative delta and VWAP."""
    found = reference.footprint(frame)
    bars = reference.deltas(found, bar_of)
    own, since = analysis.delta(frame, **when), analysis.cumulative_delta(frame, **when)
    starts(own, bars)
    starts(since, bars)
    for name, key in (("buy_volume", "buy"), ("sell_volume", "sell"), ("total_volume", "total")):
        same(own, name, (bar[key] for bar in bars.values()))
    same(own, "delta", (bar["buy"] - bar["sell"] for bar in bars.values()))
    same(own, "min_delta", (bar["min"] for bar in bars.values()))
    same(own, "max_delta", (bar["max"] for bar in bars.values()))
    percents = [float(100 * (bar["buy"] - bar["sell"]) / bar["total"]) for bar in bars.values()]
    assert known(own, "delta_percent") == pytest.approx(percents, rel=1e-12)
    assert known(own, "trade_count") == [bar["count"] for bar in bars.values()]
    assert known(own, "minutes") == [bar["minutes"] for bar in bars.values()]
    for name in ("open", "high", "low", "close"):
        same(since, name, (bar[name] for bar in bars.values()))
    same(since, "delta", (bar["buy"] - bar["sell"] for bar in bars.values()))
    averages(frame, found, bar_of, when)


def averages(frame: pd.DataFrame, found: Footprint, bar_of: BarOf, when: dict[str, Any]) -> None:
    wanted = reference.vwaps(found, bar_of)
    have = analysis.vwap(frame, bands=(1, 2.5), **when)
    starts(have, wanted)
    reach = float(frame["price_level"].max() - frame["price_level"].min())
    close = max(float(frame["price_level"].abs().max()) * 1e-14, reach * 1e-6)
    for column, times in (("vwap", 0), ("upper_1", 1), ("lower_1", -1), ("upper_2.5", 2.5), ("lower_2.5", -2.5)):
        values = [float(mean + Decimal(times) * spread) for _, mean, spread, _ in wanted.values()]
        assert known(have, column) == pytest.approx(values, abs=close if times else close * 1e-4 + 1e-300, rel=1e-12), column
    same(have, "volume", (volume for *_, volume in wanted.values()))


def agree_on_candles(minutes: pd.DataFrame, bar_of: BarOf, **when: Any) -> None:
    """VWAP of bars, as TradingView draws it: minutes with open, high, low, close and total_volume."""
    bars: dict[int, dict[str, Any]] = {}
    for row in minutes.to_dict("records"):
        high, low, close, volume = (Decimal(str(row[name])) for name in ("high", "low", "close", "total_volume"))
        where = bar_of(int(row["timestamp"].timestamp()) // 60)
        if where is not None:
            bar = bars.setdefault(where[0], {"session": where[2], "high": high, "low": low, "volume": Decimal(0)})
            bar |= {"high": max(bar["high"], high), "low": min(bar["low"], low), "close": close}
            bar["volume"] += volume
    have = analysis.vwap_of_bars(minutes, **when)
    starts(have, bars)
    points: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for bar, (_, found) in zip(bars.values(), have.iterrows(), strict=True):
        since = points.setdefault(bar["session"], [])
        since.append(((bar["high"] + bar["low"] + bar["close"]) / 3, bar["volume"]))
        mean, spread, volume = reference.weighed(since)
        assert found["vwap"] == pytest.approx(float(mean), rel=1e-12)
        assert found["stdev"] == pytest.approx(float(spread), rel=1e-6, abs=float(mean) * 1e-12)
        assert found["volume"] == float(volume)


def total(rows: Rows) -> Decimal:
    return sum((cell.total for cell in rows.values()), Decimal(0))
