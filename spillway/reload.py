"""Loads the settings again while the service runs: when it is told to, or when their file has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from collectors.waiting import unless
from pipeline.errors import BadValue, SpillwayError
from spillway.app import App
from spillway.settings import Collect, Settings, load_settings
from spillway.sources import check_venues
from spillway.systemd import US_PER_S, Notices
from spillway.tally import Tally

LOOK_S = 2.0  # between two looks at the file
NS_PER_US = 10**9 // US_PER_S

log = structlog.get_logger()

Stamp = tuple[int, int, int] | None  # of a file that is there: inode, time of its last change in ns, bytes
Change = Callable[[Sequence[Collect]], Awaitable[tuple[list[Collect], list[Collect]]]]  # entries -> begun, ended


@dataclass(slots=True)
class SettingsFile:
    """The file that the settings come from, if there is one, with the environment and the arguments of this process."""

    config: Path | None
    data: Path | None
    _loaded: Stamp = None
    _seen: Stamp = None

    def load(self) -> Settings:
        """The settings as they are now. SettingsError."""
        self._loaded = self._seen = self._stamp()  # before it is read: what is written from now on is a change
        return load_settings(self.config, self.data)

    def changed(self) -> bool:
        """Whether the file is another than the one loaded, and stayed so for one look: who writes it may not be done yet."""
        before, self._seen = self._seen, self._stamp()
        return self._seen == before != self._loaded

    def _stamp(self) -> Stamp:
        try:
            found = self.config.stat() if self.config else None
        except OSError:
            found = None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


@dataclass(slots=True)
class Reloader:
    """Brings what is collected to what the settings say. Whatever else changed waits for the next start, and is told."""

    app: App
    source: SettingsFile
    change: Change
    notices: Notices
    tally: Tally
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # by a signal

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until `stop`. Settings that can't be used are told in one line, and all goes on as before."""
        while not stop.is_set():
            if self.asked.is_set() or await asyncio.to_thread(self.source.changed):
                self.asked.clear()
                await self.reload()
            await unless(stop, self.asked.wait(), LOOK_S)

    async def reload(self) -> None:
        """Once, now."""
        self.tally.reloads += 1
        self.notices.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // NS_PER_US}")
        try:
            await self._apply(await asyncio.to_thread(self._load))
        except SpillwayError as error:
            self.tally.reload_failures += 1
            log.error("settings not reloaded, all goes on as before", error=str(error))
        finally:
            self.notices.tell("READY=1")

    def _load(self) -> Settings:
        settings = self.source.load()
        check_entries(settings.collect)
        return settings

    async def _apply(self, settings: Settings) -> None:
        begun, ended = await self.change(settings.collect)
        waiting = changed_keys(self.app.settings, settings)
        self.app.settings = self.app.settings.model_copy(update={"collect": settings.collect})
        if waiting:
            log.warning("settings changed that need a restart", keys=waiting)
        log.info("settings reloaded", begun=_told(begun), ended=_told(ended))


def check_entries(entries: Sequence[Collect]) -> None:
    """BadValue where nothing is to be collected, or what can't be."""
    check_venues(entries)
    if not entries:
        raise BadValue("collect: nothing to collect: expected at least one venue with symbols in the settings")


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The settings that differ, but for what is collected: dotted paths, never values."""
    return list(_differing(before.model_dump(exclude={"collect"}), after.model_dump(exclude={"collect"})))


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    for key, value in before.items():
        if isinstance(value, Mapping):
            yield from (f"{key}.{below}" for below in _differing(value, after[key]))
        elif value != after[key]:
            yield key


def _told(entries: Iterable[Collect]) -> list[str]:
    return [f"{entry.venue} {symbol}" for entry in entries for symbol in entry.symbols]
