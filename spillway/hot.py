"""The window as a reader sees it: the minutes that are in Redis now. It is looked for again while there is none yet."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from pipeline import codec
from pipeline.codec import Parts
from pipeline.instrument import Instrument
from pipeline.minute import minute_of, minute_text
from pipeline.window import RedisWindow
from spillway.loop_thread import LoopThread
from spillway.redis_server import RunningRedis, ensure_embedded
from spillway.settings import Settings

T = TypeVar("T")
AT_ONCE = 512  # sealed minutes fetched from Redis in one answer
_TAPE = "tape"


class HotMinutes:
    """Reads the window of one data folder. Thread-safe, except `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: RunningRedis | None = None
        self._window: RedisWindow | None = None
        self._loop = LoopThread()
        if not settings.redis.embedded:
            self._window = RedisWindow.connect(settings.redis.connection_url)
            self._run(self._window.check())

    def instruments(self) -> list[Instrument]:
        """All that ever had a writer here."""
        window = self._connected()
        return self._run(window.instruments()) if window else []

    def between(self, instrument: Instrument, first: int, last: int) -> list[tuple[int, Parts]]:
        """The minutes from `first` up to, and without, `last`: open ones as they stand, and then the sealed ones."""
        window = self._connected()
        return self._run(_between(window, instrument, first, last)) if window else []

    def minutes(self, instrument: Instrument) -> list[int]:
        """Which minutes there are, in no order."""
        window = self._connected()
        return self._run(_minutes(window, instrument)) if window else []

    def newest_of_tape(self, instrument: Instrument) -> int | None:
        """The minute that a tape's own clock shows; None where the wall's clock counts."""
        window = self._connected()
        cursor = self._run(window.cursor(instrument)) if window else None
        return minute_of(cursor.state.watermark_ns) if cursor and cursor.state.clock == _TAPE else None

    def close(self) -> None:
        """Lets go of Redis."""
        if self._window:
            self._run(self._window.close())
        self._loop.close()
        if self._server:
            self._server.release()
        self._window = self._server = None

    def _connected(self) -> RedisWindow | None:
        """Without a folder of Redis's nothing was ever in the window, and reading needn't start a server."""
        if self._window is None and self._settings.redis.embedded and self._settings.redis_dir.is_dir():
            self._server = ensure_embedded(self._settings.redis_dir)
            self._window = RedisWindow.connect(self._server.url)
        return self._window

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)


async def _minutes(window: RedisWindow, instrument: Instrument) -> list[int]:
    cursor = await window.cursor(instrument)
    return [*(cursor.state.open_minutes if cursor else ()), *await window.sealed_minutes(instrument)]


async def _between(window: RedisWindow, instrument: Instrument, first: int, last: int) -> list[tuple[int, Parts]]:
    found = []
    for minute in await window.open_minutes(instrument):
        if first <= minute.start < last:
            where = f"{instrument} {minute_text(minute.start)} in Redis"
            found.append((minute.start, codec.split(codec.encode(minute), where)))
    sealed = [m for m in await window.sealed_minutes(instrument) if first <= m < last]
    for at in range(0, len(sealed), AT_ONCE):
        for start, value in (await window.sealed(instrument, sealed[at : at + AT_ONCE])).items():
            where = f"{instrument} {minute_text(start)} in Redis"
            found.append((start, codec.split(codec.decompress(value, where), where)))
    return found
