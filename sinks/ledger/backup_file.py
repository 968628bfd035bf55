"""A backup's file: what was saved, then a label that says what it is, then the SHA-256 of both.

What was saved stays readable by itself: SQLite takes such a file for the database that it begins with.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from pipeline.errors import StorageError
from sinks import durable

SQLITE, ROWS = "sqlite", "rows"  # a SQLite database as it was; all rows in a form of no engine's
_MAGIC = b"SPILLBK1"
_END = struct.Struct(">32sQ8s")  # SHA-256, the label's length, the magic
_CHUNK = 1 << 20
_LONGEST_LABEL = 1 << 20


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    kind: str
    schema: int  # the version of the tables
    made_at: str  # UTC
    source: str  # the ledger's URL, without its password
    rows: dict[str, int]  # by table
    sums: dict[str, str]  # of decimals, by table.column


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole: every byte is as it was written."""

    path: Path
    label: Label
    size: int  # bytes of what was saved


def seal(path: Path, label: Label) -> None:
    """Adds label and checksum to a file that holds what was saved. It isn't durable yet."""
    told = msgspec.json.encode(label)
    with durable.explained(path, "written"), open(path, "r+b") as file:
        digest = _digest(file, path.stat().st_size)
        file.seek(0, os.SEEK_END)
        digest.update(told)
        file.write(told + _END.pack(digest.digest(), len(told), _MAGIC))


def opened(path: Path) -> Backup:
    """A backup, read through and compared with its checksum. StorageError for what is damaged, unfinished or something else."""
    with durable.explained(path, "read"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _END.size:
            raise _is_none(path)
        file.seek(size - _END.size)
        wanted, length, magic = _END.unpack(file.read(_END.size))
        saved = size - _END.size - length
        if magic != _MAGIC or length > _LONGEST_LABEL or saved < 0:
            raise _is_none(path)
        if _digest(file, saved + length).digest() != wanted:
            raise StorageError(f"{path}: is damaged: its bytes are not those that were saved")
        file.seek(saved)
        return Backup(path, _label(path, file.read(length)), saved)


def copy_saved(backup: Backup, target: Path, told: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Writes what was saved, without the label, to a new file."""
    with durable.explained(target, "written"), open(backup.path, "rb") as file, open(target, "xb") as copy:
        left = backup.size
        while left and (chunk := file.read(min(_CHUNK, left))):
            copy.write(chunk)
            left -= len(chunk)
            told(backup.size - left, backup.size)
    os.chmod(target, durable.FILE_MODE)


def same_content(found: Mapping[str, int], label: Label) -> str:
    """Which table's rows are not as many as the label says; empty where all are."""
    names = sorted(name for name in {*found, *label.rows} if found.get(name, 0) != label.rows.get(name, 0))
    return f"{names[0]}: {found.get(names[0], 0):,} rows, not {label.rows.get(names[0], 0):,}" if names else ""


def _digest(file: IO[bytes], length: int) -> hashlib._Hash:
    digest = hashlib.sha256()
    file.seek(0)
    while length and (chunk := file.read(min(_CHUNK, length))):
        digest.update(chunk)
        length -= len(chunk)
    return digest


def _label(path: Path, told: bytes) -> Label:
    try:
        return msgspec.json.decode(told, type=Label)
    except msgspec.MsgspecError as error:
        raise StorageError(f"{path}: a backup of a form that this Spillway doesn't know ({error})") from None


def _is_none(path: Path) -> StorageError:
    advice = "a ledger itself is taken by `spillway ledger import`"
    return StorageError(f"{path}: is no backup of a ledger, or one that was never finished; {advice}")
