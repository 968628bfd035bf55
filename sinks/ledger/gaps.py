"""The gap ledger. Every operation may be repeated: the second time changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import Gap, IdRange
from sinks.ledger.database import Database
from sinks.ledger.fates import change_ids, compare, fate_of, finding, losing, names, of, repairing
from sinks.ledger.gap import GapKind, GapRow, GapState, GapSums
from sinks.ledger.tables import GAPS

CAME = "fetched, or came late"  # what a comparison with the ids seen can tell of how a gap was filled
MANY = 100_000  # rows that one question gives at most


class GapBook:
    """The repository of gaps. Blocking and thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- what happened --------------------------------------------------------------------------------------------------

    def found(self, instrument: Instrument, gaps: Iterable[Gap], now_ns: int) -> int:
        """Ids were found missing. Returns how many of them were not known to be."""
        with self._database.writing() as connection:
            return sum(change_ids(connection, instrument, (g.first_id, g.last_id), finding(g, now_ns)) for g in gaps)

    def lost(self, instrument: Instrument, first_id: int, last_id: int, why: str, now_ns: int) -> int:
        """The venue doesn't have these ids. Those that came already stay repaired. Returns how many it is news of."""
        with self._database.writing() as connection:
            return change_ids(connection, instrument, (first_id, last_id), losing(why, now_ns))

    def repaired(self, instrument: Instrument, first_id: int, last_id: int, how: str, now_ns: int) -> int:
        """These ids were missing, and came. Returns how many it is news of."""
        with self._database.writing() as connection:
            return change_ids(connection, instrument, (first_id, last_id), repairing(how, now_ns))

    def outage(
        self,
        instrument: Instrument,
        before_ns: int,
        after_ns: int,
        now_ns: int,
        *,
        state: GapState = GapState.OPEN,
        how: str = "",
    ) -> None:
        """Nobody listened between the trades of these times. Told again, it may have grown longer, or come to its end."""
        if after_ns < before_ns:
            raise BadValue(f"{instrument}: an outage that ends ({after_ns} ns) before it begins ({before_ns} ns)")
        ended_ns = None if state is GapState.OPEN else now_ns
        values = {"after_ns": after_ns, "state": state, "ended_ns": ended_ns, "how": how}
        here = and_(of(instrument), GAPS.c.kind == GapKind.OUTAGE, GAPS.c.before_ns == before_ns)
        with self._database.writing() as connection:
            known = connection.execute(select(GAPS.c.after_ns, GAPS.c.state).where(here)).one_or_none()
            if known is None:
                row = {"kind": GapKind.OUTAGE, "before_ns": before_ns, "found_ns": now_ns, **values}
                connection.execute(insert(GAPS), [names(instrument) | row])
            elif after_ns > known.after_ns or state not in (known.state, GapState.OPEN):
                values["after_ns"] = max(after_ns, known.after_ns)
                connection.execute(update(GAPS).where(here), values)

    def reconcile(
        self, instrument: Instrument, gaps_now: Sequence[Gap], now_ns: int, *, known: IdRange | None, how: str = CAME
    ) -> tuple[int, int]:
        """Brings the book to what is missing now. Returns how many ids were found missing, and how many came.

        `known`: from the first to the last id that whoever says so remembers: of ids outside (forgotten ones, or not taken
        yet) the absence from `gaps_now` says nothing. None: it remembers nothing.
        """
        if known is None:
            return 0, 0
        with self._database.reading() as connection:
            new, came = compare(connection, instrument, gaps_now, known)
        if not new and not came:
            return 0, 0
        with self._database.writing() as connection:
            new, came = compare(connection, instrument, gaps_now, known)
            repaired = sum(change_ids(connection, instrument, ids, repairing(how, now_ns)) for ids in came)
            found = sum(change_ids(connection, instrument, (g.first_id, g.last_id), finding(g, now_ns)) for g in new)
        return found, repaired

    # --- questions ------------------------------------------------------------------------------------------------------

    def find(
        self,
        *,
        venue: str | None = None,
        symbol: str | None = None,
        state: GapState | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> list[GapRow]:
        """Gaps, the newest found first. `since_ns` up to and without `until_ns`: those that lie in this time, if in part."""
        wanted = [*_filter(venue, symbol), *([GAPS.c.state == state] if state else []), *_in_time(since_ns, until_ns)]
        order = (GAPS.c.found_ns.desc(), GAPS.c.first_id.desc(), GAPS.c.gap_id.desc())
        with self._database.reading() as connection:
            rows = connection.execute(select(GAPS).where(*wanted).order_by(*order).limit(limit or MANY)).all()
        return [_row(row) for row in rows]

    def newest_missing(self, instrument: Instrument) -> int | None:
        """The highest id that is open or lost."""
        wanted = (of(instrument), GAPS.c.kind == GapKind.IDS, GAPS.c.state != GapState.REPAIRED)
        with self._database.reading() as connection:
            newest: int | None = connection.scalar(select(func.max(GAPS.c.last_id)).where(*wanted))
        return newest

    def sums(self, *, venue: str | None = None, symbol: str | None = None) -> dict[Instrument, GapSums]:
        """Each instrument's gaps in numbers."""
        ids = func.sum(GAPS.c.last_id - GAPS.c.first_id + 1)
        groups = (GAPS.c.venue, GAPS.c.symbol, GAPS.c.kind, GAPS.c.state)
        question = select(*groups, func.count(), ids).where(*_filter(venue, symbol)).group_by(*groups)
        with self._database.reading() as connection:
            rows = connection.execute(question).all()
        sums: dict[Instrument, GapSums] = {}
        for of_venue, of_symbol, kind, state, outages, missing in sorted(tuple(row) for row in rows):
            instrument = Instrument(of_venue, of_symbol)
            told = {state: int(missing)} if kind == GapKind.IDS else {f"outages_{state}": int(outages)}
            sums[instrument] = replace(sums.get(instrument, GapSums()), **told)
        return sums


def _row(row: Row[Any]) -> GapRow:
    instrument, fate = Instrument(row.venue, row.symbol), fate_of(row)
    return GapRow(instrument, GapKind(row.kind), row.first_id, row.last_id, **asdict(fate))


def _filter(venue: str | None, symbol: str | None) -> list[ColumnElement[bool]]:
    wanted = ((GAPS.c.venue, venue), (GAPS.c.symbol, symbol))
    return [column == value for column, value in wanted if value is not None]


def _in_time(since_ns: int | None, until_ns: int | None) -> list[ColumnElement[bool]]:
    """Exchange times of the trades on both sides need not rise with the ids; without any, the time when it was found counts."""
    edges = [GAPS.c.before_ns, GAPS.c.after_ns, func.coalesce(GAPS.c.before_ns, GAPS.c.after_ns, GAPS.c.found_ns)]
    wanted = []
    if since_ns is not None:
        wanted.append(or_(*(edge >= since_ns for edge in edges)))
    if until_ns is not None:
        wanted.append(or_(*(edge < until_ns for edge in edges)))
    return wanted
