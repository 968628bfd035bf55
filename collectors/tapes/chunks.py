"""A tape's bytes, unpacked where need be, and cut at line ends. The only one of the tape modules that opens files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from collectors.tapes.unpack import GZIP, READ_BYTES, ZIP, Chunk, gunzipped, unzipped
from pipeline.errors import TapeError

__all__ = ["Chunk", "TapeBytes", "until_damage"]

MAX_LINE_BYTES = 1 << 25  # bounds what a file without line ends may cost; the longest frame that is recorded has half of it


class TapeBytes:
    """A file of recorded trades: plain, gzip or zip, told by its first bytes. Each method reads it anew from the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        with _errors_named(path):
            status = path.stat()
        if not S_ISREG(status.st_mode):
            raise TapeError(f"{path}: {'a folder' if path.is_dir() else 'no regular file'}; expected recorded trades")
        if not status.st_size:
            raise TapeError(f"{path}: the file is empty; expected recorded trades")
        self.total_bytes = status.st_size

    def pieces(self) -> Iterator[Chunk]:
        """The unpacked bytes as they come. A damaged or truncated file gives all that is before, then TapeError."""
        with _errors_named(self.path), self.path.open("rb") as file:
            magic = file.read(len(ZIP))
            file.seek(0)
            if magic.startswith(GZIP):
                yield from gunzipped(file, str(self.path), self.total_bytes)
            elif magic == ZIP:
                yield from unzipped(file, str(self.path), self.total_bytes)
            else:
                yield from _plain(file)

    def head(self, size: int) -> bytes:
        """The first `size` unpacked bytes, or all there are. TapeError only where there is none."""
        found = b""
        try:
            for piece in self.pieces():
                found += piece.data
                if len(found) >= size:
                    return found[:size]
        except TapeError:
            if not found:
                raise
        return found

    def lines(self, size: int) -> Iterator[Chunk]:
        """Whole lines, at least `size` bytes at a time; each ends in a newline. What damage cuts off is not a line."""
        parts: list[bytes] = []
        held = line = done = 0  # bytes that wait, and those of them since the last line end
        try:
            for piece in self.pieces():
                done, end = piece.done_bytes, piece.data.rfind(b"\n") + 1
                held, line = held + len(piece.data), len(piece.data) - end + (0 if end else line)
                if end and held >= size:
                    yield Chunk(b"".join((*parts, piece.data[:end])), done)
                    parts, held = [piece.data[end:]], len(piece.data) - end
                else:
                    parts.append(piece.data)
                self._check(line)
        except TapeError:
            if whole := _whole_lines(b"".join(parts)):
                yield Chunk(whole, done)
            raise
        if rest := b"".join(parts):
            yield Chunk(rest if rest.endswith(b"\n") else rest + b"\n", done)

    def _check(self, line: int) -> None:
        if line > MAX_LINE_BYTES:
            raise TapeError(f"{self.path}: a line of more than {MAX_LINE_BYTES} bytes: no trade has that; it is damaged")


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def until_damage(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Chunks as far as they can be read, for a look through the tape before it is read in earnest: that will tell the error."""
    with suppress(TapeError):
        yield from chunks


def _plain(file: BinaryIO) -> Iterator[Chunk]:
    done = 0
    while data := file.read(READ_BYTES):
        done += len(data)
        yield Chunk(data, done)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise TapeError(f"{path}: no such file") from error
    except OSError as error:
        raise TapeError(f"{path}: can't be read ({error.strerror or error})") from error
