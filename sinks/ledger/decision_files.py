"""Decisions as files, a JSON document each, named `{YYYY-MM-DD}_{decision_id}.json`: from such a folder, and to one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import BadValue, SpillwayError
from pipeline.trading.decision import Decision
from sinks import durable
from sinks.ledger.database import Database
from sinks.ledger.decisions import Decisions

_AT_ONCE = 500  # decisions that are written in one transaction
Told = Callable[[int, int], None]


@dataclass(slots=True)
class Taken:
    """What became of a folder's files."""

    added: int = 0
    replaced: int = 0
    same: int = 0
    differing: list[str] = field(default_factory=list)  # ids whose stored decision is another one, and stays
    refused: dict[str, str] = field(default_factory=dict)  # files that can't be taken, and why; they stay where they are


def import_decisions(database: Database, folder: Path, *, replace: bool = False, told: Told = lambda done, all_: None) -> Taken:
    """Takes a folder's decisions in, the oldest file names first. Taken in again nothing changes; files are left as they are.

    A stored decision of the same id and another content stays, unless `replace`. Nothing of a malformed file is taken.
    """
    with durable.explained(folder, "read"):
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    taken, store = Taken(), Decisions(database)
    for at in range(0, len(paths), _AT_ONCE):
        read = [(path.name, found) for path in paths[at : at + _AT_ONCE] if (found := _decision(path, taken))]
        with database.writing():
            for name, decision in read:
                try:
                    _take(store, decision, replace, taken)
                except BadValue as error:
                    taken.refused[name] = str(error)
        told(min(at + _AT_ONCE, len(paths)), len(paths))
    return taken


def export_decisions(database: Database, folder: Path, told: Told = lambda done, all_: None) -> int:
    """Writes every decision to its file in a folder; how many. What else lies there stays. BadValue, StorageError."""
    durable.make_folder(folder)
    store, done = Decisions(database), 0
    with database.reading():
        total = store.count()
        while found := store.find(limit=_AT_ONCE, offset=done, newest_first=False):
            for decision in found:
                text = json.dumps(decision.to_dict(), indent=2, ensure_ascii=False) + "\n"
                durable.write_new(folder / _name(decision), text.encode())
            done += len(found)
            told(done, total)
    durable.sync_folder(folder)
    return done


def _decision(path: Path, taken: Taken) -> Decision | None:
    try:
        found = durable.read_whole(path)
        if found is None:
            return None  # removed since
        return Decision.from_dict(_loaded(found[0]))
    except (SpillwayError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        taken.refused[path.name] = reason.removeprefix(f"{path}: ")
        return None


def _loaded(text: bytes) -> Mapping[str, Any]:
    value = json.loads(text, parse_constant=_no_number)
    if not isinstance(value, dict):
        raise BadValue("expected a JSON object with an id")
    return value


def _no_number(word: str) -> float:
    raise BadValue(f"{word}: expected a number")


def _take(store: Decisions, decision: Decision, replace: bool, taken: Taken) -> None:
    stored = store.find_by_id(decision.decision_id)
    if stored is None:
        store.save(decision)
        taken.added += 1
    elif stored.to_dict() == decision.to_dict():
        taken.same += 1
    elif replace:
        decision.version, decision.created_at = stored.version, stored.created_at
        store.save(decision)
        taken.replaced += 1
    else:
        taken.differing.append(decision.decision_id)


def _name(decision: Decision) -> str:
    at = decision.at or decision.created_at or datetime.fromtimestamp(0, UTC)
    # An id has no slash, and with the date before it no leading dot: it stays in its folder.
    return f"{at:%Y-%m-%d}_{decision.decision_id}.json"
