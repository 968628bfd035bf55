"""A recording while it is written: a gzip file of whole members, each made durable, that no reader takes for a finished tape.

Every sync ends a gzip member, so that what stands before it is a whole gzip file whatever happens to the rest. It is named
`NAME.gz.part` and locked until it is finished; a part that nobody holds was left by a dead process, and `recover` finishes it.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sinks.durable import FILE_MODE, explained, failure, make_folder, rename, replace_durably, sync_folder

PART = ".part"
DAMAGED = ".damaged"
LEVEL = 1  # 300 MB/s of trade frames, 11 to 1; 6 would be 14 to 1 at a third of that
_GZIP_WBITS = 31  # zlib's number for "gzip, with its header and checksum"
_READ_BYTES, _UNPACKED_BYTES = 1 << 20, 1 << 22


class PartFile:
    """One recording, from its first line to its end. Every method may raise StorageError; then only `abandon` is left."""

    def __init__(self, path: Path) -> None:
        """Begins the recording that will be `path`."""
        self.path = path
        self.size = 0  # bytes on the disk, or on their way to it
        self._part = path.with_name(path.name + PART)
        self._packer: zlib._Compress | None = None
        make_folder(path.parent)
        with explained(self._part, "made"):
            self._handle = _made(self._part)

    def write(self, lines: bytes) -> None:
        """Whole lines; durable after the next `sync`."""
        if self._packer is None:
            self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WBITS)
        self._append(self._packer.compress(lines))

    def sync(self) -> None:
        """Makes all lines so far durable."""
        if self._packer is None:
            return
        packer, self._packer = self._packer, None
        self._append(packer.flush())
        with explained(self._part, "made durable"):
            os.fsync(self._handle)

    def finish(self) -> Path:
        """Gives the recording its name: from now on it is a tape."""
        self.sync()
        rename(self._part, self.path)
        sync_folder(self.path.parent)
        self.abandon()
        return self.path

    def abandon(self) -> None:
        """Lets go of the file as it is: the next `recover` keeps what is whole."""
        with suppress(OSError):  # what it could tell was told by the sync
            os.close(self._handle)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        with explained(self._part, "written"):
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        self.size += len(data)


def recover(folder: Path) -> Iterator[Path]:
    """Finishes the recordings that dead processes left under `folder`, each at its last whole member; gives their names.

    One that holds no whole member was never synced, and goes. Bytes that no crash explains are kept beside as `.damaged`.
    """
    for part in sorted(folder.glob(f"**/*{PART}")):
        with _claimed(part) as handle:
            if handle is not None and (found := _finished(part, handle)):
                yield found


def _finished(part: Path, handle: int) -> Path | None:
    with explained(part, "recovered"):
        good, cut_off = _whole_members(handle)
        size = os.fstat(handle).st_size
    path = part.with_name(part.name.removesuffix(PART))
    if not cut_off:
        replace_durably(path.with_name(path.name + DAMAGED), os.pread(handle, size - good, good))
    with explained(part, "recovered"):
        if not good:
            part.unlink()
            return None
        os.truncate(handle, good)
        os.fsync(handle)
    rename(part, path)
    sync_folder(path.parent)
    return path


def _whole_members(handle: int) -> tuple[int, bool]:
    """How many of the first bytes are whole gzip members; and whether what follows is but the begin of another one."""
    good = at = 0
    member = zlib.decompressobj(_GZIP_WBITS)
    while packed := os.pread(handle, _READ_BYTES, at):
        try:
            rest = _through(member, packed)
        except zlib.error:
            return good, False
        at += len(packed) - len(rest)
        if member.eof:
            good, member = at, zlib.decompressobj(_GZIP_WBITS)
    return good, True


def _through(member: zlib._Decompress, packed: bytes) -> bytes:
    """Unpacks into nothing, a little at a time; returns what stands behind the member's end."""
    while packed and not member.eof:
        member.decompress(packed, _UNPACKED_BYTES)
        packed = member.unconsumed_tail
    return member.unused_data


def _made(part: Path) -> int:
    """A new, locked file. `recover` may have taken it for a dead one's before it was locked, and removed it: then again."""
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, part):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


@contextmanager
def _claimed(part: Path) -> Iterator[int | None]:
    """The part's descriptor, held; None where a living process holds it, or it is gone."""
    try:
        handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise failure(error, part, "opened") from error
    try:
        yield handle if _locked(handle) and _is_at(handle, part) else None
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
