"""Where an entry of `collect` gets its trades from: a venue that we speak with ourselves, or any other by ccxt."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from collectors.asking import GapLog, OnReject, RepairRules, TradeSink
from collectors.ccxt_exchange import PREFIX, require_exchange
from collectors.ccxt_live import CcxtCollector
from collectors.connection import Limits
from collectors.delays import Delays
from collectors.live import LiveCollector
from collectors.pace import Pace
from collectors.rest import RestClient
from collectors.venues.venue import VENUES, Venue, venue_of
from pipeline.errors import BadValue
from pipeline.instrument import IdRule
from sinks.recording import Recorder
from spillway.settings import Collect, Settings

CCXT_SYMBOLS = 50  # to a collector: ccxt opens the connections itself

AnyCollector = LiveCollector | CcxtCollector


@dataclass(frozen=True, slots=True)
class Tuning:
    """How patient the collectors are; None for what is usual."""

    limits: Limits | None = None
    rules: RepairRules | None = None
    delays: Callable[[], Delays] = Delays
    requests_per_s: float | None = None
    connects_per_s: float | None = None


@dataclass(slots=True)
class VenueSource:
    """A venue that we speak with ourselves. Its collectors share what the venue counts by address: requests and connects."""

    entry: Collect
    venue: Venue
    settings: Settings
    log: FilteringBoundLogger
    tuning: Tuning
    recorder: Recorder | None = None
    rest: RestClient = field(init=False)
    _connects: Pace = field(init=False)

    def __post_init__(self) -> None:
        limits = self.venue.limits
        self.rest = RestClient.within(limits, self.entry.rest_url or self.venue.rest_url, self.tuning.requests_per_s)
        self._connects = Pace(self.tuning.connects_per_s or limits.connects_per_s)

    @property
    def ids(self) -> IdRule:
        """What its trade ids prove."""
        return self.venue.ids

    @property
    def stream(self) -> str:
        """Which of the venue's id sequences is collected."""
        return self.venue.stream

    @property
    def most(self) -> int:
        """How many symbols one connection may carry."""
        return self.venue.limits.symbols_per_connection

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """REST, and the recording if there is one."""
        async with self.rest:
            if not self.entry.record:
                yield
                return
            self.recorder = Recorder(self.settings.recording_dir, venue=self.entry.venue, clock_ns=time.time_ns)
            try:
                yield
            finally:
                await self.recorder.close()

    def collector(
        self, symbols: Sequence[str], sinks: Mapping[str, TradeSink], reject: OnReject, gap_log: GapLog | None
    ) -> AnyCollector:
        """One connection's collector."""
        return LiveCollector(
            venue=self.venue,
            symbols=symbols,
            ws_url=self.entry.ws_url,
            rest=self.rest,
            connects=self._connects,
            sinks=sinks,
            reject=reject,
            record=self.recorder.put if self.recorder else None,
            gap_log=gap_log,
            clock_ns=time.time_ns,
            log=self.log,
            limits=self.tuning.limits,
            rules=self.tuning.rules,
            delays=self.tuning.delays(),
        )


@dataclass(slots=True)
class CcxtSource:
    """Any exchange that ccxt pro knows. Frames can't be recorded."""

    entry: Collect
    log: FilteringBoundLogger
    tuning: Tuning
    recorder: Recorder | None = None

    @property
    def ids(self) -> IdRule:
        """Nothing."""
        return CcxtCollector.ids

    @property
    def stream(self) -> str:
        """Single trades."""
        return CcxtCollector.stream

    @property
    def most(self) -> int:
        """How many symbols one of ccxt's exchanges is given."""
        return CCXT_SYMBOLS

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Nothing is shared."""
        yield

    def collector(
        self, symbols: Sequence[str], sinks: Mapping[str, TradeSink], reject: OnReject, gap_log: GapLog | None
    ) -> AnyCollector:
        """A collector with an exchange of its own. BadValue where ccxt or the exchange isn't there."""
        return CcxtCollector(
            exchange_id=self.entry.venue.removeprefix(PREFIX),
            symbols=symbols,
            sinks=sinks,
            reject=reject,
            gap_log=gap_log,
            clock_ns=time.time_ns,
            log=self.log,
            delays=self.tuning.delays(),
            rules=self.tuning.rules,
        )


Source = VenueSource | CcxtSource


def source_of(entry: Collect, settings: Settings, log: FilteringBoundLogger, tuning: Tuning) -> Source:
    """The source of an entry. BadValue for a venue that is none, or for what ccxt can't do."""
    if not entry.venue.startswith(PREFIX):
        return VenueSource(entry, venue_of(entry.venue), settings, log, tuning)
    if entry.ws_url or entry.rest_url or entry.record:
        raise BadValue(f"collect: {entry.venue}: ws_url, rest_url and record can't be had with ccxt")
    return CcxtSource(entry, log, tuning)


def check_venues(entries: Sequence[Collect]) -> None:
    """BadValue for a venue that can't be collected."""
    for entry in entries:
        if entry.venue.startswith(PREFIX):
            require_exchange(entry.venue.removeprefix(PREFIX))
        if entry.venue not in VENUES and not entry.venue.startswith(PREFIX):
            raise BadValue(
                f"collect: venue {entry.venue!r} can't be collected live: expected one of {', '.join(sorted(VENUES))}, "
                f"or {PREFIX}<exchange> for any that ccxt knows"
            )
