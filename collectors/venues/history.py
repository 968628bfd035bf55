"""How a venue's history is walked, page by page. Pure: what is wanted and the last page say what to ask next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.trade import RawTrades


class Reach(StrEnum):
    """How a venue lets its history be addressed."""

    ID = "id"  # any page by its ids, as far back as the venue keeps them
    TIME = "time"  # any page by its time
    NEWEST = "newest"  # only the newest trades, of which one answer holds so many


@dataclass(frozen=True, slots=True)
class Span:
    """Trades that are wanted: ids `first_id`..`last_id`, at times `since_ns`..`until_ns`, as far as these are known.

    None is an open end: without `last_id` and `until_ns` all up to the newest is wanted. Both ends belong to it.
    """

    first_id: int | None = None
    last_id: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None


def ascending(span: Span, page: RawTrades | None) -> int | None:
    """For a history that gives the oldest trades from an id on: that id, or None when `page` was the last.

    `page`: the last answer, whole, or None before the first.
    """
    if page is None:
        return span.first_id or 0
    if not len(page.ts_ns) or _ends(span, page):
        return None
    return int(np.asarray(page.ids).max()) + 1


def descending(span: Span, page: RawTrades | None) -> tuple[bool, int | None]:
    """For a history that gives the newest trades below an id: whether to ask again, and that id (None: the newest of all)."""
    if page is None:
        return True, None if span.last_id is None else span.last_id + 1
    if not len(page.ts_ns):
        return False, None
    below, oldest_ns = int(np.asarray(page.ids).min()), int(page.ts_ns.min())
    reached = below <= span.first_id if span.first_id is not None else oldest_ns < (span.since_ns or 0)
    ignored = span.last_id is not None and below > span.last_id  # the venue gives what was not asked for
    return not (reached or ignored) and below > 0, below


def onward(span: Span, page: RawTrades | None, *, page_size: int, overlap_ns: int = 0) -> int | None:
    """For a history that gives the oldest trades from a time on: that time in ns, or None when `page` was the last.

    A page may end within a nanosecond's trades, so the next begins at the time at which it ended, or `overlap_ns` before it
    where the venue's times are blurred so far: some trades come twice. Only of trades that fill a page and all bear one time
    the rest can't be had.
    """
    if page is None:
        return max((span.since_ns or 0) - overlap_ns, 0)
    if not len(page.ts_ns) or _ends(span, page):
        return None
    first_ns, last_ns = int(page.ts_ns.min()), int(page.ts_ns.max())
    if last_ns - overlap_ns > first_ns:
        return last_ns - overlap_ns
    if len(page.ts_ns) < page_size:
        return None  # no more than what overlaps
    return last_ns if last_ns > first_ns else last_ns + 1


def _ends(span: Span, page: RawTrades) -> bool:
    """Whether a page of a walk towards newer trades reaches the end of the span: by ids where these are known, else by time."""
    if span.last_id is not None:
        return int(np.asarray(page.ids).max()) >= span.last_id
    return span.until_ns is not None and int(page.ts_ns.max()) > span.until_ns
