"""Decisions, kept as they were given, and the minutes that each was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from pipeline.errors import AlreadyExists, BadValue
from pipeline.trading.decision import Decision, DecisionAction
from pipeline.trading.minute_ref import MinuteRef
from pipeline.trading.plain import Plain
from sinks.ledger.filters import among, equal, within
from sinks.ledger.repository import Kind, Repository
from sinks.ledger.trading_tables import DECISION_MINUTES as M
from sinks.ledger.trading_tables import DECISIONS as T

_NEWEST = (T.c.timestamp.desc(), T.c.created_at.desc(), T.c.decision_id.desc())
_OLDEST = (T.c.timestamp, T.c.created_at, T.c.decision_id)
_REFERENCES = (M.c.venue, M.c.symbol, M.c.minute, M.c.revision, M.c.checksum)
_SOME = 500  # decisions whose minutes are asked for at once


class Decisions(Repository[Decision]):
    """Decisions, newest first: by their timestamp (without one: when they were stored), then by when they were stored.

    As dicts (`save_decision(dict)`, ...), and as `Decision` records with versions (`save`, ...).
    """

    kind = Kind(Decision, T, "decision", "decision_id", _NEWEST)

    # --- as dicts -------------------------------------------------------------------------------------------------------

    def save_decision(self, decision: Mapping[str, object], minutes: Sequence[MinuteRef] = ()) -> None:
        """Stores a dict with an `id`, and extra keys as they come. `minutes`: what it was made from.

        BadValue (no id, what JSON can't hold), AlreadyExists: nothing is written.
        """
        try:
            self.create(Decision.from_dict(decision, minutes))
        except AlreadyExists as error:
            raise AlreadyExists(f"{error}: update_decision replaces it") from None

    def get_decision_by_id(self, decision_id: str) -> dict[str, Plain] | None:
        """The dict as it was given, or None."""
        found = self.find_by_id(decision_id)
        return None if found is None else found.to_dict()

    def get_decisions(self, asset_pair: str | None = None, limit: int = 10) -> list[dict[str, Plain]]:
        """The newest, of a pair or of all."""
        return [found.to_dict() for found in self.find(asset_pair=asset_pair, limit=limit)]

    def get_recent_decisions(self, limit: int = 10, asset_pair: str | None = None) -> list[dict[str, Plain]]:
        """The same, the limit first."""
        return self.get_decisions(asset_pair, limit)

    def update_decision(self, decision: Mapping[str, object], minutes: Sequence[MinuteRef] = ()) -> None:
        """Replaces the dict of that id, with its minutes; stores it where there is none."""
        given = Decision.from_dict(decision, minutes)
        with self._database.writing():
            stored = self.find_by_id(given.decision_id)
            if stored is not None:
                given.version, given.created_at = stored.version, stored.created_at
            self.save(given)

    def delete_decision(self, decision_id: str) -> bool:
        """Removes one; whether it was there."""
        return self.delete(decision_id)

    def cleanup_old_decisions(self, days: float = 30, at: datetime | None = None) -> int:
        """Removes those with a timestamp of more than `days` before `at` (None: now); how many."""
        if not days >= 0:
            raise BadValue(f"days {days}: expected 0 or more")
        oldest = (at or self._database.now()) - timedelta(days=days)
        return self._remove(within(T.c.timestamp, None, oldest))

    def wipe_all_decisions(self) -> int:
        """Removes all of them; how many."""
        return self._remove([])

    def get_decision_count(self) -> int:
        """How many are stored."""
        return self.count()

    # --- as records -----------------------------------------------------------------------------------------------------

    def find(
        self,
        *,
        asset_pair: str | None = None,
        action: DecisionAction | str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Decision]:
        """Those that fit all that is given, by their timestamps. `start` up to, and without, `end`."""
        where = [
            *equal(T, asset_pair=asset_pair),
            *among(T.c.action, DecisionAction, action),
            *within(T.c.timestamp, start, end),
        ]
        return self._find(*where, order=_NEWEST if newest_first else _OLDEST, limit=limit, offset=offset)

    def find_by_minute(self, venue: str, symbol: str, minute: int | datetime | str) -> list[Decision]:
        """Those that were made from a minute, of whatever revision. `minute`: as `MinuteRef` takes it."""
        wanted = MinuteRef(venue, symbol, minute, 1, "")  # type: ignore[arg-type]  # it takes these, and keeps a number
        saw = select(M.c.decision_id).where(M.c.venue == venue, M.c.symbol == symbol, M.c.minute == wanted.minute)
        return self._find(T.c.decision_id.in_(saw))

    def minutes_seen(self) -> list[tuple[str, MinuteRef]]:
        """Each minute that a decision was made from, with the decision's id; by instrument and time."""
        rows = self._database.answer(select(M.c.decision_id, *_REFERENCES).order_by(*_REFERENCES[:3], M.c.decision_id))
        return [_seen(row) for row in rows]

    # --- a decision and its rows ----------------------------------------------------------------------------------------

    def _columns_of_entity(self) -> list[Any]:
        return [T.c.document, T.c.created_at, T.c.updated_at, T.c.version]

    def _entities(self, rows: Sequence[Sequence[Any]]) -> list[Decision]:
        found = [self._decision(row) for row in rows]
        told = self._minutes([decision.decision_id for decision in found if "minutes" in decision.extra])
        for decision in found:
            decision.minutes = tuple(told.get(decision.decision_id, decision.minutes))
        return found

    def _decision(self, row: Sequence[Any]) -> Decision:
        document, created_at, updated_at, version = row
        decision = Decision.from_dict(document)
        decision.created_at, decision.updated_at, decision.version = created_at, updated_at, version
        return decision

    def _minutes(self, ids: Sequence[str]) -> dict[str, list[MinuteRef]]:
        """The minutes of decisions whose documents don't tell them: there, something else goes by that name."""
        told: dict[str, list[MinuteRef]] = {}
        wanted = select(M.c.decision_id, *_REFERENCES).where(M.c.decision_id.in_(bindparam("ids", expanding=True)))
        for at in range(0, len(ids), _SOME):
            for row in self._database.answer(wanted.order_by(*_REFERENCES[:3]), {"ids": ids[at : at + _SOME]}):
                decision_id, minute = _seen(row)
                told.setdefault(decision_id, []).append(minute)
        return told

    def _row(self, entity: Decision) -> dict[str, Any]:
        row = {name: getattr(entity, name) for name in ("decision_id", "asset_pair", "action")}
        row |= {name: getattr(entity, name) for name in ("created_at", "updated_at", "version")}
        return row | {"timestamp": entity.at or entity.created_at, "document": entity.to_dict()}

    def _first_row(self, entity: Decision, now: datetime) -> dict[str, Any]:
        row = super()._first_row(entity, now)
        row["timestamp"] = row["timestamp"] or row["created_at"]
        return row

    def _write_more(self, connection: Connection, entities: Sequence[Decision], now: datetime) -> None:
        for decision in entities:
            if decision.version:
                connection.execute(delete(M).where(M.c.decision_id == decision.decision_id))
            if decision.minutes:
                connection.execute(insert(M), _references(decision))

    def _remove(self, where: Sequence[Any]) -> int:
        with self._database.writing() as connection:
            return int(connection.execute(delete(T).where(*where)).rowcount)


def _seen(row: Sequence[Any]) -> tuple[str, MinuteRef]:
    """A row of a decision's id and its reference's columns."""
    decision_id, venue, symbol, minute, revision, checksum = row
    return decision_id, MinuteRef(venue, symbol, minute, revision, checksum)


def _references(decision: Decision) -> list[dict[str, Any]]:
    rows = {(ref.venue, ref.symbol, ref.minute): ref.to_dict() for ref in decision.minutes}
    if len(rows) < len(decision.minutes):
        raise BadValue(f"{decision.label}: a minute stands twice among those that it saw: expected each once")
    return [{"decision_id": decision.decision_id} | row for row in rows.values()]
