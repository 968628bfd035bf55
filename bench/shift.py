"""The day that is measured with, moved to other dates: a month of days as large as real ones, made in seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from bench.day import DAY, Day
from pipeline.minute import MINUTES_PER_DAY, day_text

_CHECKSUM = b',"checksum":"'


def days(day: Day, count: int) -> Iterator[Day]:
    """The day, and as many copies of it on the days after as make `count`; their files are whole."""
    for offset in range(count):
        yield Day(dict(_moved(day, offset)), day.levels)


def _moved(day: Day, offset: int) -> Iterator[tuple[int, bytes]]:
    old, new = (f'"timestamp":"{day_text(DAY + by)}T'.encode() for by in (0, offset))
    for minute, data in day.files.items():
        body = data[: data.rindex(_CHECKSUM)].replace(old, new, 1)
        yield minute + offset * MINUTES_PER_DAY, body + _CHECKSUM + hashlib.sha256(body).hexdigest().encode() + b'"}\n'
