"""What is said of trade ids in the gap ledger, and how it changes: rows are split where only a part changes.

Of one instrument's rows each id stands in one at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import Gap, IdRange
from sinks.ledger.gap import GapKind, GapState
from sinks.ledger.ranges import clip, length, minus
from sinks.ledger.tables import GAPS


@dataclass(frozen=True, slots=True)
class Fate:
    """What a row says of its ids."""

    before_ns: int | None
    after_ns: int | None
    found_ns: int
    state: GapState
    ended_ns: int | None = None
    how: str = ""


Change: TypeAlias = Callable[[Fate | None], Fate | None]  # what is said of ids now, or None -> what shall be said
_Part: TypeAlias = tuple[int, int, Fate]  # ids first..last and what is said of them


def finding(gap: Gap, now_ns: int) -> Change:
    def change(fate: Fate | None) -> Fate | None:
        if fate is None or fate.state is GapState.REPAIRED:  # what came was forgotten again: Redis went back
            return Fate(gap.before_ns, gap.after_ns, now_ns, GapState.OPEN)
        return replace(fate, before_ns=gap.before_ns, after_ns=gap.after_ns) if fate.before_ns is None else None

    return change


def losing(why: str, now_ns: int) -> Change:
    def change(fate: Fate | None) -> Fate | None:
        if fate is not None and fate.state is not GapState.OPEN:
            return None
        return replace(fate or Fate(None, None, now_ns, GapState.OPEN), state=GapState.LOST, ended_ns=now_ns, how=why)

    return change


def repairing(how: str, now_ns: int) -> Change:
    def change(fate: Fate | None) -> Fate | None:
        if fate is not None and fate.state is GapState.REPAIRED:
            return None
        return replace(fate or Fate(None, None, now_ns, GapState.OPEN), state=GapState.REPAIRED, ended_ns=now_ns, how=how)

    return change


def compare(
    connection: Connection, instrument: Instrument, gaps: Sequence[Gap], known: IdRange
) -> tuple[list[Gap], list[IdRange]]:
    """Parts of gaps that the book doesn't hold (or not their times), and ids in it that are missing no more."""
    question = select(GAPS.c.first_id, GAPS.c.last_id, GAPS.c.before_ns).where(
        of(instrument), GAPS.c.kind == GapKind.IDS, GAPS.c.state != GapState.REPAIRED
    )
    rows = connection.execute(question).all()
    held = [(row.first_id, row.last_id) for row in rows if row.before_ns is not None]
    missing = [(gap.first_id, gap.last_id) for gap in gaps]
    came = minus(clip([(row.first_id, row.last_id) for row in rows], known), missing)
    return [gap for gap, ids in zip(gaps, missing, strict=True) if minus([ids], held)], came


def change_ids(connection: Connection, instrument: Instrument, ids: IdRange, change: Change) -> int:
    """Says of ids what `change` makes of what is said now, splitting rows where they differ. Returns how many it changed."""
    first, last = ids
    if last < first:
        raise BadValue(f"{instrument}: ids {first}..{last}: the last is below the first")
    overlap = and_(of(instrument), GAPS.c.kind == GapKind.IDS, GAPS.c.first_id <= last, GAPS.c.last_id >= first)
    rows = connection.execute(select(GAPS).where(overlap).order_by(GAPS.c.first_id)).all()
    stale, parts, changed = [], [], 0
    for row in rows:
        fate = fate_of(row)
        new = change(fate)
        if new is not None and new != fate:
            inside = clip([(row.first_id, row.last_id)], ids)
            changed += length(inside) if new.state is not fate.state else 0
            stale.append(row.gap_id)
            parts += [(*part, new) for part in inside] + [
                (*part, fate) for part in minus([(row.first_id, row.last_id)], inside)
            ]
    fresh = change(None)
    if fresh is not None:
        unknown = minus([ids], [(row.first_id, row.last_id) for row in rows])
        changed += length(unknown)
        parts += [(*part, fresh) for part in unknown]
    _write(connection, instrument, stale, parts)
    return changed


def _write(connection: Connection, instrument: Instrument, stale: Sequence[int], parts: Sequence[_Part]) -> None:
    if stale:
        connection.execute(delete(GAPS).where(GAPS.c.gap_id.in_(stale)))
    if parts:
        known = names(instrument) | {"kind": GapKind.IDS}
        connection.execute(insert(GAPS), [known | {"first_id": a, "last_id": b} | asdict(fate) for a, b, fate in parts])


def fate_of(row: Row[Any]) -> Fate:
    return Fate(row.before_ns, row.after_ns, row.found_ns, GapState(row.state), row.ended_ns, row.how)


def names(instrument: Instrument) -> dict[str, Any]:
    """An instrument's columns."""
    return {"venue": instrument.venue, "symbol": instrument.symbol}


def of(instrument: Instrument) -> ColumnElement[bool]:
    """Its rows."""
    return and_(GAPS.c.venue == instrument.venue, GAPS.c.symbol == instrument.symbol)
