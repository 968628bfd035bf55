"""Holds each finished minute against the venue's own klines, while the service runs. Nothing here may stop the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from collectors.delays import Delays
from collectors.venues.kline import Kline
from collectors.venues.venue import Venue
from pipeline import codec
from pipeline.errors import SpillwayError, VenueError
from pipeline.instrument import Instrument
from pipeline.minute import Minute, minute_of, minute_text
from pipeline.ports import Keeper
from pipeline.trade import NS_PER_S
from pipeline.window import RedisWindow
from sinks.ledger.klines import KlineBook, KlineCheck, KlineSums
from spillway.kline_check import Compared, check, compare, told_by


@dataclass(frozen=True, slots=True)
class KlineRules:
    """How often, how late and how much. Times in seconds."""

    every_s: float = 60.0
    settle_s: float = 90.0  # after a minute's end: trades come late, and so do klines
    give_up_s: float = 3600.0  # after a minute's end: what the venue hasn't told by then it won't tell
    batch: int = 100  # minutes a request
    requests: int = 10  # of one instrument at a time
    recheck: int = 100  # minutes that differ, whose later revisions are looked for
    delays: Callable[[], Delays] = lambda: Delays(first_s=60.0, cap_s=3600.0)  # while the venue or the ledger fails


class Minutes(Protocol):
    """Where our minutes are."""

    async def ready(self, instrument: Instrument, since: int) -> range:
        """The minutes from `since` on, between the first and the last that are sealed in the window, up to one still open."""

    async def load(self, instrument: Instrument, minutes: Collection[int]) -> Mapping[int, Minute]:
        """Those of `minutes` that are sealed, wherever they are by now."""


@dataclass(frozen=True, slots=True)
class StoredMinutes:
    """The minutes of a window and of what is kept below it."""

    window: RedisWindow
    keeper: Keeper

    async def ready(self, instrument: Instrument, since: int) -> range:
        """The minutes from `since` on, between the first and the last that are sealed in the window, up to one still open."""
        sealed = await self.window.sealed_minutes(instrument)
        cursor = await self.window.cursor(instrument)
        still_open = [m for m in cursor.state.open_minutes if m >= since] if cursor else []
        return range(max(sealed[0], since), min([sealed[-1] + 1, *still_open])) if sealed else range(0)

    async def load(self, instrument: Instrument, minutes: Collection[int]) -> Mapping[int, Minute]:
        """Those of `minutes` that are sealed, wherever they are by now."""
        values = await self.window.sealed(instrument, minutes)
        return await asyncio.to_thread(self._load, instrument, minutes, values)

    def _load(self, instrument: Instrument, minutes: Collection[int], values: Mapping[int, bytes]) -> dict[int, Minute]:
        found: dict[int, Minute] = {}
        for minute in minutes:
            if minute in values:
                where = f"{instrument} {minute_text(minute)} in Redis"
                found[minute] = codec.decode(codec.decompress(values[minute], where), where)
            elif kept := self.keeper.load(instrument, minute):
                found[minute] = kept
        return found


class KlineChecker:
    """Checks the instruments of one venue, as long as they are `mine`: those that this process writes.

    `sums` tells how each stands, from the ledger on and over restarts.
    """

    def __init__(
        self,
        *,
        venue: Venue,
        symbols: Sequence[str],
        get: Callable[[str], Awaitable[bytes]],
        minutes: Minutes,
        book: KlineBook,
        mine: Callable[[Instrument], bool] = lambda instrument: True,
        rules: KlineRules | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self.sums: dict[Instrument, KlineSums] = {}
        self._venue = venue
        self._instruments = [Instrument(venue.name, symbol) for symbol in symbols]
        self._get = get
        self._minutes = minutes
        self._book = book
        self._mine = mine
        self._rules = rules or KlineRules()
        self._clock_ns = clock_ns
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=venue.name)
        self._delays = {instrument: self._rules.delays() for instrument in self._instruments}
        self._not_before = dict.fromkeys(self._instruments, 0)  # ns

    @property
    def checked(self) -> int:
        """Minutes held against klines so far."""
        return sum(sums.checked for sums in self.sums.values())

    @property
    def differing(self) -> int:
        """Minutes that differ still."""
        return sum(sums.differing for sums in self.sums.values())

    @property
    def last_difference(self) -> tuple[Instrument, KlineCheck] | None:
        """The latest minute that differs still."""
        found = [(instrument, sums.last) for instrument, sums in self.sums.items() if sums.last]
        return max(found, key=lambda pair: pair[1].minute, default=None)

    async def run(self, stop: asyncio.Event) -> None:
        """Checks until `stop`; returns at once where the venue has no klines."""
        if self._venue.klines_path(self._instruments[0].symbol, 0, 1) is None:
            return
        while not stop.is_set():
            await self.round()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rules.every_s):
                    await stop.wait()

    async def round(self) -> None:
        """Checks what is due. What fails is logged, and tried again later."""
        for instrument in self._instruments:
            if not self._mine(instrument):
                self.sums.pop(instrument, None)
                continue
            if self._clock_ns() < self._not_before[instrument]:
                continue
            await self._try(instrument)

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _try(self, instrument: Instrument) -> None:
        try:
            await self._check(instrument)
            self._delays[instrument].tries = 0
        except SpillwayError as error:
            self._failed(instrument, str(error), getattr(error, "retry_after_s", 0.0))
        except Exception as error:  # a mistake in here must not end the service, which collects trades
            self._log.exception("kline check broke", symbol=instrument.symbol)
            self._failed(instrument, repr(error), 0.0)

    async def _check(self, instrument: Instrument) -> None:
        await self._refresh(instrument)
        await self._recheck(instrument)
        for _ in range(self._rules.requests):
            minutes = await self._next(instrument)
            if not minutes or not await self._take(instrument, minutes):
                return

    async def _next(self, instrument: Instrument) -> range:
        """The minutes to ask for: after those checked, and over for long enough. Those before the window are let go."""
        sums = self.sums.get(instrument)
        since = sums.checked_until + 1 if sums else 0
        ready = await self._minutes.ready(instrument, since)
        if sums and ready and ready.start > since:
            told = {"first": minute_text(since), "last": minute_text(ready.start - 1)}
            self._log.warning("minutes left the window unchecked", symbol=instrument.symbol, **told)
        return range(ready.start, min(ready.stop, self._before(self._rules.settle_s), ready.start + self._rules.batch))

    async def _take(self, instrument: Instrument, minutes: range) -> bool:
        """Checks these minutes. Whether the venue told of all of them."""
        ours = await self._minutes.load(instrument, minutes)
        klines = await self._ask(instrument, minutes)
        found = compare(minutes, ours, klines, young=self._before(self._rules.give_up_s))
        if found.until >= minutes.start:
            await self._record(instrument, found)
        return found.until == minutes[-1]

    async def _recheck(self, instrument: Instrument) -> None:
        """Later revisions of minutes that differed: repaired, or late trades."""
        standing = await asyncio.to_thread(self._book.standing, instrument, self._rules.recheck)
        ours = await self._minutes.load(instrument, [c.minute for c in standing]) if standing else {}
        changed = {c.minute: c.theirs for c in standing if c.minute in ours and ours[c.minute].revision > c.revision}
        for _ in range(self._rules.requests):
            if not changed:
                return
            first = min(changed)
            some = {m: figures for m, figures in changed.items() if m < first + self._rules.batch}
            told = some | told_by(await self._ask(instrument, range(first, max(some) + 1)))
            checks = [check(m, ours[m], told[m]) for m in some]
            await self._record(instrument, Compared(checks, self.sums[instrument].checked_until))
            changed = {m: figures for m, figures in changed.items() if m not in some}

    async def _ask(self, instrument: Instrument, minutes: range) -> list[Kline]:
        path = self._venue.klines_path(instrument.symbol, minutes.start, len(minutes))
        if path is None:
            raise VenueError(f"{instrument}: the venue has no klines")
        return self._venue.parse_klines(await self._get(path))

    async def _record(self, instrument: Instrument, found: Compared) -> None:
        self._tell(instrument, [each for each in found.checks if not each.equal])
        await asyncio.to_thread(
            self._book.record, instrument, found.checks, self._clock_ns(), until=found.until, unanswered=found.unanswered
        )
        await self._refresh(instrument)

    async def _refresh(self, instrument: Instrument) -> None:
        sums = await asyncio.to_thread(self._book.sums, instrument)
        if sums:
            self.sums[instrument] = sums

    def _tell(self, instrument: Instrument, differing: list[KlineCheck]) -> None:
        """One line for all. Minutes that we know to lack something, or to be cut short, are expected to differ."""
        unexplained = [each for each in differing if each.unexplained]
        if not differing:
            return
        say, example = (self._log.warning, unexplained[-1]) if unexplained else (self._log.info, differing[-1])
        say(
            "minutes differ from the venue's klines",
            symbol=instrument.symbol,
            count=len(differing),
            unexplained=len(unexplained),
            minute=minute_text(example.minute),
            status=example.status,
            **example.told(),
        )

    def _failed(self, instrument: Instrument, error: str, retry_after_s: float) -> None:
        wait_s = max(self._delays[instrument].next_s(), retry_after_s)
        self._not_before[instrument] = self._clock_ns() + int(wait_s * NS_PER_S)
        self._log.warning("kline check failed", symbol=instrument.symbol, error=error, again_in_s=round(wait_s, 1))

    def _before(self, age_s: float) -> int:
        """The minute before which (without it) all ended at least `age_s` ago."""
        return minute_of(self._clock_ns() - int(age_s * NS_PER_S))
