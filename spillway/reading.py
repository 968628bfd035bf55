"""One instrument's minutes out of window, minute files and archive together, with no seam and nothing twice.

A minute only ever moves window -> file -> archive, and each step copies before it deletes. So the three are asked in that
order: what left one place before we looked there is found in the next. What is found twice is the same minute; the higher
revision wins. A late trade takes a copy back into the window, and leaves the others where they are until they are replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.codec import Parts
from pipeline.instrument import Instrument
from pipeline.minute import MINUTES_PER_DAY, Status, day_of
from sinks.archive import Archive, Prices, within
from sinks.durable import folder_lock
from sinks.lost import Lost, lost_parts
from sinks.manifest import Kind
from sinks.minute_files import MinuteFiles
from sinks.tables import LEVELS, MINUTES, US_PER_MINUTE, codes_of, starts, tables_of
from spillway.hot import HotMinutes

STATUSES = tuple(str(s) for s in Status)
_FLOATS = ("notional",)  # an exact decimal in the archive; a float in frames, like all else
_EVERY: Prices = (None, None)


@dataclass(frozen=True, slots=True)
class Files:
    """Files of the archive, in time order, and the minutes that they are to be read for: what else is in them doesn't count."""

    paths: list[Path]
    first: int
    last: int  # itself left out


@dataclass(frozen=True, slots=True)
class Lasting:
    """A range as tools see it that read Parquet themselves: the archive's files, and all that isn't in them."""

    files: list[Files]
    loose: pa.Table
    replaced: list[int]  # minutes that the files have too, in an earlier copy


class Reader:
    """Reads ranges, in minutes counted from 1970. Thread-safe."""

    def __init__(self, hot: HotMinutes, files: MinuteFiles, archive: Archive) -> None:
        self._hot, self._files, self._archive = hot, files, archive

    def instruments(self) -> list[Instrument]:
        """All that anything is kept of."""
        return sorted({*self._hot.instruments(), *self._files.instruments(), *self._archive.instruments()})

    def known(self, instrument: Instrument) -> tuple[int, int] | None:
        """The first and the last minute that anything is kept of."""
        loose = [*self._hot.minutes(instrument), *self._listed(instrument, 0, 2**40)]
        days = self._archive.days(instrument)
        ends = (self._archive.manifest(instrument, day) for day in {*days[:1], *days[-1:]})
        found = [*loose, *(m for end in ends if end for m in (end.content.first_minute, end.content.last_minute))]
        return (min(found), max(found)) if found else None

    def removed(self, instrument: Instrument) -> list[int]:
        """The days, counted from 1970, that retention removed and that did not come back; in order."""
        return self._archive.catalog.removed_days(instrument)

    def lost(self, instrument: Instrument, first: int, last: int) -> list[Lost]:
        """What of the range lies in the archive and isn't read, for its manifest is missing."""
        return lost_parts(self._archive, instrument, range(first, last), lambda: self._listed(instrument, first, last))

    def days(self, instrument: Instrument, first: int, last: int) -> list[int]:
        """The days of the range, counted from 1970, that hold any minute."""
        hot = {day_of(m) for m in self._hot.minutes(instrument)}
        warm = {day_of(m) for m in self._listed(instrument, first, last)}
        found = sorted({*hot, *warm, *self._archive.days(instrument)})
        return [day for day in found if day * MINUTES_PER_DAY < last and (day + 1) * MINUTES_PER_DAY > first]

    def levels(
        self, instrument: Instrument, first: int, last: int, columns: Sequence[str] | None = None, prices: Prices = _EVERY
    ) -> pa.Table:
        """Price levels by time and price, with only these columns, in the archive's types."""
        loose = self._loose(instrument, first, last)
        names = list(LEVELS.names if columns is None else columns)
        needed = list(dict.fromkeys(["timestamp", "price_level", *names])) if loose else names
        cold = self._archive.read_levels(instrument, first, last, needed, prices=prices)
        table = within(tables_of(list(loose.values()), exact=False).levels, prices)
        return _joined(cold, table, loose, ("timestamp", "price_level")).select(names)

    def minutes(self, instrument: Instrument, first: int, last: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Minutes, a row each, with only these columns. `notional` is a float; a status has the same code in each table."""
        loose = self._loose(instrument, first, last)
        names = list(MINUTES.names if columns is None else columns)
        needed = list(dict.fromkeys(["timestamp", *names])) if loose else names
        cold = _uniform(self._archive.read_minutes(instrument, first, last, needed))
        table = _uniform(_heads_of(loose.values()))
        return _joined(cold, table, loose, ("timestamp",)).select(names)

    def nearest(self, instrument: Instrument, first: int, last: int, columns: Sequence[str], *, latest: bool) -> pa.Table:
        """The latest minute of a range that is kept, or the first one; no row where there is none."""
        loose = [*self._hot.minutes(instrument), *self._listed(instrument, first, last)]
        archived = starts(self._archive.read_minutes(instrument, first, last, ["timestamp"]))
        found = [m for m in (*loose, *archived) if first <= m < last]
        at = (max if latest else min)(found, default=first)
        return self.minutes(instrument, at, at + 1 if found else at, columns)

    def lasting(self, kind: Kind, instrument: Instrument, first: int, last: int) -> Lasting:
        """The range for tools that read Parquet themselves: they don't ask for checksums, so each file's is asked for here."""
        loose = self._loose(instrument, first, last)
        parts = list(loose.values())
        table = tables_of(parts, exact=False).levels if kind == "levels" else _uniform(_heads_of(parts))
        files = self._archive.whole_parts_between(kind, instrument, first, last)
        return Lasting(list(_files(files, first, last)), table, [m for m in loose if day_of(m) in files])

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _loose(self, instrument: Instrument, first: int, last: int) -> dict[int, Parts]:
        """Minutes of window and files that the archive lacks, or has in an earlier revision."""
        found: dict[int, Parts] = {}
        for minute, parts in [*self._hot.between(instrument, first, last), *self._warm(instrument, first, last)]:
            if minute not in found or parts.head.revision > found[minute].head.revision:
                found[minute] = parts
        archived = self._archived(instrument, found)
        return {m: parts for m, parts in sorted(found.items()) if parts.head.revision > archived.get(m, 0)}

    def _archived(self, instrument: Instrument, minutes: Collection[int]) -> dict[int, int]:
        """The revisions that the archive has of these minutes, and of others of their days."""
        found: dict[int, int] = {}
        for day in sorted({day_of(m) for m in minutes} & set(self._archive.days(instrument) if minutes else ())):
            start = day * MINUTES_PER_DAY
            table = self._archive.read_minutes(instrument, start, start + MINUTES_PER_DAY, ["timestamp", "revision"])
            found.update(zip(starts(table), table["revision"].to_pylist(), strict=True))
        return found

    def _warm(self, instrument: Instrument, first: int, last: int) -> Iterator[tuple[int, Parts]]:
        for minute in self._listed(instrument, first, last):
            found = self._files.parts(instrument, minute)
            if found is not None:  # else it went into the archive since it was listed
                yield minute, found[0]

    def _listed(self, instrument: Instrument, first: int, last: int) -> list[int]:
        """Under the folder's lock: on some file systems a list that is made meanwhile lacks a file that was just replaced."""
        folder = self._files.folder(instrument)
        if not folder.is_dir():
            return []
        with folder_lock(folder):
            return self._files.between(instrument, first, last)


def _heads_of(parts: Iterable[Parts]) -> pa.Table:
    """The table of minutes. Of their levels, of which there may be many, it takes none: one each is read in vain."""
    short = [replace(p, levels=p.levels.partition(b"\n")[0]) for p in parts]
    return tables_of(short, exact=False).minutes


def _files(parts: Mapping[int, Path], first: int, last: int) -> Iterator[Files]:
    """Days that follow each other in one portion; but a file of many days alone, for some of them may lie elsewhere now."""
    often = Counter(parts.values())
    portions: list[list[int]] = []
    for day, path in sorted(parts.items()):
        before = portions[-1][-1] if portions else None
        joins = before == day - 1 and (parts[before] == path or often[path] == often[parts[before]] == 1)
        if joins:
            portions[-1].append(day)
        else:
            portions.append([day])
    for days in portions:
        paths = list(dict.fromkeys(parts[day] for day in days))
        yield Files(paths, max(first, days[0] * MINUTES_PER_DAY), min(last, (days[-1] + 1) * MINUTES_PER_DAY))


def _joined(cold: pa.Table, loose: pa.Table, minutes: Mapping[int, Parts], order: tuple[str, ...]) -> pa.Table:
    """The archive's rows and the loose ones in one order. Of a loose minute the archive may have a copy: it gives way, also
    where a compaction put it there after we looked."""
    if not minutes:
        return cold
    loose = loose.select(cold.column_names)
    values = pa.array([m * US_PER_MINUTE for m in minutes], pa.int64()).cast(MINUTES.field("timestamp").type)
    cold = cold.filter(pc.invert(pc.is_in(cold["timestamp"], value_set=values)))
    both = pa.concat_tables([cold, loose])
    if len(cold) and len(loose) and pc.max(cold["timestamp"]).as_py() > pc.min(loose["timestamp"]).as_py():
        both = both.sort_by([(name, "ascending") for name in order])
    return both.combine_chunks()


def _uniform(minutes: pa.Table) -> pa.Table:
    """Hot and cold rows in one type: exact decimals as floats, and one dictionary of statuses, in one order."""
    for name in _FLOATS:
        if name in minutes.column_names:
            at = minutes.schema.get_field_index(name)
            minutes = minutes.set_column(at, name, minutes[name].cast(pa.float64()))
    if "status" not in minutes.column_names:
        return minutes
    column = pa.DictionaryArray.from_arrays(pa.array(codes_of(minutes["status"], STATUSES), pa.int32()), pa.array(STATUSES))
    return minutes.set_column(minutes.schema.get_field_index("status"), "status", column)
