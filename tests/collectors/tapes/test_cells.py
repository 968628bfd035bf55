from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from collectors.tapes import cells
from collectors.tapes.cells import MadeIds, names, sides, sides_by_maker, whole_numbers


def texts(*values: str) -> pa.Array:
    return pa.array(values, pa.string())


def test_ids_are_whole_numbers_of_64_bits() -> None:
    ids, bad = whole_numbers(texts("1", "9223372036854775807", "x", "", "1.5", "-3", "9223372036854775808", "007"), "trade id")
    assert ids.tolist() == [1, 2**63 - 1, 0, 0, 0, 0, 0, 7]
    assert sorted(bad) == [2, 3, 4, 5, 6]
    assert bad[2] == "trade id 'x' can't be read"


def test_ids_may_be_names_but_not_nothing() -> None:
    ids, bad = names(texts("a-1", "", "7"))
    assert ids.tolist() == ["a-1", "", "7"]
    assert bad == {1: "no trade id"}


def test_sides_are_known_by_many_names_and_an_empty_one_is_an_auctions() -> None:
    found, bad = sides(texts("BUY", "sell", "Buy", "s", "", "none", "sideways"))
    assert found.tolist() == [1, -1, 1, -1, 0, 0, 0]
    assert bad == {6: "side 'sideways': expected buy, sell or nothing"}


def test_a_buyer_who_was_the_maker_means_a_sell() -> None:
    found, bad = sides_by_maker(texts("true", "False", "1", "0", ""))
    assert found.tolist() == [-1, 1, -1, 1, 0]
    assert bad == {4: "buyer-is-maker '': expected true or false"}


def test_made_ids_tell_identical_rows_apart_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeIds()
    once = (np.array([5, 5, 6]), texts("1.0", "1.0", "1.0"), texts("2", "2", "2"), np.array([1, 1, 1], dtype=np.int8))
    assert made.take(*once).tolist() == ["5_1.0_2_1_0", "5_1.0_2_1_1", "6_1.0_2_1_0"]
    assert made.take(*once).tolist() == ["5_1.0_2_1_2", "5_1.0_2_1_3", "6_1.0_2_1_1"]


def test_made_ids_remember_a_bounded_number_of_rows_yet_the_last_ones_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "REMEMBERED", 10)
    made = MadeIds()
    ids: list[str] = []
    for ns in range(1000):
        pair = (np.array([ns, ns]), texts("1", "1"), texts("2", "2"), np.array([0, 0], dtype=np.int8))
        ids += made.take(*pair).tolist()
        assert len(made._now) + len(made._before) <= 21
    assert len(set(ids)) == 2000
