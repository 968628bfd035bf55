"""The ledger, and what programs share, from asyncio."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadValue, Missing, Stale, StorageError
from pipeline.trading.account import Account
from pipeline.trading.balance import Balance
from pipeline.trading.condition import Condition
from pipeline.trading.money import Money
from pipeline.trading.order import Order
from pipeline.trading.service import ServiceInfo
from pipeline.trading.transaction import Transaction
from sinks.ledger.aio import AsyncLedger, Face, aopen_ledger, aopen_shared
from sinks.ledger.database import Database
from sinks.ledger.ledger import Ledger
from tests.sinks.ledger.redis.servers import running
from tests.sinks.ledger.test_changes import WRITER, started


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[AsyncLedger]:
    async with aopen_ledger(ledger_url) as opened:
        yield opened
    assert ours() == []


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("ledger", "redis_"))]


def condition(name: str) -> Condition:
    return Condition(condition_id=name, symbol="BTCUSDT")


def database(ledger: AsyncLedger) -> Database:
    return ledger._ledger.database


def count_commits(ledger: AsyncLedger, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    engine, commits = database(ledger).engine, list[Any]()
    commit = engine.commit

    def counted(connection: Any) -> None:
        commits.append(connection)
        commit(connection)

    monkeypatch.setattr(engine, "commit", counted)
    return commits


async def test_each_operation_is_awaited(ledger: AsyncLedger) -> None:
    order = Order(order_id="o1", symbol="BTCUSDT", side="buy", order_type="market", quantity=1)  # type: ignore[arg-type]
    await ledger.orders.save(order)
    assert await ledger.orders.find_by_id("o1") == order
    order.submit()
    await ledger.orders.update(order)
    assert [each.version for each in await ledger.orders.find_all(limit=5)] == [2]
    assert (await ledger.orders.count(), await ledger.orders.exists("o2")) == (1, False)
    assert [change.entity_id for change in await ledger.changes.since()] == ["o1", "o1"]


async def test_errors_are_those_of_the_ledger(ledger: AsyncLedger) -> None:
    await ledger.conditions.save(condition("c1"))
    mine, theirs = [await ledger.conditions.find_by_id("c1") for _ in range(2)]
    await ledger.conditions.save(theirs)
    with pytest.raises(Stale, match="condition 'c1'"):
        await ledger.conditions.save(mine)
    with pytest.raises(Missing):
        await ledger.conditions.trigger("nobody")
    with pytest.raises(AttributeError, match="there is no 'save_all'"):
        ledger.conditions.save_all  # noqa: B018


def test_every_repository_and_each_of_its_operations_can_be_awaited() -> None:
    with_faces = {name for name, kind in inspect.get_annotations(AsyncLedger).items()}
    ledger = Ledger(Database("memory://"))
    repositories = {name: each for name, each in vars(ledger).items() if not name.startswith("_") and name != "where"}
    assert with_faces == set(repositories)
    for repository in repositories.values():
        face = Face(repository, None)  # type: ignore[arg-type]
        for name, method in inspect.getmembers(repository, inspect.ismethod):
            if not name.startswith("_") and name != "close" and not inspect.isgeneratorfunction(method):
                assert inspect.iscoroutinefunction(getattr(face, name))
                assert getattr(face, name).__doc__ == method.__doc__
    ledger.close()


async def test_coroutines_that_write_at_once_share_a_commit(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aopen_ledger(ledger_url, threads=64) as ledger:
        commits = count_commits(ledger, monkeypatch)
        with database(ledger).alone():
            saves = [asyncio.create_task(ledger.conditions.save(condition(f"c{n}"))) for n in range(50)]
            while database(ledger)._commits._waiting < 50:
                await asyncio.sleep(0)  # the loop goes on, though nobody can write
        await asyncio.gather(*saves)
        assert await ledger.conditions.count() == 50
        assert len(commits) == 1


async def test_fifty_that_write_at_once_need_far_fewer_commits(ledger: AsyncLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = count_commits(ledger, monkeypatch)
    await asyncio.gather(*(ledger.conditions.save(condition(f"c{n}")) for n in range(50)))
    assert len(await ledger.conditions.find_all()) == 50
    assert len(commits) <= 25


async def test_a_transaction_is_written_whole_or_not_at_all(ledger: AsyncLedger) -> None:
    await ledger.accounts.save(Account(account_id="a", name="A", balance=Balance()))

    def deposit(inside: Ledger) -> Money:
        inside.conditions.save(condition("c1"))
        account = inside.transactions.post(Transaction(transaction_type="deposit", amount=Money("0.1", "USDT")), "a")  # type: ignore[arg-type]
        return account.balance.available("USDT")

    def half(inside: Ledger) -> None:
        inside.conditions.delete("c1")
        deposit(inside)
        raise ZeroDivisionError

    assert (await ledger.transaction(deposit)).amount == Decimal("0.1")
    with pytest.raises(ZeroDivisionError):
        await ledger.transaction(half)
    assert await ledger.conditions.exists("c1")
    assert await ledger.transactions.count() == 1


async def test_within_a_transaction_nothing_can_be_awaited(ledger: AsyncLedger) -> None:
    async def work(inside: Ledger) -> None:
        raise AssertionError

    for ask in (ledger.transaction, ledger.snapshot, ledger.run):
        with pytest.raises(BadValue, match="expected a plain function"):
            await ask(work)  # type: ignore[unused-coroutine]

    def saves_and_returns_a_coroutine(inside: Ledger) -> Any:
        inside.conditions.save(condition("c1"))
        return work(inside)

    with pytest.raises(BadValue, match="expected a plain function"):
        await ledger.transaction(saves_and_returns_a_coroutine)
    assert not await ledger.conditions.exists("c1")


async def test_a_snapshot_is_of_one_moment(ledger: AsyncLedger) -> None:
    begun, written = threading.Event(), threading.Event()

    def look(inside: Ledger) -> list[int]:
        first = inside.conditions.count()
        begun.set()
        written.wait()
        return [first, inside.conditions.count()]

    looking = asyncio.create_task(ledger.snapshot(look))
    while not begun.is_set():
        await asyncio.sleep(0)
    await ledger.conditions.save(condition("c1"))
    written.set()
    assert await looking == [0, 0]
    assert await ledger.run(lambda inside: inside.conditions.count()) == 1


async def test_who_is_cancelled_has_written_all_or_nothing_and_leaves_no_lock(ledger: AsyncLedger) -> None:
    begun, go = threading.Event(), threading.Event()

    def work(inside: Ledger) -> None:
        inside.conditions.save(condition("c1"))
        begun.set()
        go.wait()
        inside.conditions.save(condition("c2"))

    writing = asyncio.create_task(ledger.transaction(work))
    while not begun.is_set():
        await asyncio.sleep(0)
    others = [asyncio.create_task(ledger.conditions.save(condition(f"o{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    for task in (writing, *others[40:]):
        task.cancel()
    go.set()
    told = await asyncio.gather(writing, *others, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError)
    assert told[1:41] == [None] * 40
    stored = {each.condition_id for each in await ledger.conditions.find_all()}
    assert {"c1", "c2"} <= stored
    assert {f"o{n}" for n in range(40)} <= stored
    await ledger.conditions.save(condition("after"))


async def test_closed_it_is_refused_and_no_thread_is_left(ledger_url: str) -> None:
    async with aopen_ledger(ledger_url) as ledger:
        saving = asyncio.create_task(ledger.conditions.save(condition("c1")))
        await asyncio.sleep(0)
    await saving
    assert ours() == []
    with pytest.raises(StorageError, match="was closed"):
        await ledger.conditions.count()
    async with aopen_ledger(ledger_url) as again:
        assert await again.conditions.exists("c1")


async def test_a_ledger_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        async with aopen_ledger(f"sqlite:///{tmp_path}/folder"):
            raise AssertionError
    with pytest.raises(BadValue):
        async with aopen_ledger("mysql://x/y"):
            raise AssertionError
    assert ours() == []


# --- changes ------------------------------------------------------------------------------------------------------------


async def test_changes_of_another_process_are_followed(ledger: AsyncLedger, ledger_url: str) -> None:
    writer = await asyncio.to_thread(started, WRITER, ledger_url, "w", "5")
    async with aclosing(ledger.changes.follow(0)) as changes:
        seen = []
        async for change in changes:
            seen.append(change.entity_id)
            if len(seen) == 5:
                break
    assert seen == [f"w-{n}" for n in range(5)]
    await asyncio.to_thread(writer.communicate)


async def test_who_follows_can_be_cancelled(ledger: AsyncLedger) -> None:
    seen: list[str] = []

    async def follow() -> None:
        async for change in ledger.changes.follow(0, kinds=["condition"]):
            seen.append(change.entity_id)

    task = asyncio.create_task(follow())
    await ledger.conditions.save(condition("c1"))
    while not seen:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["c1"]
    with pytest.raises(BadValue, match="kind of change"):
        ledger.changes.follow(kinds=["x"])
    with pytest.raises(Stale):
        await anext(ledger.changes.follow(99))


# --- what is shared -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_cache_and_services_are_awaited(store: str, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with aopen_shared("memory://" if store == "memory" else server.url, default_ttl=60) as shared:
            await shared.ping()
            await shared.cache.set("a", "1")
            assert 0 < await shared.cache.ttl("a") <= 60
            told = await asyncio.gather(*(shared.cache.increment("n") for _ in range(40)))
            assert sorted(told) == list(range(1, 41))
            known = await shared.services.register(ServiceInfo(service_name="engine"))
            assert await shared.services.list_services() == [known]
    assert ours() == []
