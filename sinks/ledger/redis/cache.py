"""A cache that programs share: texts, JSON and counters under `trading:cache:`, each with the time that it may live.

What is checked and how values are written stands here; where they lie is behind `Keys`: Redis, or this process's memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

from pipeline.errors import BadValue
from pipeline.trading.exact import text
from pipeline.trading.names import brief
from pipeline.trading.plain import plain

Ttl: TypeAlias = float | timedelta

FOREVER = timedelta.max  # a ttl: it never expires, whatever the cache's default is
MAX_BYTES = 1 << 20  # of one value
MAX_KEYS = 100_000  # that one call gives or takes
MAX_TTL_S = 10 * 365 * 86_400.0
_INT64 = 1 << 63
_is_key = re.compile(r"[ -~]{1,512}", re.ASCII).fullmatch
_GLOB = re.compile(r"[*?\[\]\\^]")


class Keys(Protocol):
    """What a cache needs of its store. A `ttl_ms` of None: for ever."""

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Their values, in this order."""

    def write(self, items: Mapping[str, bytes], ttl_ms: int | None) -> None:
        """All of them or none, over what was there."""

    def write_new(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Whether there was none and now is."""

    def remove(self, keys: Sequence[str]) -> int:
        """How many there were."""

    def exists(self, key: str) -> bool:
        """Whether there is one."""

    def matching(self, pattern: str) -> Iterator[list[str]]:
        """The keys that a glob matches, some at a time; one may come twice."""

    def ttl_ms(self, key: str) -> int:
        """How long it will live; -1: for ever, -2: there is none."""

    def expire(self, key: str, ttl_ms: int | None) -> bool:
        """Whether there is one, which now lives that long."""

    def add(self, key: str, amount: int, ttl_ms: int | None) -> int:
        """The counter's value then; a new one begins at 0 and lives that long. BadValue where it is no whole number."""

    def close(self) -> None:
        """Lets go of the store."""


class Cache:
    """Values by key. Blocking and thread-safe. Seed 002's 16 operations, and `get_or_set`.

    Keys: 1 to 512 printable ASCII characters. `ttl`: seconds or a timedelta; None for the cache's default, FOREVER for no end.
    RedisUnavailable where Redis can't be reached; BadValue for what can't be a key or a value: nothing is written.
    """

    def __init__(self, keys: Keys, *, default_ttl: Ttl | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._keys = keys
        self._default_ms = None if default_ttl is None else _milliseconds(default_ttl)
        self._max_bytes = max_bytes

    # --- texts ----------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> str | None:
        """The text of a key, or None."""
        (value,) = self._keys.read([_key(key)])
        return None if value is None else _decoded(key, value)

    def set(self, key: str, value: str, ttl: Ttl | None = None) -> None:
        """Keeps a text, over what was there."""
        self.set_many({key: value}, ttl)

    def set_if_absent(self, key: str, value: str, ttl: Ttl | None = None) -> bool:
        """Keeps a text if there is none yet; whether it did. One of several callers at once gets True."""
        return self._keys.write_new(_key(key), self._encoded(key, value), self._ttl_ms(ttl))

    def get_or_set(self, key: str, make: Callable[[], str], ttl: Ttl | None = None) -> str:
        """The text of a key; where there is none, `make`'s, kept. Callers at once may each make one; all get the first."""
        found = self.get(key)
        if found is None:
            made = make()
            found = made if self.set_if_absent(key, made, ttl) else self.get(key)
            return made if found is None else found
        return found

    def delete(self, key: str) -> bool:
        """Drops a key; whether it was there."""
        return bool(self._keys.remove([_key(key)]))

    def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self._keys.exists(_key(key))

    # --- many at once ---------------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str]) -> dict[str, str]:
        """The texts of those keys that there are."""
        asked = _bounded([_key(key) for key in keys])
        found = zip(asked, self._keys.read(asked), strict=True)
        return {key: _decoded(key, value) for key, value in found if value is not None}

    def set_many(self, items: Mapping[str, str], ttl: Ttl | None = None) -> None:
        """Keeps all of these texts, or none."""
        _bounded(items)
        values = {_key(key): self._encoded(key, value) for key, value in items.items()}
        if values:
            self._keys.write(values, self._ttl_ms(ttl))

    def keys(self, pattern: str = "*") -> list[str]:
        """The keys that a pattern matches, sorted: `*`, `?`, `[a-z]`, `[^a]`, and `\\` before what is meant as it stands.

        What is written meanwhile may be in it or not. BadValue where more than 100,000 match.
        """
        found: set[str] = set()
        for some in self._keys.matching(_pattern(pattern)):
            found.update(some)
            _bounded(found)
        return sorted(found)

    def delete_pattern(self, pattern: str) -> int:
        """Drops all keys that a pattern matches; how many."""
        return sum(self._keys.remove(some) for some in self._keys.matching(_pattern(pattern)) if some)

    def clear(self) -> int:
        """Drops all of the cache; how many keys."""
        return self.delete_pattern("*")

    # --- JSON -----------------------------------------------------------------------------------------------------------

    def get_json(self, key: str) -> Any:
        """The value that `set_json` kept, or None. A number that a float can't hold exactly comes as Decimal.

        BadValue where it is no JSON.
        """
        found = self.get(key)
        try:
            return None if found is None else json.loads(found, parse_float=_exact, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise BadValue(f"cache key {brief(key)}: holds no JSON") from None

    def set_json(self, key: str, value: Any, ttl: Ttl | None = None) -> None:
        """Keeps what JSON can hold, and Decimals as their text: `Decimal("0.10")` as `"0.1"`. BadValue for NaN and the like."""
        checked = plain(_with_texts(value), f"cache key {brief(key)}")
        self.set(key, json.dumps(checked, ensure_ascii=False, separators=(",", ":")), ttl)

    # --- how long -------------------------------------------------------------------------------------------------------

    def ttl(self, key: str) -> float:
        """How many seconds it will live; -1: for ever, -2: there is none."""
        left = self._keys.ttl_ms(_key(key))
        return left / 1000 if left >= 0 else float(left)

    def expire(self, key: str, ttl: Ttl | None = None) -> bool:
        """Lets it live that long from now on; whether there is one."""
        return self._keys.expire(_key(key), self._ttl_ms(ttl))

    # --- counters -------------------------------------------------------------------------------------------------------

    def increment(self, key: str, amount: int = 1, ttl: Ttl | None = None) -> int:
        """Adds to a counter, which begins at 0; its value then. `ttl` counts only where it begins.

        Never sent twice: where the connection breaks meanwhile, RedisUnavailable, and nobody knows whether it was counted.
        BadValue for an amount or a value that is no whole number, or beyond 64 bits.
        """
        if type(amount) is not int or not -_INT64 < amount < _INT64:
            raise BadValue(f"cache key {brief(key)}: amount {brief(amount)}: expected a whole number of 64 bits")
        return self._keys.add(_key(key), amount, self._ttl_ms(ttl))

    def decrement(self, key: str, amount: int = 1, ttl: Ttl | None = None) -> int:
        """The same downwards."""
        return self.increment(key, -amount if type(amount) is int else amount, ttl)

    def close(self) -> None:
        """Lets go of the store."""
        self._keys.close()

    def _ttl_ms(self, ttl: Ttl | None) -> int | None:
        if ttl == FOREVER:
            return None
        return self._default_ms if ttl is None else _milliseconds(ttl)

    def _encoded(self, key: str, value: str) -> bytes:
        if not isinstance(value, str):
            raise BadValue(f"cache key {brief(key)}: value {brief(value)}: expected text; set_json takes other values")
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise BadValue(f"cache key {brief(key)}: value {brief(value)}: expected whole characters") from None
        if len(data) > self._max_bytes:
            raise BadValue(f"cache key {brief(key)}: a value of {len(data)} bytes: expected at most {self._max_bytes}")
        return data


def escaped(literal: str) -> str:
    """A text as a pattern that matches it alone."""
    return _GLOB.sub(r"\\\g<0>", literal)


def _key(key: str) -> str:
    if not isinstance(key, str) or not _is_key(key):
        raise BadValue(f"cache key {brief(key)}: expected 1 to 512 printable ASCII characters")
    return key


def _pattern(pattern: str) -> str:
    if not isinstance(pattern, str) or not _is_key(pattern):
        raise BadValue(f"cache pattern {brief(pattern)}: expected 1 to 512 printable ASCII characters")
    return pattern


def _bounded(keys: Any) -> Any:
    if len(keys) > MAX_KEYS:
        raise BadValue(f"{len(keys)} cache keys at once: expected at most {MAX_KEYS}")
    return keys


def _milliseconds(ttl: Ttl) -> int:
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.001 <= seconds <= MAX_TTL_S:
        raise BadValue(f"ttl {brief(ttl)}: expected seconds, from 0.001 to ten years, or FOREVER")
    return round(seconds * 1000)


def _decoded(key: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadValue(f"cache key {brief(key)}: holds no text, so it isn't ours") from None


def _with_texts(value: Any) -> Any:
    """The value with each finite Decimal as its text."""
    if type(value) is dict:
        return {key: _with_texts(item) for key, item in value.items()}
    if type(value) is list:
        return [_with_texts(item) for item in value]
    return text(value) if isinstance(value, Decimal) and value.is_finite() else value


def _exact(digits: str) -> float | Decimal:
    number, exact = float(digits), Decimal(digits)
    return number if Decimal(repr(number)) == exact else exact


def _no_number(name: str) -> None:
    raise ValueError(name)
