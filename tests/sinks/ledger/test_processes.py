"""Several processes write one ledger at once, and some are killed: nothing that was acknowledged is lost, nothing is torn,
and the books agree to the last digit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Self

import pytest

from pipeline.trading.account import Account
from pipeline.trading.condition import Condition
from pipeline.trading.money import Currency, Money
from pipeline.trading.strategy import Strategy
from pipeline.trading.transaction import Transaction, TransactionType
from sinks.ledger.ledger import Ledger, open_ledger

WORKER = """
import os, random, sys
from pathlib import Path
from pipeline.errors import Stale
from pipeline.trading.money import Currency, Money
from pipeline.trading.names import new_id
from pipeline.trading.order import Order
from pipeline.trading.trade import Trade
from pipeline.trading.transaction import Transaction
from sinks.ledger.ledger import open_ledger

url, told, stop, seed = sys.argv[1:5]
chance, acks = random.Random(seed), os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def deposit(ledger):
    ledger.transactions.post(Transaction(transaction_type="deposit", amount=Money("0.1", "USDT")), "acc")

def withdraw(ledger):
    ledger.transactions.post(Transaction(transaction_type="fee", amount=Money("0.000000000000000001", "USDT")), "acc")

def count(ledger):
    ledger.strategies.increment_trade_count("s")

def condition(ledger):
    while True:
        found = ledger.conditions.find_by_id("shared")
        found.parameters = {"n": found.parameters["n"] + 1}
        try:
            return ledger.conditions.save(found)
        except Stale:
            continue

def order(ledger):
    name = new_id()
    what = {"order_id": name, "symbol": "BTCUSDT", "side": "buy"}
    ledger.orders.save(Order(**what, order_type="market", quantity="0.3", account_id="acc"))
    at = ledger.orders.find_by_id(name).created_at
    fill = Trade(**what, trade_id=new_id(), quantity="0.1", price="10.1", commission="0.001", executed_at=at)
    ledger.orders.record_fill(fill, quote=Currency.USDT)
    return name

with open_ledger(url) as ledger:
    while not Path(stop).exists():
        work = chance.choice((deposit, withdraw, count, condition, order))
        name = work(ledger) or ""
        os.write(acks, f"{work.__name__} {name}\\n".encode())
"""
WORKERS = 4
ENOUGH = 12  # acknowledged writes of a process before it may be killed


@dataclass
class Workers:
    """Processes that write, and what each acknowledged."""

    url: str
    folder: Path
    started: int = 0
    running: dict[Path, subprocess.Popen[str]] = field(default_factory=dict)
    everyone: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> None:
        told = self.folder / f"acks-{self.started}"
        told.touch()
        arguments = [self.url, str(told), str(self.folder / "stop"), str(self.started)]
        self.running[told] = subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stderr=subprocess.PIPE, text=True)
        self.everyone.append(self.running[told])
        self.started += 1

    def kill(self, told: Path) -> None:
        """Kills a process in the midst of its work."""
        process = self.running.pop(told)
        while told.read_text().count("\n") < ENOUGH:
            assert process.poll() is None, process.communicate()[1]
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def stop(self) -> None:
        """Lets all end by themselves."""
        for told, process in self.running.items():
            while told.read_text().count("\n") < ENOUGH and process.poll() is None:
                threading.Event().wait(0.01)
        (self.folder / "stop").touch()
        for process in self.running.values():
            errors = process.communicate(timeout=60)[1]
            assert process.returncode == 0, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """However the test went, none is left running."""
        for process in self.everyone:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def acknowledged(self) -> list[list[str]]:
        """What was, as words."""
        return [line.split() for told in sorted(self.folder.glob("acks-*")) for line in told.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_four_processes_write_at_once_and_some_are_killed(ledger_url: str, tmp_path: Path, kills: int) -> None:
    with open_ledger(ledger_url) as ledger:
        ledger.accounts.save(Account(account_id="acc", name="all of theirs"))
        ledger.transactions.post(
            Transaction(transaction_type=TransactionType.TRANSFER_IN, amount=Money(1000, Currency.USDT)), "acc"
        )
        ledger.strategies.save(Strategy(strategy_id="s", name="counts"))
        ledger.conditions.save(Condition(condition_id="shared", symbol="BTCUSDT", parameters={"n": 0}))
    chance = random.Random(kills)
    with Workers(ledger_url, tmp_path) as workers:
        for _ in range(WORKERS):
            workers.start()
        for _ in range(kills):
            workers.kill(chance.choice(list(workers.running)))
            workers.start()
        workers.stop()
    with open_ledger(ledger_url) as ledger:
        judge(ledger, workers.acknowledged(), kills)


def judge(ledger: Ledger, acknowledged: list[list[str]], kills: int) -> None:
    """What is stored against what was acknowledged: a process that was killed may have done one thing more than it told."""
    told = Counter(words[0] for words in acknowledged)
    strategy, condition = ledger.strategies.find_by_id("s"), ledger.conditions.find_by_id("shared")
    assert strategy is not None
    assert condition is not None
    assert told["count"] <= strategy.total_trades <= told["count"] + kills
    assert told["condition"] <= int(str(condition.parameters["n"])) <= told["condition"] + kills
    assert condition.version == int(str(condition.parameters["n"])) + 1
    judge_money(ledger, told, kills)
    judge_orders(ledger, {words[1] for words in acknowledged if words[0] == "order"})


def judge_money(ledger: Ledger, told: Counter[str], kills: int) -> None:
    account = ledger.accounts.find_by_id("acc")
    assert account is not None
    booked = ledger.transactions.find_by_account("acc", limit=1_000_000)
    kinds = Counter(str(t.transaction_type) for t in booked)
    assert told["deposit"] <= kinds["deposit"] <= told["deposit"] + kills
    exact = sum((t.effect().amount for t in booked), Decimal(0))
    assert account.balance.total(Currency.USDT).amount == exact
    assert ledger.transactions.get_sum_by_currency("acc", Currency.USDT).amount == exact


def judge_orders(ledger: Ledger, told: set[str]) -> None:
    orders = {order.order_id: order for order in ledger.orders.find_by_account("acc")}
    trades = ledger.trades.find_all()
    assert told <= {trade.order_id for trade in trades}
    for trade in trades:
        assert orders[trade.order_id].filled_quantity == trade.quantity
    bought = sum((trade.quantity for trade in trades), Decimal(0))
    assert sum((position.quantity for position in ledger.positions.find_all()), Decimal(0)) == bought
