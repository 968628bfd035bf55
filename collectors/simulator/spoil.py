"""Frames that no collector should swallow, made of true trades. Pure.

None of them can be taken for a trade that didn't happen: what is readable in them is a trade that was told, told again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from random import Random

import msgspec

from collectors.simulator.synthetic import SimTrade

_DEPTH = 10_000
_FIELD = re.compile(rb'("\w+":)("[^"]*"|-?\d[\d.eE+-]*|true|false)')
_WRONG = (b"[1]", b'{"a":1}', b"null", b'"?"', b"true")

Tell = Callable[[Sequence[SimTrade]], Iterable[bytes]]


class Malformed(StrEnum):
    """What can be wrong with a frame."""

    BROKEN = "broken"  # JSON that ends too early
    GARBAGE = "garbage"  # no JSON
    EMPTY = "empty"
    WRONG_TYPE = "wrong type"  # in one field
    HUGE_PRICE = "huge price"  # 1e400
    DEEP = "deep"  # lists in lists
    STRANGER = "stranger"  # a symbol that was never asked for
    NOT_UTF8 = "not utf-8"


def spoiled(kind: Malformed, dice: Random, trades: Sequence[SimTrade], tell: Tell) -> bytes:
    """A bad frame. `trades`: some of one symbol that were told; `tell`: how the connection would tell them."""
    if kind is Malformed.STRANGER:
        strangers = [msgspec.structs.replace(trade, symbol=f"{trade.symbol}X") for trade in trades]
        return next(iter(tell(strangers)))
    if kind is Malformed.HUGE_PRICE:
        return list(tell([*trades[:-1], msgspec.structs.replace(trades[-1], price="1e400")]))[-1]
    return _SPOILERS[kind](next(iter(tell(trades))), dice)


def padded(payload: bytes, size: int) -> bytes:
    """The same JSON object with a field more, as large as wanted."""
    return payload[:-1] + b',"padding":"' + b"x" * max(0, size - len(payload) - 13) + b'"}'


def _broken(payload: bytes, dice: Random) -> bytes:
    return payload[: dice.randrange(1, len(payload))]


def _garbage(payload: bytes, dice: Random) -> bytes:
    return bytes(dice.choices(b"abcdefghij <>&;", k=dice.randrange(1, 200)))


def _empty(payload: bytes, dice: Random) -> bytes:
    return b""


def _wrong_type(payload: bytes, dice: Random) -> bytes:
    found = dice.choice(list(_FIELD.finditer(payload)))
    value = found[2]
    kinds = [wrong for wrong in _WRONG if wrong[:1] != value[:1] and not (wrong == b"true" and value == b"false")]
    return payload[: found.start(2)] + dice.choice(kinds) + payload[found.end(2) :]


def _deep(payload: bytes, dice: Random) -> bytes:
    head = payload[: _FIELD.search(payload).start(2)]  # type: ignore[union-attr]
    return head + b"[" * _DEPTH + b"]" * _DEPTH + b"}"


def _not_utf8(payload: bytes, dice: Random) -> bytes:
    found = dice.choice([field for field in _FIELD.finditer(payload) if field[2][:1] == b'"'])
    return payload[: found.start(2) + 1] + b"\xff\xfe" + payload[found.start(2) + 1 :]


_SPOILERS: dict[Malformed, Callable[[bytes, Random], bytes]] = {
    Malformed.BROKEN: _broken,
    Malformed.GARBAGE: _garbage,
    Malformed.EMPTY: _empty,
    Malformed.WRONG_TYPE: _wrong_type,
    Malformed.DEEP: _deep,
    Malformed.NOT_UTF8: _not_utf8,
}
