"""Exact decimal numbers as an integer and a scale (1.25 is 125 at scale 2).

No binary float may come in here: what an exchange sent as text leaves as text with the same value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import gcd
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import BadValue

MAX_SCALE = 30  # finer than any venue quotes; bounds what `1e-400` may cost
MAX_DIGITS = 60
SMALL = 48  # below this many values Arrow's set-up costs more than Python's loop
_ARROW_DIGITS = 18  # decimal128(18) always fits a 64-bit integer
_ARROW_LONGEST = MAX_SCALE + 1  # characters: so that it takes no more decimals than we do
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)

Integers: TypeAlias = "NDArray[np.int64] | NDArray[np.object_]"


MAX_PLAIN = 30  # characters that `parse` reads without `Decimal`


def parse(text: str) -> tuple[int, int]:
    """The integer and the scale of a decimal text. BadValue for what isn't a finite number of a sane size."""
    whole, point, decimals = text.partition(".")
    plain = whole + decimals
    # Nearly all are like this, and `Decimal` would take ten times as long.
    if whole and plain.isdecimal() and plain.isascii() and len(text) <= MAX_PLAIN and bool(point) is bool(decimals):
        return int(plain), len(decimals)
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise BadValue(f"{text[:40]!r} is not a decimal number")
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    value = int("".join(map(str, digits)) or "0")
    if exponent > MAX_SCALE or -exponent > MAX_SCALE:
        raise BadValue(f"{text[:40]!r} is out of range: at most {MAX_SCALE} decimals or zeros")
    value = -value if sign else value
    return (value * 10**exponent, 0) if exponent > 0 else (value, -exponent)


def to_text(value: int, scale: int) -> str:
    """The shortest plain decimal text, always with a point, so that readers see a decimal: 60000.0, 0.07."""
    if scale == 0:
        return f"{value}.0"
    digits = str(value) if value >= 0 else str(-value)
    if len(digits) <= scale:
        digits = digits.rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:].rstrip('0') or '0'}"
    return text if value >= 0 else "-" + text


def to_decimal(value: int, scale: int) -> Decimal:
    """The same number as a Decimal."""
    return Decimal(value).scaleb(-scale, Context(prec=200))


def rescale(value: int, scale: int, wider: int) -> int:
    """`value` at a wider scale; the number stays the same."""
    return value * int(10 ** (wider - scale))


def at_scale(number: Decimal, scale: int) -> int:
    """A decimal as an integer at `scale`. BadValue where that would round it."""
    scaled = number.scaleb(scale, Context(prec=200))
    if scaled != scaled.to_integral_value():
        raise BadValue(f"{number} has more than {scale} decimals")
    return int(scaled)


def scale_of(number: Decimal) -> int:
    """How many decimals a finite Decimal has."""
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise BadValue(f"{number} is not a finite number")
    return max(0, -exponent)


def least_scale(values: Iterable[int], scale: int) -> int:
    """The smallest scale that still holds all of `values` exactly."""
    common = gcd(*values)
    while scale and common % 10 == 0:
        if common == 0:
            return 0
        common //= 10
        scale -= 1
    return scale


def ratio(numerator: int, denominator: int, decimals: int) -> int:
    """numerator / denominator at scale `decimals`, rounded half to even."""
    quotient = Context(prec=200).divide(Decimal(numerator * 10**decimals), Decimal(denominator))
    return int(quotient.to_integral_value(ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Column:
    """Many numbers at one scale; `bad` tells, by row, why a text is no number (its value is then 0)."""

    values: Integers
    scale: int
    bad: dict[int, str]


def parse_column(texts: Sequence[str] | pa.Array, hint: int) -> Column:
    """Decimal texts as integers at one scale: `hint`, or wider where a text needs it."""
    if len(texts) < SMALL:
        return _parse_slowly(texts.to_pylist() if isinstance(texts, pa.Array) else texts, hint)
    try:
        array = texts if isinstance(texts, pa.Array) else _strings(texts)
    except UnicodeEncodeError:  # half of a surrogate pair
        return _parse_slowly(texts, hint)
    for scale in (hint, 8) if _is_plain(array) else ():  # 8 decimals is what most venues send at most
        try:
            return Column(_decimal_to_int(pc.cast(array, pa.decimal128(_ARROW_DIGITS, scale))), scale, {})
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    half = len(array) // 2  # halved until the odd texts stand nearly alone: they must not slow down all others
    left = parse_column(array[:half], hint)
    if left.values.dtype == object:  # numbers beyond 64 bits seldom come alone: halving on would only cost more
        return _joined(left, _parse_slowly(array[half:].to_pylist(), left.scale))
    return _joined(left, parse_column(array[half:], left.scale))


def _strings(texts: Sequence[str]) -> pa.Array:
    """Texts as an Arrow array. Not by `pa.array`, which imports pandas: half a second in the midst of a stream."""
    data = "".join(texts).encode()
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=ends[1:])
    if ends[-1] != len(data):  # not all ASCII
        return pa.array(texts, pa.string())
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(data))


def integers(values: Sequence[int]) -> Integers:
    """Python integers as 64-bit ones where all of them fit, else as they are."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array(values, dtype=object)


def widen(values: Integers, scale: int, wider: int) -> Integers:
    """A column's integers at a wider scale, leaving 64 bits only where they would overflow."""
    if wider == scale:
        return values
    factor = 10 ** (wider - scale)
    if values.dtype != object and _largest(values) >= 2**62 // factor:
        values = values.astype(object)
    widened: Integers = values * factor
    return widened


def _largest(values: Integers) -> int:
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def _joined(left: Column, right: Column) -> Column:
    scale = max(left.scale, right.scale)
    values = np.concatenate([widen(left.values, left.scale, scale), widen(right.values, right.scale, scale)])
    return Column(values, scale, left.bad | {len(left.values) + row: why for row, why in right.bad.items()})


def _is_plain(array: pa.Array) -> bool:
    """Whether Arrow reads these texts as we do: it takes exponents in hexadecimal too, and overflows on long texts."""
    _, places, text = array.buffers()
    ends = np.frombuffer(places, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    if text is None or np.frombuffer(text, dtype=np.uint8)[ends[0] : ends[-1]].max(initial=0) > ord("9"):
        return False
    return bool((ends[1:] - ends[:-1]).max() <= _ARROW_LONGEST)


def _decimal_to_int(array: pa.Array) -> NDArray[np.int64]:
    if array.null_count:
        raise pa.ArrowInvalid("a text is missing")
    words = np.frombuffer(array.buffers()[1], dtype=np.int64)  # 128 bits a value, the low word first
    return words[2 * array.offset : 2 * (array.offset + len(array)) : 2].copy()


def _parse_slowly(texts: Sequence[str | None], hint: int) -> Column:
    parsed: list[tuple[int, int]] = []
    bad: dict[int, str] = {}
    for row, text in enumerate(texts):
        try:
            parsed.append(parse(text or ""))
        except BadValue as error:
            bad[row] = str(error)
            parsed.append((0, 0))
    scale = max([hint, *(s for _, s in parsed)])
    return Column(integers([rescale(v, s, scale) for v, s in parsed]), scale, bad)
