"""Files that are there whole or not at all, also after a power cut; and the locks of those who write them.

The only place where `sinks` meets the disk's errors: they leave it as StorageError or DiskFull, one line with the path and the
reason. A file is written under a temporary name in its own folder, fsynced and renamed; its name is durable once the folder
is fsynced too, which `replace_durably` does at once and who writes many files does once for all of them (`sync_folder`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from pipeline import crash
from pipeline.errors import DiskFull, JobRunning, StorageError

TEMPORARY = ".tmp-"  # readers of Parquet folders skip names that begin with a dot
FILE_MODE, FOLDER_MODE = 0o640, 0o750
Data: TypeAlias = bytes | memoryview
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class _LostWrite(Exception):
    """The fsync failed: the kernel may have dropped the pages, and a second fsync of the same file would lie."""


def failure(error: OSError, path: Path, doing: str) -> StorageError:
    """An operating system's error as one of ours: `PATH: can't be DOING: REASON`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_ROOM:
        return DiskFull(f"{path}: can't be {doing}: the disk is full ({reason})")
    return StorageError(f"{path}: can't be {doing}: {reason}")


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turns an OSError of its body into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        raise failure(error, path, doing) from error


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, each durable in its parent."""
    with explained(path, "made"):
        missing = [path] if not path.is_dir() else []
        while missing and not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for folder in reversed(missing):
            folder.mkdir(FOLDER_MODE, exist_ok=True)
            _fsync_folder(folder.parent)


def private(name: str, flags: int) -> int:
    """An opener for `open`: a file that it makes is not for everybody, and a link is not followed."""
    return os.open(name, flags | os.O_NOFOLLOW, FILE_MODE)


def sync_folder(path: Path, root: Path | None = None) -> None:
    """Makes the names in a folder durable; with `root`, also the folder's own name and those of all above it up to `root`."""
    with explained(path, "made durable"):
        _fsync_folder(path)
        while root is not None and path not in (root, path.parent):
            path = path.parent
            _fsync_folder(path)


@contextmanager
def staged(path: Path, data: Data) -> Iterator[Path]:
    """Gives the name of a temporary file beside `path` that durably holds `data`; the caller renames it, else it is removed."""
    with explained(path, "written"):
        try:
            temporary = _write_temporary(path, data)
        except _LostWrite:
            temporary = _write_again(path, data)
    try:
        yield temporary
    finally:
        _remove(temporary)


@contextmanager
def streamed(path: Path) -> Iterator[Path]:
    """Gives the name of an empty temporary file beside `path`, for who writes it piece by piece: see `settle_streamed`."""
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with explained(path, "written"):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
            crash.point("file.created")
            yield temporary
    finally:
        _remove(temporary)


def settle_streamed(temporary: Path, path: Path) -> None:
    """Makes a streamed file durable and puts it under its final name."""
    with explained(path, "written"):
        handle = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(handle)  # where it fails the file is lost: the job fails, and writes it anew the next time
        finally:
            os.close(handle)
    crash.point("file.written")
    rename(temporary, path)


def rename(temporary: Path, path: Path) -> None:
    """Puts a staged file under its final name, in place of what was there."""
    with explained(path, "put in place"):
        os.rename(temporary, path)
    crash.point("file.renamed")


def write_new(path: Path, data: Data) -> None:
    """Makes `data` the file's content. The name is not durable before its folder is: see `sync_folder`."""
    with staged(path, data) as temporary:
        rename(temporary, path)


def replace_durably(path: Path, data: Data) -> None:
    """Makes `data` the file's content: after this returns it survives a power cut; before, the old content does."""
    write_new(path, data)
    sync_folder(path.parent)


def read_whole(path: Path) -> tuple[bytes, os.stat_result] | None:
    """A file's bytes and what the system says of it; None where there is none. What is no regular file is refused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure(error, path, "read") from error
    try:
        with explained(path, "read"):
            return _read_open(handle, path)
    finally:
        os.close(handle)


@contextmanager
def folder_lock(folder: Path) -> Iterator[int]:
    """Holds the folder against all others that look before they replace or delete in it; gives its descriptor."""
    with explained(folder, "locked"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with explained(folder, "locked"):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def job_lock(folder: Path, name: str) -> Iterator[None]:
    """Holds the job `name` on a folder; JobRunning names the process that holds it already. Ends with the process."""
    make_folder(folder)
    path = folder / f".{name}.lock"
    with explained(path, "opened"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    try:
        _take(handle, folder, name)
        with explained(path, "written"):
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def remove_stale(folders: Iterable[Path]) -> list[Path]:
    """Removes temporary files that a dead run left. Only for who holds the lock of all that write there."""
    stale = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob(f"{TEMPORARY}*"))]
    for path in stale:
        with explained(path, "removed"):
            path.unlink(missing_ok=True)
    return stale


def remove_empty(folder: Path) -> None:
    """Removes a folder that nothing lies in."""
    with explained(folder, "removed"):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return
        _fsync_folder(folder.parent)


def require_room(folder: Path, needed: int) -> None:
    """DiskFull, before anything is written, where the file system has less than `needed` bytes left."""
    with explained(folder, "asked for its free space"):
        system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    if free < needed:
        raise DiskFull(f"{folder}: {needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free: nothing was begun")


def _take(handle: int, folder: Path, name: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise JobRunning(f"{name}: process {holder} runs it already on {folder}") from None
    except OSError as error:
        raise failure(error, folder / f".{name}.lock", "locked") from error


def _read_open(handle: int, path: Path) -> tuple[bytes, os.stat_result]:
    """Few system calls: at each, threads that read beside each other hand over the interpreter."""
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        raise StorageError(f"{path}: can't be read: it is not a regular file")
    data = os.read(handle, facts.st_size + 1)
    while len(data) < facts.st_size and (more := os.read(handle, facts.st_size - len(data))):
        data += more
    return data, facts


def _write_temporary(path: Path, data: Data) -> Path:
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        crash.point("file.created")
        _write_all(handle, data)
        _fsync_file(handle)
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(handle)
    crash.point("file.written")
    return temporary


def _write_all(handle: int, data: Data) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _write_again(path: Path, data: Data) -> Path:
    try:
        return _write_temporary(path, data)
    except _LostWrite as lost:
        raise StorageError(f"{path}: can't be written: its fsync failed twice ({lost.__cause__})") from lost


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # what can't be removed now is removed by the next run; the error that led here matters more
        temporary.unlink()


def _fsync_file(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise _LostWrite from error


def _fsync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
