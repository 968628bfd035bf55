"""Tables of minutes put together, taken apart by the hour, and brought up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sinks.tables import LEVELS, MINUTES, US_PER_MINUTE, Tables, stamps


def concat(parts: Iterable[Tables]) -> Tables:
    """Tables of minutes that follow each other as one."""
    found = list(parts)
    minutes = pa.concat_tables([MINUTES.empty_table(), *(t.minutes for t in found)])
    # The dictionary anew, in the order of its use: the file's bytes must not tell how its rows came together.
    status = pa.array(minutes["status"].to_pylist(), pa.string()).dictionary_encode()
    minutes = minutes.set_column(MINUTES.get_field_index("status"), "status", status)
    return Tables(pa.concat_tables([LEVELS.empty_table(), *(t.levels for t in found)]), minutes.combine_chunks())


def by_hour(tables: Tables) -> Iterator[Tables]:
    """The same minutes, an hour at a time."""
    hours = stamps(tables.minutes) // (60 * US_PER_MINUTE)
    of = stamps(tables.levels) // (60 * US_PER_MINUTE)
    for hour in np.unique(hours):
        cuts = [np.searchsorted(column, [hour, hour + 1]).tolist() for column in (of, hours)]
        levels, minutes = (t.slice(a, b - a) for t, (a, b) in zip((tables.levels, tables.minutes), cuts, strict=True))
        yield Tables(levels, minutes)


def updated(old: Tables, new: Tables) -> Tables:
    """Both tables' minutes in time order; where both have a minute, the new one."""
    gone = pa.array(new.minutes["timestamp"].combine_chunks())
    kept = [t.filter(pc.invert(pc.is_in(t["timestamp"], gone))) for t in (old.levels, old.minutes)]
    both = concat([Tables(*kept), new])
    levels = both.levels.sort_by([("timestamp", "ascending"), ("price_level", "ascending")])
    return Tables(levels, both.minutes.sort_by("timestamp"))
