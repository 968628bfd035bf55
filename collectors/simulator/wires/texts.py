"""Small texts that several venues share: times, numbers, ids that look random."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from uuid import NAMESPACE_URL, uuid5

_NS_PER_S = 10**9


@lru_cache(4096)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso(ts_ns: int, decimals: int = 6, zone: str = "Z") -> str:
    """`2014-11-07T08:19:27.028459Z`."""
    second, ns = divmod(ts_ns, _NS_PER_S)
    return f"{_second(second)}.{ns:09d}"[: 20 + decimals] + zone


def seconds(ts_ns: int) -> str:
    """Seconds with as many decimals as they need: `1688669597.8277369`."""
    second, ns = divmod(ts_ns, _NS_PER_S)
    return f"{second}.{ns:09d}".rstrip("0").rstrip(".")


def ms(ts_ns: int) -> int:
    """Whole milliseconds."""
    return ts_ns // 1_000_000


def uuid(kind: str, *parts: object) -> str:
    """A UUID that is always the same for the same parts."""
    return str(uuid5(NAMESPACE_URL, ":".join([kind, *map(str, parts)])))


def text(value: Decimal) -> str:
    """A plain decimal, with no exponent."""
    return f"{value:f}"
