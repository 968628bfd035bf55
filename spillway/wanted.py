"""What a reader asks for, checked: instruments with their ranges, columns, statuses, price groups. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks.tables import LEVELS, MINUTES
from spillway import frames
from spillway.reading import STATUSES
from spillway.recorded import COLUMNS as TRADE_COLUMNS

Names: TypeAlias = str | Sequence[str] | None
Bounds: TypeAlias = tuple[int, int]
_WHOLE = ("complete", "repaired")
_KNOWN = {"levels": LEVELS.names, "minutes": MINUTES.names, "trades": list(TRADE_COLUMNS)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one call asks for: each instrument with its range, and how the answer is to look."""

    spans: list[tuple[Instrument, Bounds]]
    named: bool  # several instruments: columns venue and symbol tell them apart
    as_: str

    def frame(self, read: Callable[[Instrument, int, int], pa.Table]) -> Any:
        """All that `read` gives, in one frame."""
        tables = [self.marked(instrument, read(instrument, *span)) for instrument, span in self.spans]
        return frames.converted(pa.concat_tables(tables).combine_chunks(), self.as_)

    def marked(self, instrument: Instrument, table: pa.Table) -> pa.Table:
        """The table with its instrument in front, where there are several."""
        if not self.named:
            return table
        for at, name in enumerate(("venue", "symbol")):
            values = sorted({str(getattr(i, name)) for i, _ in self.spans})
            code = pa.array([values.index(getattr(instrument, name))] * len(table), pa.int32())
            table = table.add_column(at, name, pa.DictionaryArray.from_arrays(code, pa.array(values)))
        return table


def chosen(kept: Sequence[Instrument], venue: Names, symbol: Names) -> list[Instrument]:
    """Of what is kept, the instruments of these venues and symbols. BadValue for a name that none of them has."""
    venues, symbols = ([names] if isinstance(names, str) else names for names in (venue, symbol))
    found = [i for i in kept if (venues is None or i.venue in venues) and (symbols is None or i.symbol in symbols)]
    there = {name for i in found for name in (i.venue, i.symbol)}
    lacking = [name for name in (*(venues or ()), *(symbols or ())) if name not in there]
    if lacking or not found:
        known = ", ".join(map(str, kept)) or "nothing"
        raise BadValue(f"nothing is kept of {', '.join(lacking) or 'what was asked for'}; there is: {known}")
    return found


def columns_of(kind: str, columns: Sequence[str] | None) -> list[str]:
    """The columns asked for; all of them if none was named."""
    known = _KNOWN[kind]
    unknown = [name for name in columns or () if name not in known]
    if unknown:
        raise BadValue(f"{kind} have no column {unknown[0]!r}: expected some of {', '.join(known)}")
    return list(known if columns is None else columns)


def states_of(status: Names, whole_only: bool) -> list[str] | None:
    """The statuses that minutes may have; None: any."""
    wanted = [status] if isinstance(status, str) else status
    unknown = [name for name in wanted or () if name not in STATUSES]
    if unknown:
        raise BadValue(f"status {unknown[0]!r}: expected some of {', '.join(STATUSES)}")
    if not whole_only:
        return None if wanted is None else [str(name) for name in wanted]
    return [name for name in _WHOLE if wanted is None or name in wanted]


def group_of(price_group: Decimal | str | float | None) -> Decimal | None:
    """A price group as a decimal: a float stands for its shortest text."""
    if price_group is None:
        return None
    try:
        group = Decimal(str(price_group))
    except ArithmeticError:
        group = Decimal(0)
    if not (group.is_finite() and group > 0):
        raise BadValue(f"price_group {price_group!r}: expected a number above 0, such as 10 or 0.5")
    return group
