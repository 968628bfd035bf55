"""The ledger's gaps as a table, for `store.gaps`: what `spillway gaps` shows to people."""

from __future__ import annotations

import pyarrow as pa

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.trade import NS_PER_MINUTE
from sinks.ledger.gap import GapRow, GapState
from sinks.ledger.ledger import read_ledger
from spillway.times import FIRST_MINUTE, LAST_MINUTE

_TIME = pa.timestamp("ns", "UTC")
SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("first_id", pa.int64()),
        ("last_id", pa.int64()),
        ("ids", pa.int64()),
        ("before", _TIME),
        ("after", _TIME),
        ("state", pa.string()),
        ("how", pa.string()),
        ("found", _TIME),
        ("ended", _TIME),
    ]
)


def gap_table(url: str, instrument: Instrument, first: int, until: int, state: str | None = None) -> pa.Table:
    """An instrument's gaps that lie in a range of minutes, if in part; by time, those of unknown time last. Without a ledger
    there are none. BadValue for a state that no gap is in; StorageError where the ledger can't be read."""
    wanted = _state(state)
    ledger = read_ledger(url)
    if ledger is None:
        return SCHEMA.empty_table()
    with ledger:
        rows = ledger.gaps.find(
            venue=instrument.venue,
            symbol=instrument.symbol,
            state=wanted,
            since_ns=None if first == FIRST_MINUTE else first * NS_PER_MINUTE,
            until_ns=None if until == LAST_MINUTE else until * NS_PER_MINUTE,
        )
    return pa.Table.from_pylist([_values(row) for row in sorted(rows, key=_order)], SCHEMA)


def _state(name: str | None) -> GapState | None:
    try:
        return None if name is None else GapState(name)
    except ValueError:
        raise BadValue(f"state {name!r}: expected one of {', '.join(GapState)}") from None


def _order(row: GapRow) -> tuple[bool, int, int]:
    return row.before_ns is None, row.before_ns or 0, row.first_id or 0


def _values(row: GapRow) -> dict[str, object]:
    return {
        "kind": str(row.kind),
        "first_id": row.first_id,
        "last_id": row.last_id,
        "ids": row.ids,
        "before": row.before_ns,
        "after": row.after_ns,
        "state": str(row.state),
        "how": row.how,
        "found": row.found_ns,
        "ended": row.ended_ns,
    }
