"""A fill is recorded in all books or in none."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import AlreadyExists, BadValue, Missing, NotAllowed
from pipeline.trading import exact
from pipeline.trading.money import Currency, Money
from pipeline.trading.order import OrderStatus
from pipeline.trading.transaction import Transaction
from sinks.ledger.fills import settlement
from sinks.ledger.ledger import Ledger, open_ledger
from tests.sinks.ledger.made import START, account, later, market, position, store_owners, strategy, trade

OWN = {"account_id": "acc_001", "strategy_id": "s1"}
SPOT: dict[str, Any] = {"base": "BTC", "quote": "USDT"}
TABLES = ("orders", "trades", "positions", "transactions")


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    """An account with 1,000 USDT, and an order to buy and one to sell 1 BTC."""
    books.accounts.save(account(held="1000 USDT"))
    books.strategies.save(strategy())
    books.orders.save_many([market("o1", **OWN), market("o2", "sell", **OWN)])
    return books


def state(ledger: Ledger) -> list[Any]:
    return [ledger.accounts.find_all(), *(getattr(ledger, name).find_all() for name in TABLES)]


def told(transactions: Sequence[Transaction]) -> list[str]:
    return [f"{each.transaction_type} {each.amount}" for each in transactions]


def test_a_fill_is_in_the_order_the_position_and_the_trades(kept: Ledger) -> None:
    first = kept.orders.record_fill(trade("t1", quantity="0.25", price="100.5", commission="0.1"))
    second = kept.orders.record_fill(trade("t2", quantity="0.75", price=101, executed_at=later(1)))
    order, held = kept.orders.find_by_id("o1"), kept.positions.find_by_id(first.position.position_id)
    assert order == second.order
    assert order is not None and held is not None
    assert (order.status, order.average_fill_price, order.commission) == (
        OrderStatus.FILLED,
        Decimal("100.875"),
        Decimal("0.1"),
    )
    assert held == second.position
    assert (held.quantity, held.average_entry_price, held.strategy_id) == (Decimal(1), Decimal("100.875"), "s1")
    assert [t.trade_id for t in kept.trades.find_by_order("o1")] == ["t1", "t2"]
    assert kept.trades.find_by_strategy("s1")[1].account_id == "acc_001", "what the order tells stands in the trade"
    assert (first.transactions, kept.transactions.count()) == ((), 0)


def test_what_a_sale_realises_stands_in_the_trade_the_order_and_the_position(kept: Ledger) -> None:
    kept.orders.record_fill(trade("t1", quantity=1, price=100))
    sale = kept.orders.record_fill(trade("t2", order_id="o2", side="sell", quantity="0.4", price="110.5"))
    assert sale.trade.realized_pnl == sale.order.realized_pnl == sale.position.realized_pnl == Decimal("4.2")
    assert kept.trades.total_pnl("s1") == kept.positions.total_realized_pnl("s1") == Decimal("4.2")


def test_on_a_spot_market_both_currencies_are_settled(kept: Ledger) -> None:
    bought = kept.orders.record_fill(trade("t1", quantity="0.5", price="100.1", commission="0.01"), **SPOT)
    assert told(bought.transactions) == ["buy 50.05 USDT", "trade 0.5 BTC", "fee 0.01 USDT"]
    fee = {"commission": "0.001", "commission_currency": "BTC"}
    sold = kept.orders.record_fill(trade("t2", order_id="o2", side="sell", quantity="0.25", price=200, **fee), **SPOT)
    assert told(sold.transactions) == ["trade -0.25 BTC", "sell 50 USDT", "fee 0.001 BTC"]
    assert sold.order.commission == sold.position.commission - Decimal("0.01") == 0, "of another currency than the price's"
    held = kept.balances.find_by_id("acc_001")
    assert str(held) == "0.249 BTC, 999.94 USDT"
    assert [t.reference for t in kept.transactions.find_by_currency("acc_001", "BTC")][:2] == ["t2", "t2"]
    assert kept.transactions.find_by_currency("acc_001", "BTC")[0].occurred_at == START


def test_in_cash_only_what_was_realised_and_the_commission_are_settled(kept: Ledger) -> None:
    opened = kept.orders.record_fill(trade("t1", quantity=1, price=5000, commission="2"), quote="USDT")
    assert told(opened.transactions) == ["fee 2 USDT"]
    lost = trade("t2", order_id="o2", side="sell", quantity=1, price=4900, commission="-0.5")
    assert told(kept.orders.record_fill(lost, quote="USDT").transactions) == ["realized_pnl -100 USDT", "rebate 0.5 USDT"]
    assert kept.balances.available("acc_001", "USDT") == Money("898.5", "USDT")


def test_a_fill_that_crosses_zero_opens_the_other_way(kept: Ledger) -> None:
    kept.orders.record_fill(trade("t1", quantity="0.4", price=100))
    crossed = kept.orders.record_fill(trade("t2", order_id="o2", side="sell", quantity=1, price=110))
    assert (crossed.position.quantity, crossed.position.average_entry_price) == (Decimal("-0.6"), Decimal(110))
    assert crossed.trade.realized_pnl == Decimal(4)
    assert kept.positions.count() == 1


def test_a_fill_that_is_told_twice_is_recorded_once(kept: Ledger) -> None:
    kept.orders.record_fill(trade("t1"), quote="USDT")
    before = state(kept)
    with pytest.raises(AlreadyExists, match="trade 't1' is stored already"):
        kept.orders.record_fill(trade("t1"), quote="USDT")
    assert state(kept) == before


REFUSED: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({"order_id": "o9"}, {}, Missing, "order 'o9' isn't stored"),
    ({"symbol": "ETHUSDT"}, {}, BadValue, "symbol ETHUSDT: expected BTCUSDT"),
    ({"side": "sell"}, {}, BadValue, "side sell: expected buy"),
    ({"account_id": "other"}, {}, BadValue, "account_id other: expected acc_001"),
    ({"strategy_id": "other"}, {}, BadValue, "strategy_id other: expected s1"),
    ({"quantity": "1.000000000000000001"}, {}, NotAllowed, "expected at most 1"),
    ({}, {"position_id": "p9"}, Missing, "position 'p9' isn't stored"),
    ({}, {"base": "BTC"}, BadValue, "expected the currency that it was paid in"),
    ({}, {"quote": "no currency"}, BadValue, "currency"),
    ({"price": 3000}, SPOT, NotAllowed, "insufficient: 1000 USDT available"),
    ({"commission": "1000.01"}, {"quote": "USDT"}, NotAllowed, "insufficient"),
]


@pytest.mark.parametrize(("what", "how", "error", "message"), REFUSED)
def test_what_cannot_be_recorded_is_in_no_book(
    kept: Ledger, what: dict[str, Any], how: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = state(kept)
    with pytest.raises(error, match=message):
        kept.orders.record_fill(trade("t1", **{"price": 100} | what), **how)
    assert state(kept) == before


def test_a_position_of_ones_own_choice_is_filled_if_it_is_the_same_instruments(kept: Ledger) -> None:
    hedge, foreign = position("hedge", **OWN), position("foreign", **OWN | {"strategy_id": None})
    kept.positions.save_many([hedge, foreign, position("eth", symbol="ETHUSDT", **OWN)])
    chosen = kept.orders.record_fill(trade("t1", quantity="0.5", price=100), position_id="hedge")
    assert kept.positions.find_open(symbol="BTCUSDT", strategy_id="s1") == [chosen.position]
    with pytest.raises(BadValue, match="position foreign: strategy_id None: expected s1"):
        kept.orders.record_fill(trade("t2", quantity="0.1"), position_id="foreign")
    with pytest.raises(BadValue, match="symbol ETHUSDT"):
        kept.orders.record_fill(trade("t2", quantity="0.1"), position_id="eth")


def test_a_closed_position_is_not_opened_again(kept: Ledger) -> None:
    first = kept.orders.record_fill(trade("t1", quantity=1, price=100))
    kept.orders.record_fill(trade("t2", order_id="o2", side="sell", quantity=1, price=100))
    kept.positions.close(first.position.position_id)
    kept.orders.save(market("o3", **OWN))
    second = kept.orders.record_fill(trade("t3", order_id="o3", quantity="0.1", price=100))
    assert second.position.position_id != first.position.position_id
    assert kept.positions.find_by_instrument("s1", "BTCUSDT") == second.position


def test_orders_of_nobody_fill_a_position_of_nobody(books: Ledger) -> None:
    store_owners(books)
    books.orders.save_many([market("o1"), market("o2", strategy_id="s1")])
    alone = books.orders.record_fill(trade("t1", quantity="0.1"))
    with_strategy = books.orders.record_fill(trade("t2", order_id="o2", quantity="0.2"))
    assert alone.position.quantity + with_strategy.position.quantity == Decimal("0.3")
    assert {p.quantity for p in books.positions.find_all()} == {Decimal("0.1"), Decimal("0.2")}
    with pytest.raises(BadValue, match="expected an order with an account_id"):
        books.orders.record_fill(trade("t3", quantity="0.1"), quote="USDT")


def test_fills_recorded_at_once_by_several_ledgers_all_count(ledger_url: str) -> None:
    with open_ledger(ledger_url) as one, open_ledger(ledger_url) as other:
        one.accounts.save(account(held="1000 USDT"))
        one.orders.save(market("o1", quantity="1", account_id="acc_001"))

        def fill(ledger: Ledger, who: int) -> None:
            for n in range(5):
                ledger.orders.record_fill(trade(f"t{who}.{n}", quantity="0.05", price=100), **SPOT)

        threads = [threading.Thread(target=fill, args=(ledger, n)) for n, ledger in enumerate((one, other, one, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        order = one.orders.find_by_id("o1")
        assert order is not None
        assert (order.status, order.average_fill_price) == (OrderStatus.FILLED, Decimal(100))
        (held,) = one.positions.find_all()
        assert (held.quantity, one.trades.total_volume(), one.trades.count()) == (Decimal(1), Decimal(1), 20)
        assert str(one.balances.find_by_id("acc_001")) == "1 BTC, 900 USDT"


AMOUNTS = st.decimals("0.000000000000000001", "1000000", places=18)
FILLS = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), AMOUNTS, AMOUNTS, st.decimals("-1", "1", places=18)), max_size=8)


@settings(deadline=None, max_examples=25)
@given(FILLS)
def test_after_any_fills_the_books_agree(fills: list[tuple[str, Decimal, Decimal, Decimal]]) -> None:
    with open_ledger("memory://") as ledger:
        ledger.accounts.save(account(held="1000000000000000 USDT, 1000000000 BTC"))
        expected = ledger.transactions
        expected.save(Transaction(transaction_type="deposit", amount=Money(10**15, "USDT"), account_id="acc_001"))  # type: ignore[arg-type]
        expected.save(Transaction(transaction_type="deposit", amount=Money(10**9, "BTC"), account_id="acc_001"))  # type: ignore[arg-type]
        for n, (side, quantity, price, commission) in enumerate(fills):
            ledger.orders.save(market(f"o{n}", side, str(quantity), account_id="acc_001"))
            one = trade(f"t{n}", order_id=f"o{n}", side=side, quantity=quantity, price=price, commission=commission)
            ledger.orders.record_fill(one, **SPOT)
        signed = [quantity if side == "buy" else -quantity for side, quantity, _, _ in fills]
        assert exact.total(p.quantity for p in ledger.positions.find_all()) == exact.total(signed)
        assert ledger.trades.total_pnl() == ledger.positions.total_realized_pnl()
        assert exact.total(o.filled_value for o in ledger.orders.find_all()) == ledger.trades.total_value()
        for currency in (Currency.USDT, Currency.BTC):
            assert ledger.accounts.total(currency) == expected.get_sum_by_currency("acc_001", currency)
        assert ledger.accounts.total("BTC").amount == exact.add(exact.total(signed), Decimal(10**9))


def test_a_value_of_more_decimals_than_money_has_is_rounded_half_even() -> None:
    tiny = trade(quantity="0.000000000000000001", price="0.5", account_id="acc_001", realized_pnl=0)
    value = settlement(trade(quantity="0.000000000000000003", price="0.5", account_id="acc_001"), Currency.BTC, Currency.USDT)
    assert value[0].amount == Money("0.000000000000000002", "USDT")
    assert told(settlement(tiny, Currency.BTC, Currency.USDT)) == ["trade 0.000000000000000001 BTC"], "half of it is even: 0"
    assert settlement(tiny, None, Currency.USDT) == []
