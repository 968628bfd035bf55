"""The book of kline checks: counted once, and resolved by later revisions only."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from sinks.ledger.klines import Figures, KlineBook, KlineCheck, KlineSums
from sinks.ledger.ledger import Ledger

BTC = Instrument("binance", "BTCUSDT")
ETH = Instrument("binance", "ETHUSDT")


def check(minute: int, ours: str = "1", theirs: str = "1", revision: int = 1, status: str = "complete") -> KlineCheck:
    return KlineCheck(minute, revision, status, Figures(Decimal(ours), Decimal(ours), 3), Figures(Decimal(theirs)))


@pytest.fixture
def book(ledger: Ledger) -> KlineBook:
    return ledger.klines


def test_nothing_checked_is_nothing_known(book: KlineBook) -> None:
    assert book.sums(BTC) is None
    assert book.standing(BTC, 10) == []
    assert book.instruments() == []


def test_checks_are_counted_once_however_often_they_are_recorded(book: KlineBook) -> None:
    for _ in range(2):
        book.record(BTC, [check(10), check(11, "2", "3"), check(13)], 1, until=13, unanswered=1)
    wrong = check(11, "2", "3")
    assert book.sums(BTC) == KlineSums(13, checked=3, unanswered=1, differing=1, unexplained=1, last=wrong)
    book.record(BTC, [check(13), check(14), check(15)], 2, until=15)
    assert book.sums(BTC) == KlineSums(15, checked=5, unanswered=1, differing=1, unexplained=1, last=wrong)
    book.record(BTC, [check(9, "1", "2")], 3, until=9)  # never moves back
    sums = book.sums(BTC)
    assert sums is not None
    assert (sums.checked_until, sums.checked, sums.differing) == (15, 5, 2)


def test_figures_are_kept_to_the_last_digit(book: KlineBook) -> None:
    exact = KlineCheck(
        5,
        2,
        "repaired",
        Figures(Decimal("0.1000"), Decimal("1E-20"), 2**60),
        Figures(Decimal("123456789012345678.9012345678901234")),
    )
    book.record(BTC, [exact], 1, until=5)
    assert book.standing(BTC, 1) == [exact]


def test_a_later_revision_resolves_and_an_earlier_one_does_not_come_back(book: KlineBook) -> None:
    book.record(BTC, [check(10, "2", "3")], 1, until=10)
    book.record(BTC, [check(10, "2.5", "3", revision=2)], 2, until=10)
    assert [c.revision for c in book.standing(BTC, 10)] == [2]
    book.record(BTC, [check(10, "3", "3", revision=3)], 3, until=10)
    assert book.sums(BTC) == KlineSums(10, checked=1, resolved=1)
    book.record(BTC, [check(10, "2", "3")], 4, until=10)  # what another process compared long ago
    assert book.sums(BTC) == KlineSums(10, checked=1, resolved=1)
    book.record(BTC, [check(10, "4", "3", revision=4)], 5, until=10)
    assert book.sums(BTC) == KlineSums(10, checked=1, differing=1, unexplained=1, last=check(10, "4", "3", revision=4))


def test_a_difference_with_a_known_reason_is_told_apart(book: KlineBook) -> None:
    checks = [check(n, "2", "3", status=s) for n, s in enumerate(["complete", "degraded", "unknown", "none", "repaired"])]
    book.record(BTC, checks, 1, until=4)
    sums = book.sums(BTC)
    assert sums is not None
    assert (sums.differing, sums.unexplained) == (5, 3)


def test_those_that_stand_are_the_latest_in_order(book: KlineBook) -> None:
    book.record(BTC, [check(n, "2", "3") for n in range(5)], 1, until=4)
    assert [c.minute for c in book.standing(BTC, 2)] == [3, 4]


def test_instruments_do_not_mix(book: KlineBook) -> None:
    book.record(BTC, [check(10, "2", "3")], 1, until=10)
    book.record(ETH, [check(20)], 1, until=20)
    assert book.instruments() == [BTC, ETH]
    assert book.sums(ETH) == KlineSums(20, checked=1)
    assert book.standing(ETH, 10) == []


@pytest.mark.parametrize("volume", ["NaN", "-1", "Infinity"])
def test_figures_that_are_none_are_refused(volume: str) -> None:
    with pytest.raises(BadValue):
        Figures(Decimal(volume))
    with pytest.raises(BadValue):
        Figures(Decimal(1), Decimal(volume))
    with pytest.raises(BadValue):
        Figures(Decimal(1), None, -1)
