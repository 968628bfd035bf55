"""Trades, single and as columns; what can't be one is told apart with its reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.trade import EARLIEST_NS, RawTrades, Side, Trade, TradeBatch, concat, id_column
from tests.pipeline.builders import BTC, at, batch, raw, stream, trade

NOW_NS = at("1000:00")


def raw_row(**cells: Any) -> RawTrades:
    """One raw trade that is good but for `cells`."""
    values: dict[str, Any] = {"id": 1, "ts_ns": at("0:00"), "price": "100.5", "size": "0.1", "side": 1, "count": 1} | cells
    return RawTrades(
        [values["id"]],
        np.array([values["ts_ns"]], dtype=np.int64),
        [values["price"]],
        [values["size"]],
        np.array([values["side"]], dtype=np.int8),
        np.array([values["count"]], dtype=np.int64),
    )


@pytest.mark.parametrize(
    "cells",
    [
        {"price": Decimal(0)},
        {"price": Decimal(-1)},
        {"price": Decimal("NaN")},
        {"price": Decimal("Infinity")},
        {"size": Decimal(0)},
        {"size": Decimal("-0.1")},
        {"ts_event_ns": EARLIEST_NS - 1},
        {"count": 0},
    ],
)
def test_a_trade_refuses_what_can_not_be_one_and_names_itself(cells: dict[str, Any]) -> None:
    good: dict[str, Any] = {"price": Decimal(1), "size": Decimal(1), "ts_event_ns": at("0:00"), "count": 1}
    with pytest.raises(BadValue, match="trade 77"):
        Trade(BTC, 77, side=Side.BUY, **good | cells)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"price": "abc"}, "price 'abc' is not a decimal number"),
        ({"price": "0"}, "price not more than 0"),
        ({"price": "-5"}, "price not more than 0"),
        ({"price": ""}, "price '' is not a decimal number"),
        ({"size": "1e999"}, "out of range"),
        ({"size": "-0.5"}, "size not more than 0"),
        ({"size": "NaN"}, "size 'NaN' is not a decimal number"),
        ({"ts_ns": 0}, "no time: it can't be placed in a minute"),
        ({"ts_ns": 1}, "time before 2009"),
        ({"ts_ns": 2**63 - 1}, "time in the future"),
        ({"ts_ns": NOW_NS + 1}, "time in the future"),
        ({"count": 0}, "trade count less than 1"),
    ],
)
@pytest.mark.parametrize("others", [0, 60])
def test_a_row_that_is_no_trade_is_refused_with_its_reason_and_the_others_go_on(
    cells: dict[str, Any], reason: str, others: int
) -> None:
    bad, good = raw_row(**cells), raw(*stream(others))
    assert bad.count is not None
    assert good.count is not None
    mixed = RawTrades(
        [*bad.ids, *good.ids],
        np.concatenate([bad.ts_ns, good.ts_ns]),
        [*bad.price, *good.price],
        [*bad.size, *good.size],
        np.concatenate([bad.side, good.side]),
        np.concatenate([bad.count, good.count]),
    )
    checked, reasons = mixed.checked(latest_ns=NOW_NS)
    assert list(reasons) == [0]
    assert reason in reasons[0]
    assert len(checked) == others


def test_the_latest_time_itself_is_still_a_trade_s() -> None:
    checked, reasons = raw_row(ts_ns=NOW_NS).checked(latest_ns=NOW_NS)
    assert (len(checked), reasons) == (1, {})


def test_a_reader_s_own_reason_wins_over_what_follows_from_it() -> None:
    row = raw_row(ts_ns=0)
    refused = RawTrades(row.ids, row.ts_ns, row.price, row.size, row.side, row.count, {0: "time '30 February' is none"})
    assert refused.checked(latest_ns=NOW_NS)[1] == {0: "time '30 February' is none"}


def test_trades_without_counts_count_as_one_each() -> None:
    row = raw_row()
    checked, _ = RawTrades(row.ids, row.ts_ns, row.price, row.size, row.side).checked(latest_ns=NOW_NS)
    assert checked.count.tolist() == [1]


def test_raw_trades_give_the_same_columns_as_checked_ones() -> None:
    trades = stream(100)
    checked, reasons = raw(*trades).checked(latest_ns=NOW_NS)
    assert not reasons
    wanted = batch(*trades).widened(checked.price_scale, checked.size_scale)
    for name in ("ids", "ts_ns", "price", "size", "side", "count"):
        assert getattr(checked, name).tolist() == getattr(wanted, name).tolist(), name


@given(st.integers(0, 6), st.integers(0, 6))
def test_batches_of_different_scales_join_without_a_change_of_any_number(price_decimals: int, size_decimals: int) -> None:
    one = batch(trade(1, price="100", size="2"))
    other = batch(trade(2, price=f"{100:.{price_decimals}f}", size=f"{1:.{size_decimals}f}"), trade(3, price="0.5"))
    both = concat([one, other])
    prices = [Decimal(int(p)).scaleb(-both.price_scale) for p in both.price]
    assert prices == [100, 100, Decimal("0.5")]
    assert both.ids.tolist() == [1, 2, 3]


def test_an_empty_batch_joins_with_any_scale() -> None:
    fine = batch(trade(1, price="0." + "0" * 24 + "1"))
    assert concat([fine.take(slice(0, 0)), batch(trade(2, price="5"))]).widened(25, 0).price.tolist() == [5 * 10**25]
    assert len(concat([batch(trade(2, price="5")).take(slice(0, 0)), fine])) == 1


def test_a_repair_s_mark_survives_joining_and_choosing_rows() -> None:
    both = concat([batch(trade(1)), batch(trade(2), repair=True)])
    assert both.repair
    assert both.take(slice(0, 1)).repair


def test_a_trade_is_described_for_the_dead_letters() -> None:
    text = batch(trade(5, "0:01", "60000.10", "0.0070", "sell")).describe(0)
    assert text == f"id=5,time_ns={at('0:01')},price=60000.1,size=0.007,side=SELL"


@pytest.mark.parametrize(
    ("ids", "stored"),
    [([1, 2], [1, 2]), (["a", "b"], ["a", "b"]), ([1, "b"], ["1", "b"]), ([2**70], [2**70]), ([], [])],
)
def test_ids_are_integers_if_all_of_them_are_and_texts_otherwise(ids: list[int | str], stored: list[int | str]) -> None:
    assert id_column(ids).tolist() == stored


def test_a_batch_of_nothing_is_a_batch() -> None:
    assert len(TradeBatch.of([])) == 0
