"""The minutes that decisions were made from, against what is stored now: revised since, gone, or the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.instrument import Instrument
from pipeline.minute import day_of, minute_text, minute_time
from pipeline.trading.minute_ref import MinuteRef

if TYPE_CHECKING:
    from spillway.store import Store

COLUMNS = ("timestamp", "revision", "checksum")
SAME, REVISED, CHANGED, ABSENT = "same", "revised", "changed", "absent"


@dataclass(frozen=True, slots=True)
class Seen:
    """A minute that a decision saw, and what became of it.

    `fate`: "same"; "revised": a late trade or a repair made a later revision; "changed": the revision is the one that was seen
    or an earlier one, with other content; "absent": it isn't stored any more.
    """

    decision_id: str
    minute: MinuteRef
    fate: str
    revision: int | None = None  # of what is stored now

    def __str__(self) -> str:
        saw, at = self.minute, minute_text(self.minute.minute)
        now = {REVISED: f"is now revision {self.revision}", CHANGED: "has other content now", ABSENT: "isn't stored any more"}
        return (
            f"decision {self.decision_id}: {saw.instrument} {at}, revision {saw.revision}: {now.get(self.fate, 'is the same')}"
        )


def references(instrument: Instrument, table: pa.Table) -> list[MinuteRef]:
    """References to the minutes of a table with the columns `COLUMNS`."""
    rows = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
    return [MinuteRef(instrument.venue, instrument.symbol, at, revision, checksum) for at, revision, checksum in rows]


def fates(
    store: Store, seen: Iterable[tuple[str, MinuteRef]], told: Callable[[int], None] = lambda done: None
) -> Iterator[Seen]:
    """What became of each minute that decisions saw, by instrument and time; a day of minutes is read at once."""
    ordered = sorted(seen, key=lambda each: _place(each[1]))
    done = 0
    for (instrument, _), group in groupby(ordered, key=lambda each: (each[1].instrument, day_of(each[1].minute))):
        those = list(group)
        stored = _stored(store, instrument, those[0][1].minute, those[-1][1].minute + 1)
        for decision_id, minute in those:
            yield _fate(decision_id, minute, stored.get(minute.minute))
        done += len(those)
        told(done)


def _stored(store: Store, instrument: Instrument, first: int, until: int) -> dict[int, MinuteRef]:
    names: dict[str, Any] = {"columns": list(COLUMNS), "as_": "arrow"}
    table = store.minutes(instrument.venue, instrument.symbol, minute_time(first), minute_time(until), **names)
    return {minute.minute: minute for minute in references(instrument, table)}


def _fate(decision_id: str, saw: MinuteRef, now: MinuteRef | None) -> Seen:
    if now is None:
        return Seen(decision_id, saw, ABSENT)
    if now.revision > saw.revision:
        return Seen(decision_id, saw, REVISED, now.revision)
    return Seen(decision_id, saw, SAME if now == saw else CHANGED, now.revision)


def _place(minute: MinuteRef) -> tuple[str, str, int]:
    return minute.venue, minute.symbol, minute.minute
