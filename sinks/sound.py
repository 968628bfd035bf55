"""Whether what a manifest says can be so at all: pure, and cheap enough to ask before each use.

Its checksum tells that it is as it was written, not that what was written is right. Readers choose files, row groups and
minutes by it; so what they choose by must agree with itself here, and with the file's own footer in `sinks/parquet.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.minute import day_of, day_text, minute_text
from sinks.manifest import KINDS, Content, Kind, Manifest, Month
from sinks.parquet import Part


def require_sound(record: Manifest | Month, path: Path) -> None:
    """StorageError where a manifest contradicts itself."""
    try:
        line = next(contradictions(record), "")
    except (ValueError, OverflowError):
        line = "it names times beyond all years"
    if line:
        raise StorageError(f"{path}: lies: {line}")


def contradictions(record: Manifest | Month) -> Iterator[str]:
    """What a manifest says that can't be, a line each; nothing where it can."""
    if isinstance(record, Month):
        yield from _of_month(record)
    else:
        yield from _of_day(record)
    stem = f"{'month' if isinstance(record, Month) else 'part'}-{record.generation}.parquet"
    for kind in KINDS:
        if record.part(kind).file != stem:
            yield f"its generation is {record.generation}, and its {kind} are {record.part(kind).file}"


def _of_day(day: Manifest) -> Iterator[str]:
    yield from _of_content(day.date, day.content)
    yield from _of_open(day.date, day.open)
    yield from _of_parts(day, [day.content])
    if day.minutes.rows != day.content.minutes:
        yield f"it has {day.content.minutes:,} minutes, and {day.minutes.rows:,} rows of them"


def _of_month(month: Month) -> Iterator[str]:
    contents = [day.content for day in month.days]
    if not contents:
        yield "it has no days"
        return
    if any(a.last_minute >= b.first_minute for a, b in pairwise(contents)):
        yield "its days don't stand in order"
    for day in month.days:
        date = day_text(day_of(day.content.first_minute))
        yield from _of_content(date, day.content)
        yield from _of_open(date, day.open)
        if not date.startswith(month.month):
            yield f"{date} is no day of {month.month}"
    yield from _of_parts(month, contents)
    rows: dict[Kind, int] = {"levels": sum(d.levels for d in month.days), "minutes": sum(c.minutes for c in contents)}
    for kind in KINDS:
        if month.part(kind).rows != rows[kind]:
            yield f"its days have {rows[kind]:,} {kind}, and its file {month.part(kind).rows:,}"


def _of_content(date: str, content: Content) -> Iterator[str]:
    first, last = content.first_minute, content.last_minute
    if first > last or (day_text(day_of(first)), day_text(day_of(last))) != (date, date):
        yield f"the minutes of {date} go from {minute_text(first)} to {minute_text(last)}"
    if not 1 <= content.minutes <= last - first + 1:
        yield f"{content.minutes:,} minutes lie between {minute_text(first)} and {minute_text(last)}"


def _of_open(date: str, minutes: Sequence[str]) -> Iterator[str]:
    yield from (f"{minute!r} is no minute of {date}" for minute in minutes if not minute.startswith(date))


def _of_parts(record: Manifest | Month, contents: Sequence[Content]) -> Iterator[str]:
    for kind in KINDS:
        yield from _of_part(kind, record.part(kind), contents[0].first_minute, contents[-1].last_minute)


def _of_part(kind: Kind, part: Part, first: int, last: int) -> Iterator[str]:
    groups = part.groups
    if part.rows != sum(group.rows for group in groups):
        yield f"it has {part.rows:,} rows of {kind}, and its row groups have others"
    if any(a.last >= b.first for a, b in pairwise(groups)) or any(g.first > g.last or g.rows < 1 for g in groups):
        yield f"its row groups of {kind} overlap or hold nothing"
    if not groups or (groups[0].first, groups[-1].last) != (first, last):
        yield f"its {kind} don't go from {minute_text(first)} to {minute_text(last)}"
