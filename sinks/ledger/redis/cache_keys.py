"""Where a cache's values lie: in Redis, or, by explicit choice, in this process's memory."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from pipeline.errors import BadValue
from pipeline.trading.names import brief
from sinks.ledger.redis.connection import PREFIX, SharedRedis

CACHE = PREFIX + "cache:"
_SOME = 500  # keys in one command
_INT64 = 1 << 63
_is_number = re.compile(rb"-?[1-9]\d{0,18}|0", re.ASCII).fullmatch


class RedisKeys:
    """Values in Redis. What an answer depends on being done first is never sent twice."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Their values, in this order."""
        found: list[bytes | None] = []
        for at in range(0, len(keys), _SOME):
            with self._redis.explained():
                found += self._redis.again.mget([CACHE + key for key in keys[at : at + _SOME]])
        return found

    def write(self, items: Mapping[str, bytes], ttl_ms: int | None) -> None:
        """All of them or none, over what was there."""
        with self._redis.explained(), self._redis.again.pipeline(transaction=len(items) > 1) as pipe:
            for key, value in items.items():
                pipe.set(CACHE + key, value, px=ttl_ms)
            pipe.execute()

    def write_new(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Whether there was none and now is."""
        with self._redis.explained():
            return bool(self._redis.once.set(CACHE + key, value, px=ttl_ms, nx=True))

    def remove(self, keys: Sequence[str]) -> int:
        """How many there were."""
        with self._redis.explained():
            return int(self._redis.once.unlink(*[CACHE + key for key in keys]))

    def exists(self, key: str) -> bool:
        """Whether there is one."""
        with self._redis.explained():
            return bool(self._redis.again.exists(CACHE + key))

    def matching(self, pattern: str) -> Iterator[list[str]]:
        """The keys that a glob matches, some at a time; one may come twice."""
        cursor: Any = 0
        while True:
            with self._redis.explained():
                cursor, found = self._redis.again.scan(cursor, match=CACHE + pattern, count=_SOME)
            yield [key.decode("utf-8", "surrogateescape").removeprefix(CACHE) for key in found]
            if not cursor:
                return

    def ttl_ms(self, key: str) -> int:
        """How long it will live; -1: for ever, -2: there is none."""
        with self._redis.explained():
            return int(self._redis.again.pttl(CACHE + key))

    def expire(self, key: str, ttl_ms: int | None) -> bool:
        """Whether there is one, which now lives that long."""
        with self._redis.explained(), self._redis.again.pipeline() as pipe:
            pipe.persist(CACHE + key) if ttl_ms is None else pipe.pexpire(CACHE + key, ttl_ms)
            pipe.exists(CACHE + key)
            return bool(pipe.execute()[1])

    def add(self, key: str, amount: int, ttl_ms: int | None) -> int:
        """The counter's value then; a new one begins at 0 and lives that long. BadValue where it is no whole number."""
        with self._redis.explained(), self._redis.once.pipeline() as pipe:
            pipe.set(CACHE + key, 0, px=ttl_ms, nx=True)
            pipe.incrby(CACHE + key, amount)
            try:
                return int(pipe.execute()[1])
            except ResponseError as error:
                if "not an integer" not in str(error) and "overflow" not in str(error):
                    raise
        raise _no_counter(key)

    def close(self) -> None:
        """Nothing: who made the connection closes it."""


class MemoryKeys:
    """Values in memory, for tests and trials: gone with the process, and seen by no other."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._kept: dict[str, tuple[bytes, float | None]] = {}  # value, and when it expires
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Their values, in this order."""
        with self._lock:
            return [found[0] if (found := self._found(key)) else None for key in keys]

    def write(self, items: Mapping[str, bytes], ttl_ms: int | None) -> None:
        """All of them or none, over what was there."""
        with self._lock:
            self._kept |= {key: (value, self._end(ttl_ms)) for key, value in items.items()}

    def write_new(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Whether there was none and now is."""
        with self._lock:
            if self._found(key):
                return False
            self._kept[key] = (value, self._end(ttl_ms))
            return True

    def remove(self, keys: Sequence[str]) -> int:
        """How many there were."""
        with self._lock:
            return sum(bool(self._found(key) and self._kept.pop(key)) for key in keys)

    def exists(self, key: str) -> bool:
        """Whether there is one."""
        return self.read([key]) != [None]

    def matching(self, pattern: str) -> Iterator[list[str]]:
        """The keys that a glob matches."""
        matches = _glob(pattern).fullmatch
        with self._lock:
            found = [key for key in list(self._kept) if matches(key) and self._found(key)]
        yield found

    def ttl_ms(self, key: str) -> int:
        """How long it will live; -1: for ever, -2: there is none."""
        with self._lock:
            found = self._found(key)
            if not found:
                return -2
            return -1 if found[1] is None else round((found[1] - self._clock_s()) * 1000)

    def expire(self, key: str, ttl_ms: int | None) -> bool:
        """Whether there is one, which now lives that long."""
        with self._lock:
            found = self._found(key)
            if found:
                self._kept[key] = (found[0], self._end(ttl_ms))
            return bool(found)

    def add(self, key: str, amount: int, ttl_ms: int | None) -> int:
        """The counter's value then; a new one begins at 0 and lives that long. BadValue where it is no whole number."""
        with self._lock:
            value, end = self._found(key) or (b"0", self._end(ttl_ms))
            total = int(value) + amount if _is_number(value) else _INT64
            if not -_INT64 <= total < _INT64:
                raise _no_counter(key)
            self._kept[key] = (str(total).encode(), end)
            return total

    def close(self) -> None:
        """All is gone."""
        self._kept.clear()

    def _end(self, ttl_ms: int | None) -> float | None:
        return None if ttl_ms is None else self._clock_s() + ttl_ms / 1000

    def _found(self, key: str) -> tuple[bytes, float | None] | None:
        found = self._kept.get(key)
        if found and found[1] is not None and found[1] <= self._clock_s():
            del self._kept[key]
            return None
        return found


def _no_counter(key: str) -> BadValue:
    return BadValue(f"cache key {brief(key)}: expected a whole number of 64 bits there, before and after")


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern of Redis's as a regular expression."""
    return re.compile("".join(_meaning(part) for part in _parts(pattern)), re.DOTALL)


# A character that stands for itself by a backslash; a class, whose end may lack; any other.
_parts = re.compile(
    r"\\(?P<escaped>.)|\[(?P<negated>\^?)(?P<inside>(?:\\.|[^\]\\]-.|[^\]])*)\]?|(?P<other>.)", re.DOTALL
).finditer
_spans = re.compile(r"\\(?P<escaped>.)|(?P<low>.)-(?P<high>.)|(?P<other>.)", re.DOTALL).finditer


def _meaning(part: re.Match[str]) -> str:
    if part["inside"] is not None:
        return _one_of(part["inside"], bool(part["negated"]))
    if part["other"] in ("*", "?"):
        return ".*" if part["other"] == "*" else "."
    return re.escape(part["escaped"] or part["other"])


def _one_of(inside: str, negated: bool) -> str:
    allowed = "".join(_span(span) for span in _spans(inside))
    if not allowed:
        return "." if negated else "(?!)"
    return f"[^{allowed}]" if negated else f"[{allowed}]"


def _span(span: re.Match[str]) -> str:
    if span["low"] is None:
        return re.escape(span["escaped"] or span["other"])
    low, high = sorted((span["low"], span["high"]))
    return f"{re.escape(low)}-{re.escape(high)}"
