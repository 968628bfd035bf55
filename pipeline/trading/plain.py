"""Plain JSON values: what free-form parameters and decisions may hold, and come back as they were given."""

from __future__ import annotations

from math import isfinite
from typing import TypeAlias

from pipeline.errors import BadValue
from pipeline.trading.names import brief

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

MAX_DEPTH = 50
MAX_BITS = 1024  # of a whole number: as far as a float reaches


def plain(value: object, what: str, depth: int = MAX_DEPTH) -> Plain:
    """A copy of a JSON value, equal to it in value and type. BadValue, with the path, for what JSON can't hold.

    That is NaN and infinity, keys that aren't text, tuples and other types, and in texts what no store takes (NUL, half
    a surrogate pair).
    """
    if value is None or type(value) is bool or (type(value) is int and value.bit_length() <= MAX_BITS):
        return value
    if type(value) is str:
        return _text(value, what)
    if type(value) is float and isfinite(value):
        return value
    if depth and type(value) is list:
        return [plain(item, f"{what}[{i}]", depth - 1) for i, item in enumerate(value)]
    if depth and type(value) is dict:
        return {_key(key, what): plain(item, f"{what}.{key}", depth - 1) for key, item in value.items()}
    raise BadValue(f"{what} {brief(value)}: expected what JSON can hold, nested at most {MAX_DEPTH} deep")


def plain_dict(value: object, what: str) -> dict[str, Plain]:
    """The same of an object."""
    copied = plain(value, what)
    if not isinstance(copied, dict):
        raise BadValue(f"{what} {brief(value)}: expected a dict")
    return copied


def _text(value: str, what: str) -> str:
    if "\0" in value or not (value.isascii() or _encodes(value)):
        raise BadValue(f"{what} {brief(value)}: expected text of whole characters without NUL")
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(key: object, what: str) -> str:
    if type(key) is not str:
        raise BadValue(f"{what}: key {brief(key)}: expected text")
    return _text(key, f"{what}: key")
