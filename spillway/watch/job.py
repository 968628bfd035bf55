"""`spillway watch`: looks twice a second, and shows what it saw, until Ctrl-C; or looks once, for pipes and machines."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal

from rich.console import Console, Group
from rich.live import Live

from pipeline.errors import BadValue, RedisUnavailable, SpillwayError
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_S
from pipeline.window import RedisWindow
from spillway.command import show
from spillway.redis_server import socket_url
from spillway.settings import Settings
from spillway.watch.board_view import board_view, rows_for
from spillway.watch.facts import Board, Building
from spillway.watch.footprint_view import columns_for, footprint_view
from spillway.watch.reading import Reading

PERIOD_S = 0.5
ANSWER_S = 2.0  # so long Redis has for an answer
LEAVE_S = 1.0  # so long it has for the last one, once we are asked to leave
PIPE_WIDTH = 120
RUNNING = "is `spillway run` running?"

Seen = Board | Building


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show: all instruments, those of a venue, or one. BadValue for what can't be."""

    venue: str | None = None
    symbol: str | None = None
    tick: Decimal | None = None

    def __post_init__(self) -> None:
        if self.symbol is not None and self.venue is None:
            raise BadValue(f"--symbol {self.symbol}: expected its --venue too")
        if self.tick is not None and self.symbol is None:
            raise BadValue("--tick: expected --venue and --symbol too: it is the height of a footprint's rows")
        Instrument("any" if self.venue is None else self.venue, "any" if self.symbol is None else self.symbol)

    @property
    def instrument(self) -> Instrument | None:
        """The one whose footprint is shown."""
        return Instrument(self.venue, self.symbol) if self.venue and self.symbol else None


@dataclass(slots=True)
class Watcher:
    """Looks at one Redis; what it can't see now it shows as it was, and says why. Nothing is started or written."""

    settings: Settings
    wanted: Wanted
    _window: RedisWindow = field(init=False)
    _reading: Reading = field(init=False)
    _seen: Seen | None = None

    def __post_init__(self) -> None:
        redis = self.settings.redis
        url = socket_url(self.settings.redis_dir) if redis.embedded else redis.connection_url
        self._window = RedisWindow.connect(url, timeout_s=ANSWER_S)
        self._begin()

    async def look(self, now_ns: int, width: int, height: int | None) -> Seen:
        """What there is now. RedisUnavailable, WindowError, DamagedMinute."""
        instrument = self.wanted.instrument
        if instrument:
            return await self._reading.building(now_ns, instrument, columns_for(width))
        return await self._reading.board(now_ns, self.wanted.venue, None if height is None else rows_for(width, height))

    async def look_again(self, now_ns: int, width: int, height: int) -> Seen:
        """What there is now, or what there was before, with the reason why it isn't up to date."""
        try:
            self._seen = await self.look(now_ns, width, height)
        except SpillwayError as error:
            self._seen = self._as_it_was(f"{error}; trying again")
            self._begin()  # whatever comes back needn't be what it was
        return self._seen

    def waiting(self, so_long_ns: int) -> Seen:
        """What there was before, while Redis lets us wait."""
        late = f"Redis at {self._window.name} has not answered for {so_long_ns / NS_PER_S:.0f} s; waiting"
        return self._as_it_was(late if so_long_ns >= NS_PER_S else None)

    def picture(self, seen: Seen, width: int, height: int | None) -> Group:
        """How it looks."""
        if isinstance(seen, Building):
            return footprint_view(seen, width, height, self.wanted.tick)
        return board_view(seen, width, height)

    async def close(self) -> None:
        """Lets go of Redis, without waiting long for one that hangs."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._window.close(), LEAVE_S)

    def _begin(self) -> None:
        self._reading = Reading(self._window, self.settings.ledger_url)

    def _as_it_was(self, error: str | None) -> Seen:
        seen = self._seen or self._nothing()
        if isinstance(seen, Building):
            return replace(seen, board=replace(seen.board, error=error or seen.board.error))
        return replace(seen, error=error or seen.error)

    def _nothing(self) -> Seen:
        empty = Board(time.time_ns(), self._window.name)
        return Building(empty, self.wanted.instrument) if self.wanted.instrument else empty


async def watch(settings: Settings, wanted: Wanted) -> None:
    """Shows it on the terminal until SIGINT or SIGTERM."""
    watcher, console = Watcher(settings, wanted), Console(highlight=False)
    try:
        with _asked_to_stop() as stop, Live(console=console, screen=True, auto_refresh=False) as live:
            await _look_on(watcher, live, stop)
    finally:
        await watcher.close()


async def watch_once(settings: Settings, wanted: Wanted, as_json: bool) -> None:
    """Looks once, and prints it. BadValue for an instrument that isn't there."""
    watcher = Watcher(settings, wanted)
    try:
        seen = await watcher.look(time.time_ns(), PIPE_WIDTH, None)
    except RedisUnavailable as error:
        raise RedisUnavailable(f"{error} {RUNNING}") from None
    finally:
        await watcher.close()
    if isinstance(seen, Building) and not seen.minutes:
        raise BadValue(f"{seen.instrument}: nothing of it is in Redis at {seen.board.redis}; `spillway watch` shows what is")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH, highlight=False)
    picture = watcher.picture(seen, console.width, None)
    show(seen.as_dict(), as_lines(picture, console), as_json)


def as_lines(picture: Group, console: Console) -> list[str]:
    """A picture as lines, coloured if the console is a terminal."""
    with console.capture() as capture:
        console.print(picture)
    return [line.rstrip() for line in capture.get().splitlines()]


@contextmanager
def _asked_to_stop() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    try:
        yield stop
    finally:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)


async def _look_on(watcher: Watcher, live: Live, stop: asyncio.Event) -> None:
    """One picture a period, also while Redis keeps us waiting for what it holds."""
    looking, began_ns = None, 0
    while not stop.is_set():
        width, height = live.console.size
        if looking is None:
            began_ns = time.time_ns()
            looking = asyncio.create_task(watcher.look_again(began_ns, width, height))
        await asyncio.wait([looking], timeout=PERIOD_S)
        seen = watcher.waiting(time.time_ns() - began_ns)
        if looking.done():
            seen, looking = looking.result(), None
        live.update(watcher.picture(seen, width, height), refresh=True)
        rest_s = PERIOD_S - (time.time_ns() - began_ns) / NS_PER_S
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(rest_s, 0))
    if looking is not None:
        looking.cancel()
