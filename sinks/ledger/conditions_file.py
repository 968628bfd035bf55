"""A JSON file of conditions that several processes share: read anew when it is another one, replaced whole, never torn.

    {"format": 1, "checksum": "...", "conditions": [
    {"condition_id": "...", "symbol": "BTCUSDT", ...},
    ...
    ]}

Numbers are texts, so that they stay exact. Beside it lie `NAME.bak`, the content before the last change, and the locks by which
writers take turns. A file that can't be read is refused and left as it is: nothing is written over it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.errors import BadValue, StorageError
from pipeline.trading.condition import Condition
from pipeline.trading.exact import text
from sinks import durable
from sinks.ledger.turns import Turns

Mark: TypeAlias = tuple[int, ...]

FORMAT = 1
MAX_BYTES = 64 << 20  # of the file: every change writes all of it
LONGEST_WAIT_S = 10.0  # for other processes that write
_NAMES = [field.name for field in fields(Condition)]
_TIMES = ("expires_at", "triggered_at", "created_at", "updated_at")


class ConditionsFile:
    """The conditions by id. Thread-safe; what is read and changed is the caller's to copy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backup = path.with_name(path.name + ".bak")
        durable.make_folder(path.parent)
        self._turns = Turns(path)
        self._lock = threading.Lock()
        self._handle: int | None = None  # of the file that is known: as long as it is open no other file gets its number
        self._mark: Mark | None = None  # what it was like then
        self._known: dict[str, Condition] = {}
        with self._lock, self._turns.one(LONGEST_WAIT_S):
            self._remove_stale()

    def read(self) -> Mapping[str, Condition]:
        """All that is stored now, whoever stored it. StorageError where it can't be read."""
        with self._lock:
            self._refresh()
            return self._known

    @contextmanager
    def changing(self) -> Iterator[dict[str, Condition]]:
        """Gives what is stored, to be changed: written at the end, or not at all. Other writers wait meanwhile."""
        with self._lock, self._turns.one(LONGEST_WAIT_S):
            self._refresh()
            changed = dict(self._known)
            yield changed
            if changed != self._known:
                self._replace(changed)

    def close(self) -> None:
        """Closes the file and its locks."""
        with self._lock:
            self._hold(None)
            self._turns.close()

    def _refresh(self) -> None:
        found = _mark(self.path)
        if found is None:
            self._hold(None)
            self._known = {}
        elif found != self._mark:
            handle = _opened(self.path)
            try:
                mark = _mark(handle)
                self._known = decoded(_whole(handle, self.path), self.path, self.backup)
            except BaseException:
                os.close(handle)
                raise
            self._hold(handle, mark)

    def _replace(self, conditions: dict[str, Condition]) -> None:
        data = encoded(conditions.values())
        if len(data) > MAX_BYTES:
            raise BadValue(
                f"{self.path}: would have {len(data)} bytes, expected at most {MAX_BYTES}: keep conditions in SQLite"
            )
        with durable.staged(self.path, data) as temporary:
            self._keep_backup()
            durable.rename(temporary, self.path)
        durable.sync_folder(self.path.parent)
        handle = _opened(self.path)
        self._hold(handle, _mark(handle))
        self._known = conditions

    def _keep_backup(self) -> None:
        """Gives what is stored, which was read whole, a second name, in place of the backup before it."""
        kept = self.path.with_name(f"{durable.TEMPORARY}{self.path.name}-{os.getpid()}-bak")
        # The first one has nothing before it.
        with durable.explained(self.backup, "written"), suppress(FileNotFoundError):
            os.link(self.path, kept)
            os.rename(kept, self.backup)

    def _remove_stale(self) -> None:
        """Removes what writers that were killed left half-written. Only within a turn."""
        for path in self.path.parent.glob(f"{durable.TEMPORARY}{glob.escape(self.path.name)}-*"):
            with durable.explained(path, "removed"):
                path.unlink(missing_ok=True)

    def _hold(self, handle: int | None, mark: Mark | None = None) -> None:
        before, self._handle, self._mark = self._handle, handle, mark
        if before is not None:
            os.close(before)


def encoded(conditions: Iterable[Condition]) -> bytes:
    """The bytes of a file."""
    lines = [_line(condition) for condition in conditions]
    body = ",\n".join(lines)
    return f'{{"format": {FORMAT}, "checksum": "{_checksum(lines)}", "conditions": [\n{body}\n]}}\n'.encode()


def decoded(data: bytes, path: Path, backup: Path) -> dict[str, Condition]:
    """The conditions in a file's bytes. StorageError, which names the file, for what this version didn't write."""
    try:
        told = json.loads(data)
        if not isinstance(told, dict) or not isinstance(told.get("format"), int):
            raise ValueError("it has no format")
        if told["format"] != FORMAT:
            raise StorageError(f"{path}: has format {told['format']}, and this Spillway knows {FORMAT}: it is left as it is")
        conditions = [_condition(values) for values in told["conditions"]]
        if told["checksum"] != _checksum(map(_line, conditions)):
            raise ValueError("its checksum is another one")
        found = {condition.condition_id: condition for condition in conditions}
        if len(found) < len(conditions):
            raise ValueError("a condition stands in it twice")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, BadValue) as error:
        told_of = str(error).splitlines()[0]
        raise StorageError(f"{path}: is damaged ({told_of}): it is left as it is; before the last change: {backup}") from None
    return found


def _line(condition: Condition) -> str:
    return json.dumps({name: _plain(getattr(condition, name)) for name in _NAMES}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _condition(values: dict[str, Any]) -> Condition:
    times = {name: datetime.fromisoformat(values[name]) for name in _TIMES if values[name] is not None}
    return Condition(**(values | times))


def _checksum(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _mark(of: Path | int) -> Mark | None:
    """What tells a file from any other, and from what it was before; None where there is none."""
    try:
        facts = os.stat(of)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise durable.failure(error, Path(str(of)), "read") from error
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size


def _opened(path: Path) -> int:
    with durable.explained(path, "read"):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise StorageError(f"{path}: can't be read: it is not a regular file")
    return handle


def _whole(handle: int, path: Path) -> bytes:
    with durable.explained(path, "read"), open(handle, "rb", closefd=False) as file:
        return file.read()
