"""Stretches in which trades may have been missed: what was taken of them is known exactly, and they stay few."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import unseen
from pipeline.unseen import Unseen

KEYS = st.integers(0, 60)


def note(stretches: Unseen, *keys: int) -> None:
    ordered = np.array(sorted(keys), dtype=np.int64)
    stretches.note(ordered, ordered)


@given(data=st.data())
def test_each_key_is_unseen_seen_or_outside_as_a_set_of_keys_says(data: st.DataObject) -> None:
    stretches, inside, taken, top = Unseen(), set[int](), set[int](), 0
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(["open", "note", "cover", "restart"]))
        first = data.draw(KEYS)
        last = first + data.draw(st.integers(0, 15))
        if step == "open":
            first, last = max(first, top - 3), max(last, top + 1)
            stretches.open(first, last, [(key, key) for key in sorted(taken)])
            inside |= set(range(first, last + 1))
            top = max(top, last)
        elif step == "note":
            numbers = data.draw(st.sets(st.integers(first, last), max_size=5))
            note(stretches, *numbers)
            taken |= numbers & inside
        elif step == "cover":
            stretches.cover(first, last)
            inside -= set(range(first, last + 1))
        else:
            stretches = Unseen(json.loads(json.dumps(stretches.state())))
        assert {key for a, b in stretches.within(0, 99) for key in range(a, b + 1)} == inside
        assert {key for key in range(100) if stretches.holds(key, key)} == inside - taken
        _check_judging(stretches, inside, taken)


def _check_judging(stretches: Unseen, inside: set[int], taken: set[int]) -> None:
    keys = np.arange(100)
    fresh, doubtful = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    stretches.judge(keys, keys, fresh, doubtful)
    assert set(keys[~doubtful].tolist()) == inside
    assert set(keys[~fresh].tolist()) == inside & taken
    assert stretches.rows(keys) == len(inside)


def test_where_there_are_too_many_the_narrowest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "MAX_STRETCHES", 2)
    stretches = Unseen()
    for first, last in ((0, 50), (100, 110), (200, 230)):
        stretches.open(first, last, ())
    assert stretches.within(0, 999) == [(0, 50), (200, 230)]


def test_the_one_that_costs_the_most_is_forgotten_where_too_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "MAX_SEEN", 10)
    stretches = Unseen()
    stretches.open(0, 50, ())
    stretches.open(100, 150, ())
    note(stretches, *range(8), 100, 101)
    assert len(stretches) == 2
    note(stretches, 102)
    assert stretches.within(0, 999) == [(100, 150)]
