"""Gzip and zip unpacked a bounded piece at a time, however much a few bytes may become. What is before damage is not lost."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile, ZipInfo

from pipeline.errors import TapeError

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
READ_BYTES = 1 << 18
PIECE_BYTES = 1 << 23  # unpacked at once, at most

_GZIP_WBITS, _RAW_WBITS = 31, -15  # zlib's numbers for "gzip, with its header and checksum" and for the bare data
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_LOCAL_HEADER = 30  # bytes of a zip member's header before its name
_NOT_DATA = ("__MACOSX/",)  # what some packers put beside the files
_SHOWN = 5  # members that an error names


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of a tape's unpacked bytes, and how many bytes of the file were read to have them."""

    data: bytes
    done_bytes: int


def gunzipped(file: BinaryIO, where: str, size: int) -> Iterator[Chunk]:
    """A gzip file's content; its members may stand one after another, and end in zero padding."""
    member, rest = zlib.decompressobj(_GZIP_WBITS), b""
    while packed := rest or file.read(READ_BYTES):
        if member.eof:
            packed = packed.lstrip(b"\0")
            member = zlib.decompressobj(_GZIP_WBITS) if packed else member
        start, used = file.tell() - len(packed), 0
        try:
            for data, used in _pieces(member, packed):
                yield Chunk(data, start + used)
        except zlib.error as error:
            raise TapeError(f"{where}: damaged gzip at byte {start + used} of {size} ({error})") from error
        rest = packed[used:]
        yield Chunk(b"", start + used)
    if not member.eof:
        raise TapeError(f"{where}: truncated: the gzip data ends at byte {file.tell()} before their end mark")


def unzipped(file: BinaryIO, where: str, size: int) -> Iterator[Chunk]:
    """The content of a zip archive of one file; TapeError where there are several, or it can't be unpacked."""
    member = _only_member(file, where)
    unpack, check, done = _unpacker(member), 0, 0
    for start, packed in _packed(file, member):
        used = 0
        try:
            for data, used in unpack(packed):
                check, done = zlib.crc32(data, check), done + len(data)
                if done > member.file_size:
                    raise TapeError(f"{where}: damaged zip: {member.filename} holds more than its {member.file_size} bytes")
                yield Chunk(data, start + used)
        except zlib.error as error:
            raise TapeError(f"{where}: damaged zip at byte {start + used} of {size} ({error})") from error
    if (done, check) != (member.file_size, member.CRC):
        raise TapeError(f"{where}: damaged zip: {member.filename} is not what its checksum says")
    yield Chunk(b"", size)


def _only_member(file: BinaryIO, where: str) -> ZipInfo:
    try:
        found = ZipFile(file).infolist()
    except (BadZipFile, NotImplementedError, ValueError) as error:
        raise TapeError(f"{where}: a damaged or truncated zip archive ({error})") from error
    members = [one for one in found if not one.is_dir() and not one.filename.startswith(_NOT_DATA)]
    if len(members) != 1:
        names = ", ".join(ascii(one.filename)[1:-1] for one in members[:_SHOWN]) or "nothing"
        more = f" and {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
        raise TapeError(f"{where}: a zip archive of one tape is expected; this one has {names}{more}: unpack it first")
    (member,) = members
    if member.flag_bits & _ENCRYPTED:
        raise TapeError(f"{where}: {ascii(member.filename)[1:-1]} is encrypted: unpack it first")
    if member.compress_type not in (_STORED, _DEFLATED):
        raise TapeError(f"{where}: packed by method {member.compress_type}; expected deflate: unpack it first")
    return member


def _packed(file: BinaryIO, member: ZipInfo) -> Iterator[tuple[int, bytes]]:
    """A member's bytes as they lie in the archive, each piece with where it begins."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    at = member.header_offset + _LOCAL_HEADER + name + extra
    end = at + member.compress_size
    file.seek(at)
    while packed := file.read(min(READ_BYTES, end - at)):
        yield at, packed
        at += len(packed)


def _unpacker(member: ZipInfo) -> Callable[[bytes], Iterator[tuple[bytes, int]]]:
    if member.compress_type == _STORED:
        return lambda packed: iter([(packed, len(packed))])
    inflate = zlib.decompressobj(_RAW_WBITS)
    return lambda packed: _pieces(inflate, packed)


def _pieces(member: zlib._Decompress, packed: bytes) -> Iterator[tuple[bytes, int]]:
    """What `packed` unpacks to up to the member's end, and how many of its bytes gave that. zlib.error after all before it."""
    rest = packed
    while rest and not member.eof:
        before = member.copy()
        try:
            data = member.decompress(rest, PIECE_BYTES)
        except zlib.error:
            data, good = _up_to_damage(before, rest)
            yield data, len(packed) - len(rest) + good
            raise
        rest = member.unused_data if member.eof else member.unconsumed_tail
        yield data, len(packed) - len(rest)
    if not packed:
        return
    while not member.eof and (data := member.decompress(b"", PIECE_BYTES)):  # what the bound held back
        yield data, len(packed)


def _up_to_damage(member: zlib._Decompress, packed: bytes) -> tuple[bytes, int]:
    """What a damaged piece still gives, and how many of its bytes: the lines before the damage must not be lost."""
    found = bytearray()
    for at in range(len(packed)):
        try:
            found += member.decompress(packed[at : at + 1])
        except zlib.error:
            return bytes(found), at
    return bytes(found), len(packed)
