"""The entries of `collect` that this process collects, each with tasks of its own: one may begin or end beside the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from sinks.ledger.ledger import Ledger
from spillway.app import App
from spillway.collecting import Collection, Places
from spillway.gap_keeper import GapKeeper
from spillway.klines import KlineChecker, KlineRules, StoredMinutes
from spillway.settings import Collect
from spillway.sources import VenueSource
from spillway.supervise import essential, restarted
from spillway.tally import Tally

CHECK_S = 60.0  # between two looks at a venue's klines, at least


@dataclass(slots=True)
class Crew:
    """One entry's collection, who checks its minutes, and their tasks by name."""

    collection: Collection
    checker: KlineChecker | None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)


@dataclass(slots=True)
class Roster:
    """All crews of a service. `collections`, `checkers` and `tasks` are what others read of them: always the same objects."""

    app: App
    ledger: Ledger | None
    places: Places
    stop: asyncio.Event
    tally: Tally
    collections: list[Collection] = field(default_factory=list)
    checkers: list[KlineChecker] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    has_collected: bool = False  # by crews that have ended
    _crews: list[Crew] = field(default_factory=list)
    _gap_logs: dict[str, GapKeeper] = field(default_factory=dict)  # by venue: what waits for a ledger outlives an entry

    def enter(self, entries: Iterable[Collect]) -> list[Crew]:
        """Crews for these entries; they don't run yet. BadValue, and none is entered, where one can't be collected."""
        crews = [self._crew(entry) for entry in entries]
        self._add(crews)
        return crews

    def begin(self, crews: Iterable[Crew], group: asyncio.TaskGroup) -> None:
        """Starts them as tasks of `group`."""
        for crew in crews:
            venue = crew.collection.entry.venue
            name = self._free(f"collect {venue}")
            collecting = partial(crew.collection.run, crew.stop)
            self._start(crew, name, essential(name, collecting, self.stop, crew.stop), group)
            if crew.checker:
                name = self._free(f"klines {venue}")
                self.tally.restarts[name] = 0
                checking = partial(until_stop, crew.stop, partial(crew.checker.run, crew.stop))
                self._start(crew, name, restarted(name, checking, crew.stop, self.tally.restarted), group)

    async def run(self) -> None:
        """Ends all crews once the service stops."""
        await self.stop.wait()
        for crew in self._crews:
            crew.stop.set()

    async def change(self, entries: Sequence[Collect], group: asyncio.TaskGroup) -> tuple[list[Collect], list[Collect]]:
        """Collects these entries from now on: which ones began, and which ones ended.

        What is the same goes on untouched. What isn't there any more ends first, in order: it takes no more, writes what came,
        and gives its leases up; an entry that has changed then begins anew, and fetches what it missed as after a reconnect.
        BadValue, and nothing has changed, where an entry can't be collected.
        """
        wanted = [same(entry) for entry in entries]
        kept = [crew for crew in self._crews if same(crew.collection.entry) in wanted]
        known = [same(crew.collection.entry) for crew in kept]
        fresh = [self._crew(entry) for entry in entries if same(entry) not in known]
        gone = [crew for crew in self._crews if crew not in kept]
        await self._end(gone)
        if self.stop.is_set():
            return [], []
        self._remove(gone)
        self._add(fresh)
        self._hand_over(gone)
        self.begin(fresh, group)
        return [crew.collection.entry for crew in fresh], [crew.collection.entry for crew in gone]

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _start(self, crew: Crew, name: str, work: Coroutine[Any, Any, None], group: asyncio.TaskGroup) -> None:
        self.tasks[name] = crew.tasks[name] = group.create_task(work, name=name)

    def _add(self, crews: Sequence[Crew]) -> None:
        self._crews += crews
        self.collections += [crew.collection for crew in crews]
        self.checkers += [crew.checker for crew in crews if crew.checker]

    async def _end(self, crews: Sequence[Crew]) -> None:
        """Returns when they have ended; where one fails the whole service ends."""
        for crew in crews:
            crew.stop.set()
        if tasks := [task for crew in crews for task in crew.tasks.values()]:
            await asyncio.wait(tasks)

    def _remove(self, crews: Sequence[Crew]) -> None:
        for crew in crews:
            self._crews.remove(crew)
            self.collections.remove(crew.collection)
            if crew.checker:
                self.checkers.remove(crew.checker)
            for name in crew.tasks:
                del self.tasks[name]
                self.tally.restarts.pop(name, None)

    def _hand_over(self, gone: Sequence[Crew]) -> None:
        """What the ended ones counted stays counted as long as their venue, or their symbol, is collected."""
        for ended in (crew.collection for crew in gone):
            self.has_collected |= ended.total("trades") > 0
            heirs = [each for each in self.collections if each.entry.venue == ended.entry.venue]
            for heir in heirs:
                heir.count_on(ended, totals=heir is heirs[0])

    def _free(self, name: str) -> str:
        """The name, with a number where it is taken: a venue may stand in the settings more than once."""
        return next(each for n in count(1) if (each := name if n == 1 else f"{name} {n}") not in self.tasks)

    def _crew(self, entry: Collect) -> Crew:
        collection = Collection(self.app, entry, self._gap_log(entry.venue), self.places)
        return Crew(collection, self._checker(collection))

    def _checker(self, collection: Collection) -> KlineChecker | None:
        """Who holds the venue's minutes against its own account of them, as far as this process writes them."""
        source, symbols = collection.source, collection.entry.symbols
        if self.ledger is None or not isinstance(source, VenueSource) or source.venue.klines_path(symbols[0], 0, 1) is None:
            return None
        return KlineChecker(
            venue=source.venue,
            symbols=symbols,
            get=partial(source.rest.get, urgent=False),
            minutes=StoredMinutes(self.app.window, self.app.keeper),
            book=self.ledger.klines,
            mine=lambda instrument: instrument.symbol in collection.feeds,
            rules=KlineRules(every_s=max(CHECK_S, 2 * len(symbols) / source.venue.limits.requests_per_s)),
        )

    def _gap_log(self, venue: str) -> GapKeeper | None:
        if self.ledger is None:
            return None
        return self._gap_logs.setdefault(venue, GapKeeper(self.ledger.gaps, venue, time.time_ns))


def same(entry: Collect) -> Collect:
    """An entry, equal for all that mean the same: the order of symbols makes no difference."""
    return entry.model_copy(update={"symbols": tuple(sorted(entry.symbols))})


async def until_stop(stop: asyncio.Event, part: Callable[[], Awaitable[None]]) -> None:
    """A part that is left as it is at `stop`: a request may have long to wait until the venue wants to hear from us."""
    running, stopping = asyncio.ensure_future(part()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
