"""Ids, symbols, names and notes: what may stand in them."""

from __future__ import annotations

import os
import re
import time
from uuid import UUID

from pipeline.errors import BadValue

MAX_ID = 128
MAX_SYMBOL = 64
MAX_NAME = 200
MAX_NOTE = 10_000

_is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", re.ASCII).fullmatch
_NS_PER_MS = 1_000_000
_RANDOM_BITS = 62


def checked_id(value: str | UUID, what: str) -> str:
    """An id of up to 128 letters, digits and `_.:@-` that begins with a letter or digit; a UUID becomes its text."""
    if type(value) is str and _is_id(value):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str) and _is_id(value):
        return str(value)
    raise BadValue(f"{what} {brief(value)}: expected 1 to {MAX_ID} letters, digits and any of _ . : @ -, the first no sign")


def checked_symbol(value: str, what: str = "symbol") -> str:
    """A venue's own name for what is traded, such as BTCUSDT or BTC/USD: 1 to 64 printable characters, no blank at its ends."""
    return _line(value, what, MAX_SYMBOL)


def checked_name(value: str, what: str) -> str:
    """A name that people gave: one line of 1 to 200 printable characters, no blank at its ends. Quotes and `;` are fine."""
    return _line(value, what, MAX_NAME)


def checked_text(value: str, what: str) -> str:
    """A note or description: up to 10,000 characters, empty too, printable but for line breaks and tabs."""
    if not isinstance(value, str) or len(value) > MAX_NOTE:
        raise BadValue(f"{what} {brief(value)}: expected a text of up to {MAX_NOTE} characters")
    if not value.isprintable() and not value.translate(_BREAKS).isprintable():
        raise BadValue(f"{what} {brief(value)}: expected printable characters")
    return value


def new_id(time_ns: int | None = None, random_bits: int | None = None) -> str:
    """A UUID of version 7 as text: ids sort by the time (ns since 1970; by default now) that they were made at.

    RFC 9562: the milliseconds, then in 12 bits what they leave of the time, then 62 random bits.
    """
    ms, rest_ns = divmod(time.time_ns() if time_ns is None else time_ns, _NS_PER_MS)
    bits = int.from_bytes(os.urandom(8)) >> 64 - _RANDOM_BITS if random_bits is None else random_bits
    fraction = (rest_ns << 12) // _NS_PER_MS
    digits = f"{ms << 80 | 7 << 76 | fraction << 64 | 2 << _RANDOM_BITS | bits:032x}"  # uuid.UUID would take twice as long
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def brief(value: object) -> str:
    """A value as it is shown in a message: its repr, of a length that fits a line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


_BREAKS = str.maketrans("", "", "\n\r\t")


def _line(value: str, what: str, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable() or value.strip() != value:
        raise BadValue(f"{what} {brief(value)}: expected 1 to {longest} printable characters, no blank at either end")
    return value
