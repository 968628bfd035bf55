"""Raw recording: every frame with its receive time, a line each, in gzip files that `replay` reads back to the same minutes.

    <folder>/<venue>/<YYYYMMDD>/<receive time of the first frame, ns>-<random>.gz      `<receive time, ns> <frame>`

All connections of a venue may share one recorder. What was put is durable within `sync_s`. A disk that fails stops the
recording, never the collection: that is logged and counted, and tried again with a new file after `retry_s`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import structlog
from structlog.typing import FilteringBoundLogger

from pipeline.errors import StorageError
from pipeline.instrument import path_name
from pipeline.trade import NS_PER_S
from sinks.part_file import PartFile, recover

__all__ = ["Recorder", "recover"]

MiB = 1 << 20
Batch: TypeAlias = tuple[Sequence[bytes], Sequence[int]]  # frames, and the receive time of each


class Recorder:
    """Records one venue's frames. Made and used in one event loop; it packs and writes in a thread of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        venue: str,
        clock_ns: Callable[[], int] = time.time_ns,
        max_bytes: int = 128 * MiB,
        max_age_s: float = 3600.0,
        sync_s: float = 1.0,
        retry_s: float = 30.0,
        backlog_bytes: int = 16 * MiB,
        patience_s: float = 5.0,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """`max_bytes`: of a file as it lies on disk. `backlog_bytes`: put and not yet written, above which `put` waits."""
        self.folder = folder / path_name(venue)
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(venue=venue, folder=str(self.folder))
        self._files = _Files(self.folder, clock_ns, max_bytes, int(max_age_s * NS_PER_S), sync_s, retry_s, self._log)
        self._name = f"record {venue}"
        self._sync_s, self._patience_s = sync_s, patience_s
        self._most, self._backlog = backlog_bytes, 0
        self._not_waited_for = 0  # frames
        self._batches: list[Batch] = []
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._closing = False
        self._worker: asyncio.Task[None] | None = None

    @property
    def frames(self) -> int:
        """Frames that are durable."""
        return self._files.frames

    @property
    def files(self) -> int:
        """Files that were finished."""
        return self._files.finished

    @property
    def failed(self) -> int:
        """How often the disk refused."""
        return self._files.failed

    @property
    def dropped_frames(self) -> int:
        """Frames that are in no recording, for the disk failed or was too slow."""
        return self._files.dropped + self._not_waited_for

    async def put(self, frames: Sequence[bytes], stamps: Sequence[int]) -> None:
        """Takes frames with their receive times in ns. Waits while the disk is behind; what it can't wait for is dropped."""
        if self._closing:
            raise StorageError(f"{self.folder}: this recording is closed")
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=self._name)
        if self._worker.done():
            await self._worker  # raises what ended it
        if self._backlog >= self._most and not await self._has_room():
            self._give_up(len(frames))
            return
        self._batches.append((frames, stamps))
        self._backlog += sum(map(len, frames))
        self._wake.set()

    async def close(self) -> None:
        """Writes what was put and finishes the file. Raises for no failure of the disk: `failed` tells of it."""
        self._closing = True
        self._wake.set()
        if self._worker is not None:
            await self._worker

    async def _has_room(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                while self._backlog >= self._most:
                    self._room.clear()
                    await self._room.wait()
        return self._backlog < self._most

    def _give_up(self, frames: int) -> None:
        if not self._not_waited_for:
            self._log.error("recording is behind: frames are dropped", waited_s=self._patience_s)
        self._not_waited_for += frames

    async def _work(self) -> None:
        """Until closed: what was put goes to the file, and every `sync_s` to the disk."""
        recovery, failed = self._recovery(), 0
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix=self._name) as thread:
            while self._batches or not self._closing:
                await self._woken()
                batches, self._batches = self._batches, []
                await loop.run_in_executor(thread, self._files.take, batches)
                self._backlog -= sum(len(frame) for frames, _ in batches for frame in frames)
                self._room.set()
                if self.failed > failed and recovery.done():
                    recovery, failed = self._recovery(), self.failed
            await loop.run_in_executor(thread, self._files.finish)
        await recovery
        if self.failed:
            await self._recovery()

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sync_s):
                await self._wake.wait()
        self._wake.clear()

    def _recovery(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._recover(), name=f"{self._name}: recover")

    async def _recover(self) -> None:
        try:
            for path in await asyncio.to_thread(lambda: list(recover(self.folder))):
                self._log.warning("finished a recording that was cut off", file=path.name)
        except StorageError as error:
            self._log.error("recordings can't be recovered", error=str(error))


@dataclass(slots=True)
class _Files:
    """The files that a recorder's thread writes, one after another."""

    folder: Path
    clock_ns: Callable[[], int]
    max_bytes: int
    max_age_ns: int
    sync_s: float
    retry_s: float
    log: FilteringBoundLogger
    frames: int = 0
    finished: int = 0
    failed: int = 0
    dropped: int = 0
    _file: PartFile | None = None
    _begun_ns: int = 0
    _unsynced: int = 0  # frames
    _synced_at: float = 0.0  # by the monotonic clock
    _retry_at: float = 0.0

    def take(self, batches: Sequence[Batch]) -> None:
        """Writes, and syncs or finishes the file where it is time. What the disk refuses is dropped and counted."""
        for frames, stamps in batches or [((), ())]:
            if self._file is None and time.monotonic() < self._retry_at:
                self.dropped += len(frames)
                continue
            self._unsynced += len(frames)
            try:
                if frames:
                    self._write(frames, stamps)
                self._sync_in_time()
            except StorageError as error:
                self._fail(error)

    def finish(self) -> None:
        """Ends the open file; the next frame begins another."""
        if self._file is None:
            return
        try:
            self._sync(self._file)
            self._file.finish()
        except StorageError as error:
            self._fail(error)
            return
        self._file = None
        self.finished += 1

    def _write(self, frames: Sequence[bytes], stamps: Sequence[int]) -> None:
        if self._file is None:
            self._file = PartFile(self._path(stamps[0]))
            self._begun_ns, self._synced_at = self.clock_ns(), time.monotonic()
        self._file.write(_lines(frames, stamps))

    def _sync_in_time(self) -> None:
        if self._file is None:
            return
        if self._file.size >= self.max_bytes or self.clock_ns() - self._begun_ns >= self.max_age_ns:
            self.finish()
        elif time.monotonic() - self._synced_at >= self.sync_s:
            self._sync(self._file)

    def _sync(self, file: PartFile) -> None:
        file.sync()
        self.frames += self._unsynced
        self._unsynced = 0
        self._synced_at = time.monotonic()

    def _fail(self, error: StorageError) -> None:
        """Lets go of the file: what was synced is whole, and the next recovery finishes it."""
        self.log.error("recording failed", error=str(error), dropped_frames=self._unsynced, retry_s=self.retry_s)
        self.failed += 1
        self.dropped += self._unsynced
        self._unsynced = 0
        file, self._file = self._file, None
        if file is not None:
            file.abandon()
        self._retry_at = time.monotonic() + self.retry_s

    def _path(self, first_ns: int) -> Path:
        day = f"{datetime.fromtimestamp(first_ns // NS_PER_S, UTC):%Y%m%d}"
        return self.folder / day / f"{first_ns}-{secrets.token_hex(4)}.gz"


def _lines(frames: Sequence[bytes], stamps: Sequence[int]) -> bytes:
    """A line for each frame. A newline in one becomes a carriage return: to JSON both are blanks, or both wrong in a string."""
    lines = b"".join([b"%d %b\n" % line for line in zip(stamps, frames, strict=True)])
    if lines.count(b"\n") == len(frames):
        return lines
    return _lines([frame.replace(b"\n", b"\r") for frame in frames], stamps)
