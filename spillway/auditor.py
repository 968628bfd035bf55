"""Audits what this process writes, one instrument after the other, at leisure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from pipeline.errors import SpillwayError, StorageError
from pipeline.feed import Feed
from pipeline.instrument import Instrument
from spillway.app import App
from spillway.audit import Audit
from spillway.collecting import Collection, pause

AUDIT_S = 60.0  # between two audits of an instrument, at least
MOST_HELD = 300_000  # minutes remembered by all audits together: some 80 MB
LEISURE = 4.0  # times as long as an audit took, nothing is audited

log = structlog.get_logger()


@dataclass(slots=True)
class Auditor:
    """The audits of a service's instruments. `collections` may grow."""

    app: App
    collections: Sequence[Collection]
    stop: asyncio.Event
    audits: dict[Instrument, Audit] = field(default_factory=dict)

    async def run(self, now_ns: int) -> None:
        """Audits all instruments that are written here now. StorageError, at the end, where one could not be audited."""
        failures = []
        self._forget()
        for instrument, feed in self._written():
            began = time.monotonic()
            try:
                await self._audit(instrument, feed)
            except SpillwayError as error:
                failures.append(f"{instrument}: {error}")
            await pause(self.stop, LEISURE * (time.monotonic() - began))
            if self.stop.is_set():
                break
        if failures:
            raise StorageError(f"{len(failures)} instruments could not be audited: {failures[0]}")

    async def _audit(self, instrument: Instrument, feed: Feed) -> None:
        audit = self.audits.setdefault(instrument, Audit(self.app, instrument))
        before = audit.imbalance
        done = await audit.run(time.time_ns(), lambda: (id(feed.writer), feed.writer.counts.rewinds))
        if not done:
            log.info("audit put off: too much changed meanwhile", instrument=str(instrument))
        if audit.imbalance != before:
            found = {name: str(value) for name, value in audit.imbalance._asdict().items()}
            tell = log.info if audit.is_balanced else log.error
            tell("imbalance: what is kept less what was accepted", instrument=str(instrument), **found)
        if sum(each.held for each in self.audits.values()) > MOST_HELD:
            audit.forget()

    def _forget(self) -> None:
        """Instruments that the settings don't name any more."""
        named = {Instrument(c.entry.venue, symbol) for c in self.collections for symbol in c.entry.symbols}
        for instrument in self.audits.keys() - named:
            del self.audits[instrument]

    def _written(self) -> list[tuple[Instrument, Feed]]:
        return [(Instrument(c.entry.venue, symbol), feed) for c in self.collections for symbol, feed in c.feeds.items()]
