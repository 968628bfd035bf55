"""Small JSON records that tell whether they are whole: each holds the SHA-256 of the rest of it, and its format.

People can read them, and they are replaced in one step. What is damaged, or of another format, is refused by name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from pipeline.errors import StorageError
from sinks import durable


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record; each kind of it ends with a `checksum: str = ""`, which `encode` fills in."""

    format: int


R = TypeVar("R", bound=Record)


class _AnyFormat(msgspec.Struct):
    format: int


def encode(record: Record) -> bytes:
    """The record as its file holds it, with its own checksum."""
    signed = replace(record, checksum=_checksum(record))
    return msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n"


def decode(data: bytes, kind: type[R], form: int, path: Path) -> R:
    """The record that `data`, read from `path`, holds. StorageError where it is damaged or not of the format `form`."""
    try:
        known = msgspec.json.decode(data, type=_AnyFormat).format
        if known != form:
            raise StorageError(f"{path}: format {known}: this version reads format {form}")
        record = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: damaged: {error}") from None
    if getattr(record, "checksum", "") != _checksum(record):
        raise StorageError(f"{path}: damaged: its checksum is not that of its content")
    return record


def load(path: Path, kind: type[R], form: int) -> R | None:
    """The record at `path`; None where there is none."""
    found = durable.read_whole(path)
    return None if found is None else decode(found[0], kind, form, path)


def _checksum(record: Record) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(record, checksum=""))).hexdigest()
