"""What `spillway ledger check` looks at: the database, the books, and the minutes that decisions saw."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import SpillwayError
from sinks.ledger import integrity
from sinks.ledger.audit import Audit, audit
from sinks.ledger.database import Database
from sinks.ledger.decisions import Decisions
from spillway.lineage import SAME, Seen, fates
from spillway.progress import Reporter
from spillway.settings import Settings
from spillway.store import Store

_MOST = 20  # lines of one sort that people are told; machines get all


@dataclass(slots=True)
class Checked:
    """What was found. `damages` is what is wrong; differences and later revisions are for the reader to judge."""

    where: str
    schema: int = 0
    rows: int = 0
    damages: list[str] = field(default_factory=list)
    books: Audit = field(default_factory=Audit)
    seen: list[Seen] = field(default_factory=list)
    unread: str = ""  # why the minutes that decisions saw couldn't be compared

    @property
    def differing(self) -> list[Seen]:
        """The minutes that aren't what decisions saw."""
        return [each for each in self.seen if each.fate != SAME]


def check(settings: Settings, database: Database, progress: Reporter) -> Checked:
    """Looks at all of it. StorageError where the ledger can't be read at all."""
    database.is_made()  # refuses another version's
    found = Checked(database.where, damages=integrity.problems(database))
    if found.damages:
        return found
    statistics = integrity.statistics(database)
    found.schema, found.rows = statistics.schema_version, sum(statistics.rows.values())
    found.books = audit(database)
    saw = Decisions(database).minutes_seen()
    if saw:
        try:
            with Store(settings) as store:
                found.seen = list(fates(store, saw, lambda done: progress("minutes", done, len(saw))))
        except SpillwayError as error:
            found.unread = str(error)
    return found


def as_dict(found: Checked) -> dict[str, Any]:
    """For machines."""
    minutes = [
        {
            "decision_id": each.decision_id,
            **each.minute.to_dict(),
            "at": each.minute.at,
            "fate": each.fate,
            "now": each.revision,
        }
        for each in found.differing
    ]
    return {
        "ledger": found.where,
        "schema": found.schema,
        "rows": found.rows,
        "damages": found.damages,
        "books": asdict(found.books),
        "lineage": {"seen": len(found.seen), "differing": minutes, "error": found.unread or None},
    }


def describe(found: Checked) -> list[str]:
    """For people."""
    if found.damages:
        return [f"{found.where}: damaged", *_some(found.damages)]
    books, differing = found.books, found.differing
    of_minutes = (
        f"{len(found.seen):,} minutes that decisions saw" if found.seen or found.unread else "no decision names its minutes"
    )
    fate = found.unread or (f"{len(differing):,} are not what they were" if differing else "all as they were")
    return [
        f"{found.where}: whole; schema {found.schema}, {found.rows:,} rows",
        f"  books    {books.balances:,} balances, {books.orders:,} orders with trades, {books.positions:,} positions compared: "
        + (f"{len(books.differences):,} differ" if books.differences else "all agree"),
        *_some(books.differences),
        f"  lineage  {of_minutes}" + (f": {fate}" if found.seen or found.unread else ""),
        *_some([str(each) for each in differing]),
    ]


def _some(lines: list[str]) -> list[str]:
    more = [f"    ... and {len(lines) - _MOST:,} more: --json lists them all"] if len(lines) > _MOST else []
    return [f"    {line}" for line in lines[:_MOST]] + more
