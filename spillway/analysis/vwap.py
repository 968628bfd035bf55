"""The volume-weighted average price since a session began, with bands around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import BadValue
from spillway.analysis import exact
from spillway.analysis.columns import Frame, minutes_of, numbers, require, timestamps
from spillway.analysis.exact import Floats, Integers
from spillway.analysis.footprint import How, When, summed, wholeness_for
from spillway.analysis.sessions import Bars, Session, bars_of, changes
from spillway.analysis.wholeness import Wholeness

_OHLC = ("open", "high", "low", "close")
_SOURCES = {"hlc3": _OHLC[1:], "hl2": _OHLC[1:3], "ohlc4": _OHLC, "close": _OHLC[3:]}
BANDS = (1.0, 2.0, 3.0)


def vwap(levels: Frame, *, bands: Sequence[float] = BANDS, **how: Unpack[How]) -> pd.DataFrame:
    """VWAP since the session began (the UTC day's if none is given), of every trade at the price that it traded at.

    vwap = sum(price * volume) / sum(volume); stdev = sqrt(sum(volume * price**2) / sum(volume) - vwap**2);
    upper_k, lower_k = vwap +- k * stdev. Sums run over all levels from the session's start to the bar's end.
    `session=None` never resets. In float64, each session counted from its first price: good to about 12 digits.

    Returns a row a bar: timestamp, session (its start), vwap, stdev, upper_1, lower_1, ... (units of price), volume (since
    the session began); and `whole`: False from the first minute of a session on that is not whole.
    BadValue: columns are missing, several instruments, a number of more than 15 digits, a band that is no number above 0.
    Source: TradingView, ta.vwap(source, anchor, stdev_mult), whose formula it is. TradingView knows bars only and takes
    (high + low + close) / 3 of each for its price; see `vwap_of_bars`.
    """
    chosen: How = {"session": Session(), **how}
    known = wholeness_for(levels, chosen)
    found = summed(levels, **chosen)
    price = (found.row * found.tick).astype(np.float64)
    base = _first_of_session(price[found.firsts], found.bars)
    weighed = _Weighed(price - np.repeat(base, found.sizes), found.total, found.firsts)
    return _answer(weighed, base, (found.price_scale, found.size_scale), found.bars, bands, known, how)


def vwap_of_bars(ohlcv: Frame, *, source: str = "hlc3", bands: Sequence[float] = BANDS, **when: Unpack[When]) -> pd.DataFrame:
    """VWAP since the session began as TradingView draws it: each bar's volume at one price of the bar.

    price = (high + low + close) / 3 of each bar ("hlc3"), or hl2, ohlc4, close; else the formula of `vwap`. The longer the
    bars, the further it is from the true one.

    Takes a row a minute (timestamp, open, high, low, close, total_volume). Returns as `vwap`.
    BadValue: as with `vwap`; an unknown source; a minute that stands twice.
    Source: TradingView, Volume Weighted Average Price (Source, Anchor Period, Bands Multiplier) and ta.vwap.
    """
    if source not in _SOURCES:
        raise BadValue(f"source {source!r}: expected {', '.join(_SOURCES)}")
    chosen: When = {"session": Session(), **when}
    known = wholeness_for(ohlcv, chosen)
    bars, prices, volume, scale = _ohlcv(ohlcv, chosen)
    price = np.stack([prices[name] for name in _SOURCES[source]]).mean(axis=0)
    base = _first_of_session(price, bars)
    weighed = _Weighed(price - base, volume, np.arange(len(bars)))
    return _answer(weighed, base, (0, scale), bars, bands, known, when)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Prices, counted from their session's first, and the volume at each; and where each bar's rows begin."""

    price: Floats
    volume: Integers
    firsts: Integers

    def sums(self, bars: Bars) -> tuple[Floats, Floats, Integers]:
        """Of each bar, since its session began: the mean price, its variance, and the volume."""
        begin = bars.session_firsts()
        weight = self.volume.astype(np.float64)
        mean, square = (_since(_per_bar(weight * self.price**n, self.firsts), begin) for n in (1, 2))
        volume = np.cumsum(_per_bar(self.volume, self.firsts))
        volume -= np.concatenate([[0], volume])[begin]
        whole = np.where(volume > 0, volume, np.nan)
        mean = mean / whole
        return mean, np.maximum(square / whole - mean**2, 0.0), volume


def _answer(
    weighed: _Weighed,
    base: Floats,
    scales: tuple[int, int],
    bars: Bars,
    bands: Sequence[float],
    known: Wholeness | None,
    when: When,
) -> pd.DataFrame:
    _check(bands)
    mean, variance, volume = weighed.sums(bars)
    unit = 10.0 ** scales[0]
    middle, deviation = (mean + base) / unit, np.sqrt(variance) / unit
    columns: dict[str, object] = {"session": timestamps(bars.sessions), "vwap": middle, "stdev": deviation}
    for band in bands:
        columns |= {f"upper_{band:g}": middle + band * deviation, f"lower_{band:g}": middle - band * deviation}
    answer = pd.DataFrame({"timestamp": timestamps(bars.starts), **columns, "volume": exact.floats(volume, scales[1])})
    if known is None:
        return answer
    answer["whole"] = known.between(bars.sessions, bars.ends)
    return answer[answer["whole"]].reset_index(drop=True) if when.get("only_whole") else answer


def _check(bands: Sequence[float]) -> None:
    for band in bands:
        if not exact.decimal_of(band, "band") > 0:
            raise BadValue(f"band {band!r}: expected a number above 0")


def _ohlcv(minutes: Frame, when: When) -> tuple[Bars, dict[str, Floats], Integers, int]:
    """Bars out of minutes: the bars, their open, high, low and close, their volume, and its scale."""
    require(minutes, ("timestamp", *_OHLC, "total_volume"))
    times = minutes_of(minutes)
    order = np.argsort(times, kind="stable")
    times = times[order]
    if not (times[1:] > times[:-1]).all():
        raise BadValue("timestamp: a minute stands twice; expected a row a minute")
    bars, number = bars_of(times, when.get("every"), when.get("session"))
    order = order[number >= 0]
    firsts = np.flatnonzero(changes(number[number >= 0]))
    lasts = np.append(firsts[1:], len(order))[: len(firsts)] - 1
    prices = {name: numbers(minutes, name)[order] for name in _OHLC}
    volume = numbers(minutes, "total_volume")
    scale = exact.scale_of(volume, "total_volume")
    found = {"open": prices["open"][firsts], "close": prices["close"][lasts]}
    for name, extreme in (("high", np.maximum), ("low", np.minimum)):
        found[name] = extreme.reduceat(prices[name], firsts) if len(firsts) else prices[name]
    return bars, found, _per_bar(exact.integers(volume, scale, "total_volume")[order], firsts), scale


def _first_of_session(prices: Floats, bars: Bars) -> Floats:
    """Of each bar, the price that its session began with."""
    return prices[bars.session_firsts()]


def _per_bar(values: NDArray[Any], firsts: Integers) -> NDArray[Any]:
    found: NDArray[Any] = np.add.reduceat(values, firsts) if len(firsts) else values[:0]
    return found


def _since(values: Floats, begin: Integers) -> Floats:
    """Running sums that begin anew with each session."""
    return np.asarray(pd.Series(values).groupby(begin).cumsum(), dtype=np.float64)
