"""History that a command asks the running service for: what is asked, how far it is, what became of it. Kept in Redis.

    trades_window:backfills                          set: the instruments with requests: a service need not ask for each
    trades_window:{binance:BTCUSDT}:backfills        hash: id -> request; it stays until it is done, whoever dies meanwhile
    trades_window:{binance:BTCUSDT}:backfill:<id>    hash: how far it is, and at last its outcome; it expires

All scripts may be sent twice. The command says again and again that its request is there: what a Redis that went back forgot,
or an announcement that a service withdrew in the very moment, comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pipeline.errors import SpillwayError
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.trade import NS_PER_MINUTE
from pipeline.window import PREFIX, RedisWindow

MOST = 4  # requests that wait for one instrument
KEPT_S = 7 * 86_400  # a request that nobody takes up
TOLD_S = 86_400  # how far one is, and its outcome
ANNOUNCED = PREFIX + "backfills"

_PUT = """
local state = redis.call('HGET', KEYS[2], 'state')
if state == 'done' or state == 'failed' then
  if ARGV[5] ~= 'new' or redis.call('HEXISTS', KEYS[2], 'read') == 0 then return 'OVER' end
  redis.call('DEL', KEYS[2])
end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 'FULL'
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 'DONE'
"""
_TELL = """
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[2], ARGV[2])
if ARGV[3] == 'end' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 'DONE'
"""


class Request(msgspec.Struct, frozen=True):
    """A range of an instrument's history that is asked for."""

    since_ns: int
    until_ns: int | None  # None: up to now, and live trades go on from there
    price_group: str | None  # as the command's settings have it
    asked_ns: int

    @property
    def id(self) -> str:
        """The same for the same range: who asks again finds the request that is there."""
        until = "now" if self.until_ns is None else minute_text(self.until_ns // NS_PER_MINUTE)
        return f"{minute_text(self.since_ns // NS_PER_MINUTE)}..{until}".replace(" ", "T")


@dataclass(frozen=True, slots=True)
class Told:
    """What was last said of a request; empty before the first."""

    state: str = ""  # waiting, running, done, failed
    beat: str = ""  # another each time that somebody works on it
    what: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    outcome: str = ""  # the packed summary, or the error

    @property
    def over(self) -> bool:
        """Whether it is done, or failed."""
        return self.state in ("done", "failed")


@dataclass(frozen=True, slots=True)
class Requests:
    """All requests in one Redis."""

    window: RedisWindow

    async def put(self, instrument: Instrument, request: Request, *, new: bool = False) -> None:
        """Leaves a request, unless it is there, or over; if `new`, an outcome that was read counts no more.

        SpillwayError where too many wait.
        """
        args = [request.id, msgspec.json.encode(request), MOST, KEPT_S, "new" if new else ""]
        answer = await self._script(_PUT, instrument, request.id, args)
        if answer == b"FULL":
            raise SpillwayError(f"{instrument}: {MOST} backfills wait for it already: expected to wait until one is done")
        if answer == b"DONE":
            await self.window.ask(self.window.client.sadd(ANNOUNCED, instrument.tag))

    async def withdraw(self, instrument: Instrument, request: Request) -> None:
        """Takes a request back."""
        await self.window.ask(self.window.client.hdel(_list(instrument), request.id))

    async def announced(self) -> list[Instrument]:
        """The instruments that may have requests."""
        return sorted(
            Instrument.from_tag(tag.decode()) for tag in await self.window.ask(self.window.client.smembers(ANNOUNCED))
        )

    async def of(self, instrument: Instrument) -> list[Request]:
        """The requests of an instrument, oldest first; it is announced no more where there are none."""
        found = await self._all(instrument)
        if not found:
            await self.window.ask(self.window.client.srem(ANNOUNCED, instrument.tag))
        return found

    async def tell(self, instrument: Instrument, request: Request, said: Mapping[str, str | bytes | int]) -> None:
        """Says how far it is."""
        await self._tell(instrument, request, "", said)

    async def end(self, instrument: Instrument, request: Request, state: str, outcome: str | bytes) -> None:
        """Says what became of it: it is asked for no more."""
        await self._tell(instrument, request, "end", {"state": state, "outcome": outcome})

    async def told(self, instrument: Instrument, request: Request) -> Told:
        """What was last said."""
        found = await self.window.ask(self.window.client.hgetall(_progress(instrument, request.id)))
        return msgspec.convert({k.decode(): v.decode() for k, v in found.items()}, Told, strict=False)

    async def read(self, instrument: Instrument, request: Request) -> None:
        """Its outcome was shown to whoever asked: who asks anew wants it done anew."""
        await self._tell(instrument, request, "", {"read": "yes"})

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _all(self, instrument: Instrument) -> list[Request]:
        values = await self.window.ask(self.window.client.hvals(_list(instrument)))
        return sorted(filter(None, map(_request, values)), key=lambda r: (r.asked_ns, r.id))

    async def _tell(self, instrument: Instrument, request: Request, end: str, said: Mapping[str, str | bytes | int]) -> None:
        pairs = [text for pair in said.items() for text in pair]
        await self._script(_TELL, instrument, request.id, [request.id, TOLD_S, end, *pairs])

    async def _script(self, script: str, instrument: Instrument, number: str, args: list[Any]) -> Any:
        keys = [_list(instrument), _progress(instrument, number)]
        return await self.window.ask(self.window.client.eval(script, len(keys), *keys, *args))


def _request(value: bytes) -> Request | None:
    """None for one of another version: it expires."""
    try:
        return msgspec.json.decode(value, type=Request)
    except msgspec.MsgspecError:
        return None


def _list(instrument: Instrument) -> str:
    return f"{PREFIX}{instrument.tag}:backfills"


def _progress(instrument: Instrument, number: str) -> str:
    return f"{PREFIX}{instrument.tag}:backfill:{number}"
