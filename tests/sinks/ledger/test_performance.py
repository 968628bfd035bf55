"""How accounts did, day by day."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from pipeline.errors import AlreadyExists, BadValue, Missing, StorageError
from pipeline.trading.performance import PerformanceMetrics
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.performance import AverageMetrics
from tests.sinks.ledger.made import account, day


def on(number: int) -> date:
    return date(2024, 10, number)


def days(found: list[PerformanceMetrics]) -> list[int]:
    return [each.date.day for each in found]


@pytest.fixture
def kept(books: Ledger) -> Ledger:
    books.accounts.save_many([account(), account("other")])
    few = [
        day(1, "0.1", sharpe_ratio=1.5, win_rate=0.6, trades_count=5, max_drawdown=-0.15),
        day(2, "0.2", sharpe_ratio=1, trades_count=6),
        day(3, "-10"),
        day(5, "9"),
        day(7, "9.0"),
        day(1, "100", "other"),
    ]
    books.performance.save_many(few)
    return books


def test_a_day_comes_back_as_it_was_saved(kept: Ledger) -> None:
    saved = day(1, "0.1", sharpe_ratio=1.5, win_rate=0.6, trades_count=5, max_drawdown=-0.15)
    assert kept.performance.find_by_date("acc_001", on(1)) == kept.performance.find_by_id("acc_001", on(1)) == saved
    assert kept.performance.find_by_date("acc_001", on(4)) is None
    assert (kept.performance.exists("acc_001", on(1)), kept.performance.exists("other", on(2))) == (True, False)
    assert (kept.performance.count(), len(kept.performance.find_all()), len(kept.performance.find_all(2, 5))) == (6, 6, 1)


def test_a_day_that_is_saved_again_is_replaced(kept: Ledger) -> None:
    kept.performance.save(day(1, "-5", trades_count=9))
    assert kept.performance.find_by_date("acc_001", on(1)) == day(1, "-5", trades_count=9)
    kept.performance.update(day(1, "-6"))
    assert kept.performance.find_by_date("acc_001", on(1)) == day(1, "-6")
    assert kept.performance.count() == 6
    with pytest.raises(AlreadyExists, match="performance of acc_001 on 2024-10-01 is stored already"):
        kept.performance.create(day(1))
    with pytest.raises(Missing, match="performance of acc_001 on 2024-10-04 isn't stored"):
        kept.performance.update(day(4))
    kept.performance.create(day(4))
    assert kept.performance.delete("acc_001", on(4))
    assert not kept.performance.delete("acc_001", on(4))


def test_a_day_of_nobody_is_refused_and_all_with_it(kept: Ledger) -> None:
    with pytest.raises(Missing):
        kept.performance.save_many([day(20), day(20, key="nobody")])
    assert kept.performance.count() == 6


def test_ranges_have_both_ends(kept: Ledger) -> None:
    find = kept.performance.find_range
    assert days(find("acc_001", on(2), on(5))) == [2, 3, 5]
    assert days(find("acc_001", end=on(2))) == [1, 2]
    assert days(find("acc_001", on(5))) == [5, 7]
    assert days(kept.performance.find_by_account("acc_001")) == [1, 2, 3, 5, 7]
    latest = kept.performance.find_latest("acc_001")
    assert latest is not None
    assert latest.date == on(7)
    for wrong in (datetime(2024, 10, 1), "2024-10-01"):
        with pytest.raises(BadValue, match="expected a date, without a time"):
            find("acc_001", wrong)  # type: ignore[arg-type]


def test_the_best_and_the_worst_day_are_by_number_not_by_text(kept: Ledger) -> None:
    best, worst = kept.performance.get_best_day("acc_001"), kept.performance.get_worst_day("acc_001")
    assert best is not None and worst is not None
    assert (best.date, worst.date) == (on(5), on(3)), "of equal days the first"
    best, worst = kept.performance.get_best_day("acc_001", end=on(2)), kept.performance.get_worst_day("acc_001", on(4))
    assert best is not None and worst is not None
    assert (best.date, worst.date) == (on(2), on(5))
    assert kept.performance.get_best_day("nobody") is None


def test_profit_is_summed_exactly(kept: Ledger) -> None:
    assert kept.performance.get_total_pnl("acc_001") == Decimal("8.3")
    assert kept.performance.get_total_pnl("acc_001", on(1), on(2)) == Decimal("0.3")
    assert kept.performance.get_total_pnl("nobody") == 0


def test_means_are_over_the_days_that_are_there(kept: Ledger) -> None:
    found = kept.performance.get_average_metrics("acc_001", days=3, until=on(3))
    third = Decimal("-3.233333333333333333")
    trades = Decimal("3.666666666666666667")
    assert found == AverageMetrics(
        "acc_001", 3, Decimal(15000), third, Decimal("1.25"), None, Decimal("-0.15"), Decimal("0.6"), None, trades
    )
    assert kept.performance.get_average_metrics("acc_001", days=1, until=on(4)) is None
    assert kept.performance.get_average_metrics("acc_001", days=30) is None, "up to today"
    with pytest.raises(BadValue, match="days 0"):
        kept.performance.get_average_metrics("acc_001", days=0)


def test_what_an_old_database_holds_and_no_account_can_have_is_an_error() -> None:
    with open_ledger("memory://") as ledger:
        ledger.accounts.save(account())
        ledger.performance.save(day(1))
        with ledger.performance._database.writing() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            connection.exec_driver_sql("UPDATE performance_metrics SET win_rate = '7'")
        with pytest.raises(StorageError, match="what is stored can't be: performance of acc_001 on 2024-10-01: win_rate 7"):
            ledger.performance.find_by_account("acc_001")
