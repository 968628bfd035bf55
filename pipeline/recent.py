"""Which trades were taken, where ids prove only order, or nothing. Pure; small enough to be stored with every flush."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.instrument import IdRule
from pipeline.minute import Gap, IdRange, Minute
from pipeline.trade import TradeBatch, TradeId
from pipeline.unseen import MAX_SEEN, Mask, Unseen

RECENT = 512  # ids remembered: stored with every flush, so few
EDGE = 16  # with a stretch in which trades may have been missed, so many of those on both sides are remembered


class RecentIds:
    """The highest ids are remembered; everything up to a floor is in doubt, but for the stretches known to be unseen.

    Monotonic ids have their place (their key) by the id itself; opaque ones by time. Whatever was taken is among the
    recent ones, or inside an unseen stretch and known there, or at or below the floor and in its minute.
    """

    def __init__(self, rule: IdRule, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self.rule = rule
        self._recent: list[tuple[int, TradeId]] = sorted(((k, i) for k, i in state.get("recent", ())), key=itemgetter(0))
        self._known = {i for _, i in self._recent}
        self._top: int | None = state.get("top")
        self._floor: int | None = state.get("floor")
        self._unseen = Unseen(state.get("unseen", ()))
        self._resuming: bool = state.get("resuming", False)  # trades may lack between the top and the next above it
        self._apart: bool = state.get("apart", False)  # nothing but history was taken

    def sort(self, batch: TradeBatch) -> TradeBatch:
        """By id, or by time where ids are opaque."""
        keys = self._keys(batch)
        return batch if (keys[1:] >= keys[:-1]).all() else batch.take(np.argsort(keys, kind="stable"))

    def judge(self, batch: TradeBatch) -> tuple[Mask, Mask]:
        """Exact above the floor and in unseen stretches; else at or below it all is doubtful but what is remembered."""
        keys = self._keys(batch)
        doubtful = np.zeros(len(batch), dtype=bool)
        if self.rule is IdRule.MONOTONIC and (self._top is None or (len(keys) and keys[0] > self._top)):
            fresh = np.ones(len(batch), dtype=bool)
            fresh[1:] = keys[1:] != keys[:-1]
            return fresh, doubtful
        known = set(self._known)
        fresh = doubtful.copy()
        for row, trade_id in enumerate(batch.ids.tolist()):
            if trade_id not in known:
                known.add(trade_id)
                fresh[row] = True
        if self._floor is not None:
            doubtful = fresh & (keys <= self._floor).astype(bool)
        self._unseen.judge(keys, batch.ids, fresh, doubtful)
        return fresh & ~doubtful, doubtful

    def add(self, batch: TradeBatch, offered: TradeBatch | None = None) -> set[int]:
        """Remembers the ids, forgets the lowest. No minute's completeness hangs on it."""
        offered = batch if offered is None else offered
        if not len(offered):
            return set()
        self._open(offered)
        keys = self._keys(batch)
        if offered.repair or offered.apart:
            self._cover(offered)
        elif self._unseen.rows(keys) > MAX_SEEN // 4:  # a tape
            self._cover(batch)
        else:
            self._unseen.note(keys, batch.ids)
        self._remember(keys, batch.ids)
        return set()

    def remember(self, batch: TradeBatch) -> None:
        """Needs nothing: asked again, the minute gives the same answer."""

    def known(self) -> IdRange | None:
        """None: they prove nothing."""
        return None

    def gaps(self) -> list[Gap]:
        """None can be known."""
        return []

    def proven(self, minute_start_ns: int) -> bool:
        """Never."""
        return False

    def lacks(self, key: int, trade_id: TradeId) -> bool:
        """Whether this trade surely was not taken, by all that is remembered."""
        return self._unseen.holds(key, trade_id)

    def unseen(self, first: int, last: int) -> list[IdRange]:
        """What of these keys may not have been taken, as far as it is remembered."""
        above = first if self._top is None else max(first, self._top + 1)
        return self._unseen.within(first, last) + ([(above, last)] if above <= last else [])

    def unseen_ns(self, since_ns: int, until_ns: int) -> list[tuple[int, int]]:
        """Of times as keys the same; of ids nothing is known."""
        return self.unseen(since_ns, until_ns) if self.rule is IdRule.OPAQUE else [(since_ns, until_ns)]

    def recall(self, minute: Minute) -> None:
        """Needs nothing: minutes that were kept are asked."""

    @property
    def forgotten_below(self) -> int | None:
        """No hole is known."""
        return None

    def begin(self) -> None:
        """From now on trades may have been missed above the top."""
        self._apart = False

    @property
    def last_id(self) -> TradeId | None:
        """The highest id, or with opaque ids the latest."""
        if self.rule is IdRule.MONOTONIC:
            return self._top
        return self._recent[-1][1] if self._recent else None

    @property
    def began(self) -> bool:
        """Whether anything but history was taken."""
        return self._top is not None and not self._apart

    def state(self) -> dict[str, Any]:
        """The remembered ids with their places, the floor, and what is unseen."""
        state: dict[str, Any] = {"recent": [list(r) for r in self._recent], "top": self._top, "floor": self._floor}
        if self._unseen:
            state["unseen"] = self._unseen.state()
        return state | {name: True for name in ("resuming", "apart") if getattr(self, f"_{name}")}

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _open(self, offered: TradeBatch) -> None:
        """Between what was taken and this batch there may be trades that were missed; before the very first all is."""
        keys, history = self._keys(offered), offered.repair or offered.apart
        self._apart = offered.apart and (self._top is None or self._apart)
        self._resuming |= offered.resumed
        if self._top is None:
            self._unseen.open(0, int(keys[0]), ())
        elif keys[-1] > self._top and (self._resuming or (history and self._lies_above(int(keys[0])))):
            first = self._recent[-EDGE:][0][0] if self._recent else self._top + 1
            first = first if self._floor is None else max(first, self._floor + 1)
            above = keys[np.searchsorted(keys, self._top, "right") :]
            self._unseen.open(first, int(above[:EDGE][-1]), self._recent)
        elif keys[-1] <= self._top:
            return  # the next one above it tells more
        self._resuming &= history

    def _lies_above(self, first: int) -> bool:
        """Whether a page that begins here need not join what was taken: in the latest moment others may lack before it."""
        return first >= (self._top or 0) + (self.rule is IdRule.MONOTONIC)

    def _cover(self, offered: TradeBatch) -> None:
        """A page of history holds all trades between its ends, but at its ends' own moments perhaps not all."""
        keys = self._keys(offered)
        if self.rule is IdRule.MONOTONIC:
            self._unseen.cover(int(keys[0]), int(keys[-1]))
            return
        self._unseen.cover(int(keys[0]) + 1, int(keys[-1]) - 1)
        for end in {int(keys[0]), int(keys[-1])}:
            at = slice(int(np.searchsorted(keys, end)), int(np.searchsorted(keys, end, "right")))
            self._unseen.note(keys[at], offered.ids[at])

    def _remember(self, keys: NDArray[Any], ids: NDArray[Any]) -> None:
        """What lies at or below the floor need not be remembered: its minute has it, or its stretch."""
        start = 0 if self._floor is None else int(np.searchsorted(keys, self._floor, "right"))
        start = max(start, len(keys) - RECENT - 1)  # and of the others the last; one more tells the floor
        if start >= len(keys):
            return
        in_order = not self._recent or keys[start] >= self._recent[-1][0]
        self._recent += zip(keys[start:].tolist(), ids[start:].tolist(), strict=True)
        self._known.update(ids[start:].tolist())
        if not in_order:
            self._recent.sort(key=itemgetter(0))
        self._top = max(self._top or 0, self._recent[-1][0])
        excess = len(self._recent) - RECENT
        if excess > 0:
            self._floor = self._recent[excess - 1][0]
            self._known.difference_update([i for _, i in self._recent[:excess]])
            del self._recent[:excess]

    def _keys(self, batch: TradeBatch) -> NDArray[Any]:
        return batch.ids if self.rule is IdRule.MONOTONIC else batch.ts_ns
