"""A time is found in a history by ids, whichever way the venue counts, with holes, with old trades gone."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from collectors.search import Search
from pipeline.trade import RawTrades


def page(ids: list[int], at: dict[int, int]) -> RawTrades:
    n = len(ids)
    times = np.array([at[i] for i in ids], dtype=np.int64)
    return RawTrades(np.array(ids, dtype=np.int64), times, ["1"] * n, ["1"] * n, np.ones(n, dtype=np.int8))


def search(at: dict[int, int], when: int, size: int, *, upwards: bool, refuses: bool = False) -> tuple[int, bool, int]:
    """The id found, whether there is one, and how many requests it took."""
    ids, asked = sorted(at), 1
    wanted = Search(when, size)
    wanted.first_answer(page(ids[:size] if upwards else ids[-size:], at))
    while (start := wanted.next_id) is not None:
        asked += 1
        assert asked < 200, "it never ends"
        first = bisect_left(ids, start)
        end = bisect_left(ids, start + size)
        found = ids[first : first + size] if upwards else ids[max(0, end - size) : end]
        wanted.answer(start, page(found, at) if found or not refuses else None)
    return wanted.end_id, wanted.high is not None, asked


@given(
    steps=st.lists(st.integers(1, 300), max_size=60),
    pauses=st.lists(st.integers(0, 1000), min_size=60, max_size=60),
    when=st.integers(0, 20_000),
    size=st.integers(1, 20),
    upwards=st.booleans(),
    refuses=st.booleans(),
)
def test_the_first_id_at_or_after_a_time_is_found(
    steps: list[int], pauses: list[int], when: int, size: int, upwards: bool, refuses: bool
) -> None:
    at = dict(zip(accumulate(steps), accumulate(pauses), strict=False))
    end, exists, asked = search(at, when, size, upwards=upwards, refuses=refuses)
    late = [i for i, ns in at.items() if ns >= when]
    event(f"requests: {asked // 5 * 5}")
    assert exists is bool(late)
    if late:
        assert end == min(late)
    else:
        assert end > max(at, default=-1)


@pytest.mark.parametrize("upwards", [True, False])
def test_four_thousand_million_trades_take_a_few_dozen_requests(upwards: bool) -> None:
    class Far(dict[int, int]):
        def __missing__(self, number: int) -> int:
            return number * 1000

    newest, size, when = 4_000_000_000, 1000, 1_234_567_890_123
    wanted, at = Search(when, size), Far()
    first = range(size) if upwards else range(newest - size, newest)
    wanted.first_answer(page(list(first), at))
    asked = 1
    while (start := wanted.next_id) is not None:
        asked += 1
        wanted.answer(start, page(list(range(min(start, newest), min(start + size, newest))), at))
    assert wanted.end_id == 1_234_567_891
    assert asked < 40
