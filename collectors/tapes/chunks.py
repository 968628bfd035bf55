"""A tape's bytes: the only one of the tape modules that touches files. Unpacks gzip, and cuts at line ends."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from pipeline.errors import TapeError

READ_BYTES = 1 << 18
MAX_LINE_BYTES = 1 << 24  # bounds what a file without line ends may cost
_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib's number for "gzip, with its header and checksum"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a tape's unpacked bytes, and how many bytes of the file were read to have them."""

    data: bytes
    done_bytes: int


class TapeBytes:
    """A file of recorded trades, plain or gzip (told by its first bytes). Each method reads it anew from the start."""

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
            packed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            yield from self._unpacked(file) if packed else _plain(file)

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
        held = done = 0
        try:
            for piece in self.pieces():
                done, end = piece.done_bytes, piece.data.rfind(b"\n") + 1
                held += len(piece.data)
                if end and held >= size:
                    yield Chunk(b"".join((*parts, piece.data[:end])), done)
                    parts, held = [piece.data[end:]], len(piece.data) - end
                else:
                    parts.append(piece.data)
                self._check(held, size)
        except TapeError:
            if whole := _whole_lines(b"".join(parts)):
                yield Chunk(whole, done)
            raise
        if rest := b"".join(parts):
            yield Chunk(rest if rest.endswith(b"\n") else rest + b"\n", done)

    def _check(self, held: int, size: int) -> None:
        if held > max(size, MAX_LINE_BYTES):
            raise TapeError(f"{self.path}: a line of more than {MAX_LINE_BYTES} bytes: no trade has that; it is damaged")

    def _unpacked(self, file: BinaryIO) -> Iterator[Chunk]:
        member, rest = zlib.decompressobj(_GZIP_WBITS), b""
        while packed := rest or file.read(READ_BYTES):
            if member.eof:  # gzip files may stand one after another, and end in zero padding
                packed = packed.lstrip(b"\0")
                member = zlib.decompressobj(_GZIP_WBITS) if packed else member
            before = member.copy()
            try:
                data = member.decompress(packed) if packed else b""
            except zlib.error as error:
                data, good = _up_to_damage(before, packed)
                at = file.tell() - len(packed) + good
                yield Chunk(data, at)
                raise TapeError(f"{self.path}: damaged gzip at byte {at} of {self.total_bytes} ({error})") from error
            rest = member.unused_data if packed else b""
            yield Chunk(data, file.tell() - len(rest))
        if not member.eof:
            raise TapeError(f"{self.path}: truncated: the gzip data ends at byte {file.tell()} before their end mark")


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


def _up_to_damage(member: zlib._Decompress, packed: bytes) -> tuple[bytes, int]:
    """What a damaged piece still gives, and how many of its bytes: the lines before the damage must not be lost."""
    found = bytearray()
    for at in range(len(packed)):
        try:
            found += member.decompress(packed[at : at + 1])
        except zlib.error:
            return bytes(found), at
    return bytes(found), len(packed)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise TapeError(f"{path}: no such file") from error
    except OSError as error:
        raise TapeError(f"{path}: can't be read ({error.strerror or error})") from error
