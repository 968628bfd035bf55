"""Finds the id at which a time begins, in a history that is addressed by ids. Pure: answers in, the next request out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.trade import RawTrades

_HALVE_EVERY = 3  # guesses by the pace of trading may all fall on one side: now and then the middle is asked


@dataclass(slots=True)
class Search:
    """Looks for the lowest id at or after `at_ns`. Ids may have holes, and times be out of order within a page.

    An answer to a request at an id holds the trades from there on, or else the newest ones up to a page above it, as the venue
    likes. `low`: all trades with lower ids are earlier. `high`: the lowest id known to be late enough.
    """

    at_ns: int
    page_size: int
    low: int = 0
    high: int | None = None
    _low_ns: int | None = None
    _high_ns: int | None = None
    _end: int | None = None  # only below it there is anything to ask
    _newest: int = -1  # the highest id seen
    _found: bool = False
    _asked: int = 0

    @property
    def next_id(self) -> int | None:
        """The id to ask at next; None when the search is over."""
        if self._found or (self._end is not None and self.low >= self._end):
            return None
        if self._end is None:
            return self.low + (self.page_size << 2 * self._asked)
        guess = (self.low + self._end) // 2 if self._asked % _HALVE_EVERY == 0 else self._guess(self._end)
        return max(self.low, min(guess, self._end - 1) - self.page_size // 2)

    @property
    def end_id(self) -> int:
        """The id at which the time begins, or would begin with the next trade."""
        return self.low if self.high is None else self.high

    def first_answer(self, page: RawTrades) -> None:
        """The answer to a request for any trades: the oldest, or the newest."""
        if len(page.ts_ns):
            self._newest = int(np.asarray(page.ids).max())
            self.answer(int(np.asarray(page.ids).min()), page)
        else:
            self._end = self.low

    def answer(self, at: int, page: RawTrades | None) -> None:
        """What came for a request at `at`; None where the venue refused it."""
        self._asked += 1
        if page is None or not len(page.ts_ns):
            self._nothing(at)
            return
        ids = np.asarray(page.ids)
        order = np.argsort(ids, kind="stable")
        ids, ts_ns = ids[order], page.ts_ns[order]
        self._newest = max(self._newest, int(ids[-1]))
        late = ts_ns >= self.at_ns
        if not late.any():
            self._all_early(at, int(ids[-1]), int(ts_ns[-1]))
        elif late.all():
            self._all_late(at, int(ids[0]), int(ts_ns[0]))
        else:
            self.high, self._found = int(ids[np.argmax(late)]), True

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _nothing(self, at: int) -> None:
        """There are higher ids: then what is this old is gone. Or there are none."""
        if at <= self._newest:
            self.low = max(self.low, at + self.page_size)
        else:
            self._end = at if self._end is None else min(at, self._end)

    def _all_early(self, at: int, last: int, last_ns: int) -> None:
        following = at + self.page_size if last < at else last + 1
        if following > self.low:
            self.low, self._low_ns = following, last_ns
        if last < at and at > self._newest:  # it gives the newest ones, and so its first answer had the newest of all
            self.low = self._end = self._newest + 1

    def _all_late(self, at: int, first: int, first_ns: int) -> None:
        if self.high is None or first < self.high:
            self.high, self._high_ns = first, first_ns
        end = min(at, first)
        self._end = end if self._end is None else min(end, self._end)

    def _guess(self, end: int) -> int:
        if self._low_ns is None or self._high_ns is None or self._high_ns <= self._low_ns:
            return (self.low + end) // 2
        share = (self.at_ns - self._low_ns) / (self._high_ns - self._low_ns)
        return self.low + int((end - self.low) * min(max(share, 0.0), 1.0))
