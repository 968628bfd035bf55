"""What a writer remembers of what it sent."""

from __future__ import annotations

import pytest

from pipeline.ring import RING_NS, Ring
from pipeline.trade import TradeBatch
from tests.pipeline.builders import trade


def batch(*ids: int) -> TradeBatch:
    return TradeBatch.of([trade(i, "0:00") for i in ids])


def test_what_is_too_much_is_forgotten_from_the_oldest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ring.RING_TRADES", 4)
    ring = Ring()
    for first in (1, 3, 5):
        ring.add(batch(first, first + 1), now_ns=0)
    assert [b.ids.tolist() for b in ring] == [[3, 4], [5, 6]]
    assert len(ring) == 4


def test_what_is_too_old_is_forgotten_but_never_the_last() -> None:
    ring = Ring()
    ring.add(batch(1), now_ns=0)
    ring.add(batch(2), now_ns=RING_NS)
    assert [b.ids.tolist() for b in ring] == [[1], [2]]
    ring.add(batch(3), now_ns=2 * RING_NS + 1)
    assert [b.ids.tolist() for b in ring] == [[3]]
    assert len(ring) == 1
