"""What `spillway ledger export` writes and `import` takes in, told by names and endings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.errors import BadValue
from sinks.ledger import dump, exports
from sinks.ledger.database import Database
from sinks.ledger.decision_files import export_decisions, import_decisions
from sinks.ledger.import_conditions import import_conditions
from sinks.ledger.moves import move
from sinks.ledger.open_conditions import json_path
from sinks.ledger.plain_rows import BY_NAME
from sinks.ledger.upgrade import to_read
from spillway.progress import Reporter

ALL, DECISIONS = "all", "decisions"
_TABLES = {"performance": "performance_metrics"} | {name: name for name in BY_NAME if name != "performance_metrics"}
_WITH_ACCOUNTS = ("balances", "transactions", "orders", "trades", "positions", "performance")


class Form(StrEnum):
    """How `export --what all` writes each table."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def export(database: Database, what: str, output: Path, account: str | None, form: Form, progress: Reporter) -> dict[str, int]:
    """Writes one table to a file, all of them to a folder, or decisions to a folder of their own files; rows by name."""
    if what != ALL and what not in _TABLES:
        raise BadValue(f"--what {what!r}: expected all, or one of {', '.join(sorted(_TABLES))}")
    if account is not None and what not in _WITH_ACCOUNTS:
        raise BadValue(f"--account {account}: is for {', '.join(_WITH_ACCOUNTS)}, not for {what}")
    if what == DECISIONS and not output.suffix:
        return {what: export_decisions(database, output, lambda done, total: progress(what, done, total))}
    names = sorted(_TABLES) if what == ALL else [what]
    paths = [output / f"{name}.{form}" if what == ALL else output for name in names]
    with database.reading() as connection:  # all of one moment
        counts = dump.row_counts(connection)
        return {
            name: _table(database, name, path, account, lambda done, name=name: progress(name, done, counts[_TABLES[name]]))  # type: ignore[misc]
            for name, path in zip(names, paths, strict=True)
        }


def _table(database: Database, name: str, path: Path, account: str | None, told: Callable[[int], None]) -> int:
    where = {} if account is None else {"account_id": account}
    return exports.export_table(database, _TABLES[name], path, where=where, told=told)


def take(database: Database, source: str, replace: bool, progress: Reporter) -> tuple[dict[str, Any], list[str], list[str]]:
    """Takes in what `source` is: a folder of decisions, a JSON file of conditions, or a ledger; what became of it for
    machines and for people, and what is to be complained of."""
    if source.startswith("json:") or source.endswith(".json"):
        return _conditions(database, json_path(source) if source.startswith("json:") else Path(source), replace)
    if Path(source).is_dir():
        return _decisions(database, Path(source), replace, progress)
    if "://" not in source and not Path(source).is_file():
        raise BadValue(f"{source}: expected a folder of decisions, a .json file of conditions, or a ledger's file or URL")
    with to_read(source if "://" in source else f"sqlite:///{source}") as other:
        if other.where == database.where:
            raise BadValue(f"{source}: is this ledger itself")
        other.is_made()  # refuses another version's
        report = move(other, database, replace=replace, told=progress)
    lines = [
        f"{name}: {moved.rows:,} rows, {moved.added:,} added, {moved.replaced:,} replaced"
        for name, moved in report.tables.items()
        if moved.rows
    ]
    lines.append(f"verified: every row is there as it was; {len(report.sums):,} sums are the same to the last decimal")
    return asdict(report), lines, []


def _decisions(
    database: Database, folder: Path, replace: bool, progress: Reporter
) -> tuple[dict[str, Any], list[str], list[str]]:
    taken = import_decisions(database, folder, replace=replace, told=lambda done, total: progress("decisions", done, total))
    told = f"decisions: {taken.added:,} added, {taken.replaced:,} replaced, {taken.same:,} were there"
    refused = [f"{folder / name}: {reason}" for name, reason in taken.refused.items()]
    return (
        asdict(taken),
        [told, *_left(taken.differing, "decisions"), *refused],
        [
            *([f"{len(refused):,} files were not taken, and lie where they were; the first: {refused[0]}"] if refused else []),
            *_left(taken.differing, "decisions"),
        ],
    )


def _conditions(database: Database, path: Path, replace: bool) -> tuple[dict[str, Any], list[str], list[str]]:
    taken = import_conditions(database, path, replace=replace)
    told = f"conditions: {taken.added:,} added, {taken.replaced:,} replaced, {taken.same:,} were there"
    left = _left(taken.differing, "conditions")
    return asdict(taken), [told, *left], left


def _left(ids: list[str], what: str) -> list[str]:
    named = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
    return (
        [f"{len(ids):,} {what} are stored with another content ({named}): they stay; --replace takes the new one"]
        if ids
        else []
    )
