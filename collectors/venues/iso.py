"""Times that venues write as ISO 8601 texts, exactly as nanoseconds. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.trade import NS_PER_S

_FEW = 12  # below this many texts numpy's calls cost more than they save
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = date(1970, 1, 1)
_DAY_NS = 86_400 * NS_PER_S
_LATEST = 2**63 - 1
_HIGHEST = "T29:59:59.999999999"  # the highest letters after the date, and the lowest; hours are looked at again
_LOWEST = "T00:00:00.000000000"
_WORTH = np.array([0, 36_000, 3_600, 0, 600, 60, 0, 10, 1, 0] + [0] * 9, np.int64) * NS_PER_S
_WORTH[10:] = 10 ** np.arange(8, -1, -1)  # what each digit after the date is worth, in ns


def iso_ns(texts: Sequence[str]) -> NDArray[np.int64]:
    """Times like `2021-04-17T16:43:30.244075Z` as nanoseconds since 1970; without an offset they are UTC.

    0 where a text is no time from 1970 on; digits below a nanosecond are dropped.
    """
    stamps = _alike(texts) if len(texts) >= _FEW else None
    return np.fromiter(map(one_iso_ns, texts), np.int64, len(texts)) if stamps is None else stamps


def one_iso_ns(text: str) -> int:
    """One time as nanoseconds since 1970, or 0."""
    found = _FORM.fullmatch(text)
    if not found:
        return 0
    day, hours, minutes, seconds, fraction, offset = found.groups()
    start_ns = _start_ns(day)
    if start_ns < 0 or hours > "23" or minutes > "59" or seconds > "59":
        return 0
    whole_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds) - _offset_s(offset or "Z")
    return max(start_ns + whole_s * NS_PER_S + int((fraction or "").ljust(9, "0")), 0)


def _offset_s(offset: str) -> int:
    """How far local time is ahead of UTC: `+09:00`."""
    if offset == "Z":
        return 0
    seconds = int(offset[1:3]) * 3600 + int(offset[4:]) * 60
    return -seconds if offset[0] == "-" else seconds


def _alike(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """The same for texts of one day and one length, with decimals and a Z, as most batches are; None for any others."""
    day, length = texts[0][:10], len(texts[0])
    lowest, highest = (day + bound[: length - 11] + "Z" for bound in (_LOWEST, _HIGHEST))
    start_ns = _start_ns(day)
    if not (length == len(lowest) >= 22 and start_ns >= 0 and set(map(len, texts)) == {length}):
        return None
    letters = np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8).reshape(len(texts), length)
    if (letters < _letters(lowest)).any() or (letters > _letters(highest)).any():
        return None
    worth = _WORTH[: length - 11]
    in_day = letters[:, 10:-1] @ worth - ord("0") * int(worth.sum())
    return None if (in_day >= _DAY_NS).any() else in_day + start_ns


@lru_cache(maxsize=8)
def _start_ns(day: str) -> int:
    """When a day starts, in ns since 1970; -1 for what is no day that can be told so."""
    try:
        at = date.fromisoformat(day)
    except ValueError:
        return -1
    days = at.toordinal() - _EPOCH.toordinal() if at.isoformat() == day else -1  # it also takes weeks: 2021-W15-6
    return days * _DAY_NS if 0 <= days * _DAY_NS < _LATEST - 6 * _DAY_NS else -1  # an offset may be 99:99


def _letters(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("ascii", "replace"), np.uint8)
