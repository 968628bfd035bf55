"""Times of a tape as nanoseconds since 1970 UTC, exactly: no float comes near them.

Whole columns are cast by Arrow. Where that fails they are halved until the odd ones stand alone, and those are read slowly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Context, Decimal
from enum import IntEnum
from statistics import median_low
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int64s: TypeAlias = "NDArray[np.int64]"
Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # a json number that an Int64s holds

FEW = 32  # below this many, one by one is quicker than halving on
_MAX = 2**63 - 1
_ARROW_SAFE = 38  # digits that 128 bits always hold
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(\d{1,20})(?:\.\d{0,20})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,20}))?)? ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
_EXACT = Context(prec=100)


class Clock(IntEnum):
    """How a tape writes its times. For numbers the value is how many decimals their unit has down to 1 ns."""

    ISO = -1
    SECONDS = 9
    MILLISECONDS = 6
    MICROSECONDS = 3
    NANOSECONDS = 0


def clock_of(samples: Sequence[str]) -> Clock:
    """The clock of a tape by some of its times. One for the whole tape: a time of another magnitude is then an error."""
    wholes = [int(Decimal(s)) for s in map(str.strip, samples) if _NUMBER.fullmatch(s)]
    if not wholes or 2 * len(wholes) < sum(1 for s in samples if s):
        return Clock.ISO
    return clock_of_number(median_low(wholes))


def clock_of_number(value: int) -> Clock:
    """The unit of a time by its magnitude: each bound is far from any time since 2009 in the units beside it."""
    bounds = ((10**11, Clock.SECONDS), (10**14, Clock.MILLISECONDS), (10**17, Clock.MICROSECONDS))
    return next((clock for bound, clock in bounds if abs(value) < bound), Clock.NANOSECONDS)


def times_ns(texts: pa.Array, clock: Clock) -> tuple[Int64s, dict[int, str]]:
    """Times of a column of texts; an empty one is 0. For each row that can't be read (0 too), the reason."""
    if pc.min(pc.binary_length(texts)).as_py() == 0:
        nothing = pa.scalar(None if clock is Clock.ISO else "0", pa.string())
        texts = pc.if_else(pc.equal(texts, ""), nothing, texts)
    if clock is Clock.ISO:
        return cast_or_each(texts, _iso_column, _iso_ns, "time")
    return cast_or_each(texts, lambda part: _number_column(part, clock), lambda text: _number_ns(text, clock), "time")


def numbers_ns(values: Sequence[int], clock: Clock) -> Int64s:
    """Times given as numbers of 64 bits."""
    return _scaled(np.array(values, dtype=np.int64), clock)


def cast_or_each(
    texts: pa.Array, cast: Callable[[pa.Array], Int64s], each: Callable[[str], int], what: str
) -> tuple[Int64s, dict[int, str]]:
    """A column by `cast`, which raises ArrowInvalid; rows that it won't take by `each`, which raises ValueError."""
    try:
        return cast(texts), {}
    except pa.ArrowInvalid:
        pass
    if len(texts) <= FEW:
        return _one_by_one(texts.to_pylist(), each, what)
    half = len(texts) // 2
    left, left_bad = cast_or_each(texts[:half], cast, each, what)
    right, right_bad = cast_or_each(texts[half:], cast, each, what)
    return np.concatenate([left, right]), left_bad | {half + row: why for row, why in right_bad.items()}


def to_int64(texts: pa.Array) -> Int64s:
    """Arrow's cast to 64-bit integers; ArrowInvalid also for 0x10, which Arrow would take for 16."""
    if not _is_plain(texts, _ARROW_SAFE):
        raise pa.ArrowInvalid("not plain digits")
    return _values(pc.cast(texts, pa.int64()))


def _is_plain(texts: pa.Array, longest: int) -> bool:
    """Whether Arrow can be trusted with numbers: it reads hexadecimal ones, and wraps round where 38 digits are exceeded."""
    _, places, text = texts.buffers()
    ends = np.frombuffer(places, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if text is None or not len(texts) or (np.frombuffer(text, dtype=np.uint8)[ends[0] : ends[-1]] > ord("9")).any():
        return False
    return int(np.diff(ends).max()) <= longest


def _one_by_one(texts: list[str | None], each: Callable[[str], int], what: str) -> tuple[Int64s, dict[int, str]]:
    values, bad = [], {}
    for row, text in enumerate(texts):
        try:
            values.append(each(text) if text is not None else 0)
        except ValueError:
            bad[row] = f"{what} {text[:40] if text else ''!r} can't be read"
            values.append(0)
    return np.array(values, dtype=np.int64), bad


def _iso_column(texts: pa.Array) -> Int64s:
    try:
        return _values(pc.cast(texts, pa.timestamp("ns", "UTC")).view(pa.int64()))
    except pa.ArrowInvalid:  # no offset: UTC
        return _values(pc.cast(texts, pa.timestamp("ns")).view(pa.int64()))


def _iso_ns(text: str) -> int:
    found = _ISO.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    day, time, fraction, offset = found.groups()
    offset = "+00:00" if offset in (None, "Z", "UTC") else offset
    since = datetime.fromisoformat(f"{day}T{time or '00:00'}{offset}") - _EPOCH
    return _clamped((since.days * 86400 + since.seconds) * 10**9 + int((fraction or "")[:9].ljust(9, "0")))


def _number_column(texts: pa.Array, clock: Clock) -> Int64s:
    try:
        return _scaled(to_int64(texts), clock)
    except pa.ArrowInvalid:
        pass
    if not _is_plain(texts, _ARROW_SAFE - clock):
        raise pa.ArrowInvalid("an exponent, or more digits than Arrow holds")
    exact = pc.cast(texts, pa.decimal128(38, clock))  # with the unit's decimals, the integer below it is the ns
    words = np.frombuffer(exact.buffers()[1], dtype=np.int64)[2 * exact.offset : 2 * (exact.offset + len(exact))]
    low, high = words[::2], words[1::2]
    if (high != low >> 63).any():
        raise pa.ArrowInvalid("a time needs more than 64 bits")
    return low.copy()


def _number_ns(text: str, clock: Clock) -> int:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    exact = Decimal(text).scaleb(clock, _EXACT)
    return _clamped(int(exact.to_integral_value(ROUND_FLOOR)))


def _scaled(values: Int64s, clock: Clock) -> Int64s:
    factor = 10**clock
    scaled: Int64s = np.clip(values, -(_MAX // factor), _MAX // factor) * factor
    return scaled


def _clamped(value: int) -> int:
    return max(-_MAX, min(_MAX, value))


def _values(array: Any) -> Int64s:
    values: Int64s = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    return values
