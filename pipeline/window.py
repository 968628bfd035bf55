"""The last 48 hours in Redis. This file alone talks to Redis, and translates its errors.

Keys of an instrument share the hash tag `{venue:symbol}`, so that a Redis Cluster keeps them together:

    trades_window:{binance:BTCUSDT}:cursor         hash: fence, token and state of the last flush
    trades_window:{binance:BTCUSDT}:lease          who writes it, with a time to live
    trades_window:{binance:BTCUSDT}:open:28756230  hash: an open minute, price -> sums
    trades_window:{binance:BTCUSDT}:sealed         hash: minute -> compressed bytes of its minute file
    trades_window:{binance:BTCUSDT}:seals          stream: a notice for each sealed minute; strategies follow it
    trades_window:{binance:BTCUSDT}:backfills      hash: history that the running service is asked for; and backfill:<id>, how
                                                   far it is: see spillway/backfill_requests.py

Every script may be sent twice: the second time changes nothing. That is what makes the client's retries safe.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Self

import hiredis
import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from pipeline import codec, open_minute
from pipeline.errors import BadValue, Fenced, RedisUnavailable, WindowError, WindowMoved, WriterHeld
from pipeline.footprint import Footprint, State
from pipeline.instrument import Instrument
from pipeline.minute import Minute, minute_text
from pipeline.open_minute import Change, OpenMinute

PREFIX = "trades_window:"
INSTRUMENTS = PREFIX + "instruments"
CONNECTIONS = 32  # to Redis at the same time: it does one thing after the other anyway
POOL_S = 60.0  # for one of them to be free
OLDEST_REDIS = (6, 2)
NOTICES = 3000  # a little over two days of minutes
_REFUSES_WRITES = re.compile(r"\b(OOM|MISCONF|READONLY|NOREPLICAS) ")  # Redis 6.2 wraps what a script ran into in a text
_FLUSH = files("pipeline").joinpath("flush.lua").read_text()
_ACQUIRE = """
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] and held ~= ARGV[3] then return {'HELD', held} end
local fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'DONE', tostring(fence)}
"""
_RENEW = """
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return {'FENCED', redis.call('HGET', KEYS[1], 'fence') or ''} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'DONE'}
"""
_RELEASE = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'DONE'} end
redis.call('DEL', KEYS[2])
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then redis.call('HINCRBY', KEYS[1], 'fence', 1) end
return {'DONE'}
"""
_FORGET = """
local gone = {}
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and redis.sha1hex(value) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write an instrument, until a writer with a higher fence takes it."""

    instrument: Instrument
    owner: str
    fence: int
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed minute as Redis keeps it."""

    minute: int
    value: bytes  # compressed
    revision: int
    status: str
    trade_count: int


@dataclass(frozen=True, slots=True)
class Flush:
    """One atomic step of a writer. `builds_on` is the token of the flush before it, empty for the first."""

    builds_on: str
    token: str
    state: bytes
    changes: Sequence[Change] = ()
    drops: Sequence[int] = ()
    sealed: Sequence[Sealed] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the last flush stored."""

    token: str
    state: State


@dataclass(slots=True)
class RedisWindow:
    """The window in a Redis 6.2 or later."""

    client: Any  # a redis.asyncio.Redis: its annotations mix the answers of sync and async clients
    name: str  # the URL without secrets, for messages
    _shas: dict[str, str] = field(default_factory=dict)
    _asked: set[asyncio.Future[Any]] = field(default_factory=set)

    @classmethod
    def connect(cls, url: str, *, timeout_s: float = 5.0) -> Self:
        """A window at a Redis URL; nothing is sent yet. BadValue for a URL that can't be one."""
        try:
            # Without a bound that waits, the 101st command at once would fail as if Redis were gone.
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=POOL_S,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                health_check_interval=15,
                # every script of ours is idempotent, see above
                retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), 3),
                retry_on_error=[ConnectionError, TimeoutError],
                protocol=2,
            )
        except ValueError:  # whose text may hold a part of the password
            raise BadValue(f"redis url {masked(url)}: expected redis://, rediss:// or unix:// and a valid address") from None
        pool.connection_class = _packing(pool.connection_class)
        return cls(redis.Redis.from_pool(pool), masked(url))

    async def close(self) -> None:
        """Closes the connections, after what is still on its way."""
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self.client.aclose()

    async def check(self) -> None:
        """RedisUnavailable unless the server answers, is new enough, and would not evict what is unspilled."""
        info = await self._ask(self.client.info("server"))
        policy = (await self._ask(self.client.info("memory"))).get("maxmemory_policy", "noeviction")
        version = tuple(int(n) for n in str(info["redis_version"]).split(".")[:2])
        if version < OLDEST_REDIS:
            raise RedisUnavailable(f"Redis at {self.name} is {info['redis_version']}: expected 6.2 or later")
        if policy != "noeviction":
            raise RedisUnavailable(
                f"Redis at {self.name} has maxmemory-policy {policy}, which throws minutes away unspilled: "
                "expected noeviction (redis-cli CONFIG SET maxmemory-policy noeviction)"
            )

    # --- the writer's side ----------------------------------------------------------------------------------------------

    async def acquire(self, instrument: Instrument, owner: str, ttl_ms: int, *, dead_owner: str = "") -> Lease:
        """Takes the lease, over `dead_owner`'s too. WriterHeld, naming the holder, while another has it."""
        keys = [_key(instrument, "cursor"), _key(instrument, "lease")]
        answer = await self._script(_ACQUIRE, keys, [owner, ttl_ms, dead_owner])
        if answer[0] == b"HELD":
            raise WriterHeld(f"{instrument} is being written by {answer[1].decode()}")
        await self._ask(self.client.sadd(INSTRUMENTS, instrument.tag))
        return Lease(instrument, owner, int(answer[1]), ttl_ms)

    async def holder(self, instrument: Instrument) -> str | None:
        """Who holds the lease now."""
        held = await self._ask(self.client.get(_key(instrument, "lease")))
        return held.decode() if held else None

    async def renew(self, lease: Lease) -> None:
        """Keeps the lease for another `ttl_ms`. Fenced if a newer writer took over."""
        keys = [_key(lease.instrument, "cursor"), _key(lease.instrument, "lease")]
        _refuse(lease, await self._script(_RENEW, keys, [lease.fence, lease.owner, lease.ttl_ms]))

    async def release(self, lease: Lease) -> None:
        """Gives the lease up, if it is still ours. What this writer sent before, and what comes after, is refused."""
        keys = [_key(lease.instrument, "cursor"), _key(lease.instrument, "lease")]
        await self._script(_RELEASE, keys, [lease.fence, lease.owner])

    async def flush(self, lease: Lease, flush: Flush) -> None:
        """Writes a flush whole, or nothing of it. Fenced, WindowMoved, RedisUnavailable (then it may have been written)."""
        instrument = lease.instrument
        keys = [_key(instrument, name) for name in ("cursor", "lease", "sealed", "seals")]
        keys += [_key(instrument, f"open:{c.start}") for c in flush.changes]
        keys += [_key(instrument, f"open:{minute}") for minute in flush.drops]
        args: list[Any] = [lease.fence, flush.builds_on, flush.token, flush.state, lease.owner, lease.ttl_ms, NOTICES]
        args += [len(flush.changes), len(flush.drops), len(flush.sealed)]
        for change in flush.changes:
            args += [int(change.rewrite), len(change.fields), *change.fields]
        for s in flush.sealed:
            args += [s.minute, s.value, s.revision, s.status, s.trade_count]
        _refuse(lease, await self._script(_FLUSH, keys, args))

    # --- the reader's side ----------------------------------------------------------------------------------------------

    async def instruments(self) -> list[Instrument]:
        """All that ever had a writer."""
        return sorted(Instrument.from_tag(tag.decode()) for tag in await self._ask(self.client.smembers(INSTRUMENTS)))

    async def cursor(self, instrument: Instrument) -> Cursor | None:
        """The last flush's token and state, or None before the first."""
        token, state = await self._ask(self.client.hmget(_key(instrument, "cursor"), ["token", "state"]))
        return Cursor(token.decode(), msgspec.json.decode(state, type=State)) if token else None

    async def resume(self, instrument: Instrument) -> tuple[str, Footprint] | None:
        """The footprint as the last flush stored it, with its token; None before the first. For the lease's holder."""
        cursor = await self.cursor(instrument)
        if cursor is None:
            return None
        buckets = [b for b, _, _ in (await self._open(instrument, cursor.state.open_minutes)).values()]
        return cursor.token, Footprint.resume(instrument, cursor.state, buckets)

    async def open_minutes(self, instrument: Instrument) -> list[Minute]:
        """The open minutes as they stand now. One that is sealed meanwhile is left out: ask for the sealed ones after."""
        cursor = await self.cursor(instrument)
        if cursor is None:
            return []
        minutes = []
        for start, (bucket, price_scale, size_scale) in (await self._open(instrument, cursor.state.open_minutes)).items():
            footprint = Footprint.resume(instrument, cursor.state, [bucket])
            footprint.price_scale, footprint.size_scale = price_scale, size_scale
            minutes.append(footprint.seal(start, cut_short=True))
        return minutes

    async def sealed_minutes(self, instrument: Instrument) -> list[int]:
        """Which minutes are sealed in the window, in order."""
        return sorted(int(m) for m in await self._ask(self.client.hkeys(_key(instrument, "sealed"))))

    async def sealed(self, instrument: Instrument, minutes: Iterable[int]) -> dict[int, bytes]:
        """The compressed bytes of those of `minutes` that are sealed in the window."""
        wanted = list(minutes)
        if not wanted:
            return {}
        values = await self._ask(self.client.hmget(_key(instrument, "sealed"), [str(m) for m in wanted]))
        return {m: v for m, v in zip(wanted, values, strict=True) if v is not None}

    async def load(self, instrument: Instrument, minute: int) -> Minute | None:
        """A sealed minute of the window, or None."""
        value = (await self.sealed(instrument, [minute])).get(minute)
        if value is None:
            return None
        where = f"{instrument} {minute_text(minute)} in Redis"
        return codec.decode(codec.decompress(value, where), where)

    async def forget(self, instrument: Instrument, values: Mapping[int, bytes]) -> list[int]:
        """Deletes sealed minutes that still hold just these values. Returns those that it deleted."""
        args: list[Any] = []
        for minute, value in values.items():
            args += [minute, hashlib.sha1(value, usedforsecurity=False).hexdigest()]
        gone = await self._script(_FORGET, [_key(instrument, "sealed")], args) if args else []
        return [int(m) for m in gone]

    async def seals(self, instrument: Instrument, after: str = "$", block_ms: int = 1000) -> list[tuple[str, dict[str, str]]]:
        """Notices of sealed minutes after a stream id, waiting up to `block_ms` for the first (under the client's timeout)."""
        answer = await self._ask(self.client.xread({_key(instrument, "seals"): after}, block=block_ms))
        entries = answer[0][1] if answer else []
        return [(i.decode(), {k.decode(): v.decode() for k, v in fields.items()}) for i, fields in entries]

    async def memory(self) -> tuple[int, int]:
        """Bytes that Redis uses, and its limit (0: none)."""
        info = await self._ask(self.client.info("memory"))
        return int(info["used_memory"]), int(info.get("maxmemory", 0))

    # --- beside the window ----------------------------------------------------------------------------------------------

    async def ask(self, command: Coroutine[Any, Any, Any]) -> Any:
        """The answer to a command of `client` that is no matter of the window, with its errors translated."""
        return await self._ask(command)

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _open(self, instrument: Instrument, starts: Iterable[int]) -> dict[int, tuple[OpenMinute, int, int]]:
        found = {}
        for start in starts:
            fields = await self._ask(self.client.hgetall(_key(instrument, f"open:{start}")))
            if fields:
                found[start] = open_minute.parse(start, fields)
        return found

    async def _script(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._ask(self._run_script(script, keys, args))

    async def _run_script(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        sha = self._shas.setdefault(script, hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest())
        try:
            return await self.client.execute_command("EVALSHA", sha, len(keys), *keys, *args)
        except NoScriptError:  # a new or restarted server
            return await self.client.execute_command("EVAL", script, len(keys), *keys, *args)

    async def _ask(self, command: Coroutine[Any, Any, Any]) -> Any:
        """A command's answer, its errors translated.

        A caller that is cancelled leaves at once, but the command runs to its end: redis-py may swallow a cancellation that
        comes in the midst of one, and then the caller would go on for ever.
        """
        task = asyncio.ensure_future(command)
        self._asked.add(task)
        task.add_done_callback(self._answered)
        try:
            return await asyncio.shield(task)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise RedisUnavailable(f"Redis at {self.name} can't be reached: {_one_line(error)}") from error
        except ResponseError as error:
            if isinstance(error, (OutOfMemoryError, ReadOnlyError)) or _REFUSES_WRITES.search(str(error)):
                raise RedisUnavailable(f"Redis at {self.name} refuses writes: {_one_line(error)}") from error
            raise WindowError(f"Redis at {self.name}: {_one_line(error)}") from error
        except RedisError as error:
            raise RedisUnavailable(f"Redis at {self.name}: {_one_line(error)}") from error

    def _answered(self, task: asyncio.Future[Any]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; where nobody does, it was meant for somebody who left


def _packing(kind: type[Any]) -> type[Any]:
    """A kind of connection that packs commands in C: a flush has hundreds of arguments, and redis-py packs them in Python."""

    def pack_command(self: Any, name: str, *arguments: Any) -> list[bytes]:
        return [hiredis.pack_command((*name.split(), *arguments))]  # a name may have two words: CONFIG SET

    return type(f"Packing{kind.__name__}", (kind,), {"pack_command": pack_command})


def masked(url: str) -> str:
    """A URL without its password, wherever in it that stands."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    secret, at, place = rest.rpartition("@")
    place = re.sub(r"([?&]password=)[^&]*", r"\1***", place)
    return f"{scheme}{mark}{secret.partition(':')[0]}{':***' if ':' in secret else ''}{at}{place}"


def _key(instrument: Instrument, name: str) -> str:
    return f"{PREFIX}{instrument.tag}:{name}"


def _refuse(lease: Lease, answer: list[bytes]) -> None:
    if answer[0] == b"FENCED" and int(answer[1] or 0) < lease.fence:
        raise Fenced(f"{lease.instrument}: Redis was emptied or went back to before this writer began: start it again")
    if answer[0] == b"FENCED":
        raise Fenced(f"{lease.instrument}: writer {lease.fence} was superseded by writer {answer[1].decode()}: it must stop")
    if answer[0] == b"MOVED":
        raise WindowMoved(f"{lease.instrument}: Redis went back to an earlier flush", answer[1].decode())
    if answer[0] != b"DONE":
        raise WindowError(f"{lease.instrument}: Redis found the flush malformed; nothing was written")


def _one_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
