"""Changes of conditions and orders as other programs see them: none missed, none twice, as soon as they are committed."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadValue, Stale
from pipeline.trading.condition import Condition
from pipeline.trading.order import Order
from sinks.ledger import wakeups
from sinks.ledger.changes import Change
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.redis.connection import SharedRedis
from sinks.ledger.trading_tables import CHANGES
from sinks.ledger.wakeups import Bell
from tests.sinks.ledger.redis.servers import Server, running, user_url, wait_until

START = datetime(2024, 10, 23, 14, 30, tzinfo=UTC)

# Saves conditions of its own, one after the other, and says so after each commit.
WRITER = """
import sys
from pipeline.trading.condition import Condition
from sinks.ledger.ledger import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[3])):
        ledger.conditions.save(Condition(condition_id=f"{sys.argv[2]}-{n}", symbol="X"))
        print(f"{sys.argv[2]}-{n}", flush=True)
"""

# Follows, and says what it sees, and under which number, until it sees what is called last.
FOLLOWER = """
import sys
from sinks.ledger.ledger import open_ledger
with open_ledger(sys.argv[1]) as ledger:
    after = int(sys.argv[2])
    changes = ledger.changes.follow(after)
    print("ready", flush=True)
    for change in changes:
        print(change.change_id, change.entity_id, flush=True)
        if change.entity_id == "last":
            break
    changes.close()
"""


# The same with three more processes and PostgreSQL is left to `make test-all`.
both_in_time = pytest.mark.parametrize(
    "ledger_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)


def condition(name: str) -> Condition:
    return Condition(condition_id=name, symbol="BTCUSDT")


def order(name: str) -> Order:
    return Order(order_id=name, symbol="BTCUSDT", side="buy", order_type="market", quantity=1)  # type: ignore[arg-type]


def started(script: str, *args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def said_to_its_end(process: subprocess.Popen[str]) -> list[str]:
    """What it says until it ends. Not by `communicate`, which doesn't know of what was read ahead with the first lines."""
    assert process.stdout
    lines = process.stdout.read().splitlines()
    process.communicate()
    return lines


def told(changes: Iterator[Change] | list[Change]) -> list[tuple[str, str, str, int]]:
    return [(c.entity, c.entity_id, c.change, c.version) for c in changes]


def test_each_change_of_conditions_and_orders_is_told_in_its_order(ledger: Ledger) -> None:
    assert (ledger.changes.latest(), ledger.changes.since()) == (0, [])
    one, other = condition("c1"), order("o1")
    ledger.conditions.save(one)
    ledger.orders.save(other)
    one.pause()
    ledger.conditions.save(one)
    other.submit()
    ledger.orders.save(other)
    ledger.conditions.delete("c1")
    found = ledger.changes.since()
    assert told(found) == [
        ("condition", "c1", "created", 1),
        ("order", "o1", "created", 1),
        ("condition", "c1", "updated", 2),
        ("order", "o1", "updated", 2),
        ("condition", "c1", "deleted", 2),
    ]
    ids = [c.change_id for c in found]
    assert ids == sorted(set(ids))
    assert ledger.changes.latest() == ids[-1]
    assert ledger.changes.since(ids[1]) == found[2:]
    assert ledger.changes.since(ids[1], limit=1) == found[2:3]
    assert ledger.changes.since(limit=2) == found[:2]
    assert ledger.changes.since(ids[-1]) == []


def test_what_is_rolled_back_is_no_change(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.conditions.save(condition("c1"))
        raise ZeroDivisionError
    ledger.conditions.save(condition("c2"))
    assert told(ledger.changes.since()) == [("condition", "c2", "created", 1)]


@pytest.mark.parametrize(("change_id", "limit"), [(-1, 1), (0, 0), (True, 1), ("1", 1), (1.0, 1), (0, True)])
def test_a_number_that_is_none_is_refused(ledger: Ledger, change_id: Any, limit: Any) -> None:
    with pytest.raises(BadValue, match="expected whole numbers"):
        ledger.changes.since(change_id, limit)
    with pytest.raises(BadValue, match="kind of change 'trade': expected one of condition, order"):
        ledger.changes.follow(kinds=["order", "trade"])


def _aged(ledger: Ledger, names: str, at: datetime) -> list[int]:
    """Changes as of that moment; their numbers."""
    before = ledger.changes.latest()
    ledger.conditions.save_many(condition(name) for name in names)
    with ledger._database.writing() as connection:
        connection.execute(CHANGES.update().where(CHANGES.c.change_id > before).values(changed_at=at))
    return [c.change_id for c in ledger.changes.since(before)]


def test_old_changes_are_forgotten_but_for_the_last_of_them(ledger: Ledger) -> None:
    old, new = _aged(ledger, "abc", START), _aged(ledger, "de", START + timedelta(days=1))
    assert ledger.changes.prune(START) == 0
    assert ledger.changes.prune(START + timedelta(hours=1)) == 2
    assert [c.change_id for c in ledger.changes.since()] == [old[2], *new]
    assert [c.change_id for c in ledger.changes.since(old[2])] == new
    for missed in old[:2]:
        with pytest.raises(Stale, match=f"change {missed} isn't kept any more .*read anew"):
            ledger.changes.since(missed)
        with pytest.raises(Stale), closing(ledger.changes.follow(missed)) as changes:
            next(changes)
    assert ledger.changes.prune(START + timedelta(days=9)) == 2
    assert ledger.changes.prune(START + timedelta(days=9)) == 0
    assert ledger.changes.latest() == new[1]
    with pytest.raises(BadValue, match="time zone"):
        ledger.changes.prune(datetime(2024, 1, 1))


def test_a_clock_that_was_set_back_makes_no_hole(ledger: Ledger) -> None:
    first, second = _aged(ledger, "a", START + timedelta(days=1)), _aged(ledger, "b", START)
    third = _aged(ledger, "c", START + timedelta(days=1))
    assert ledger.changes.prune(START + timedelta(hours=1)) == 0
    assert [c.change_id for c in ledger.changes.since()] == [*first, *second, *third]


def test_a_number_of_another_ledger_is_refused(ledger: Ledger) -> None:
    ledger.conditions.save(condition("c1"))
    with pytest.raises(Stale, match="change 99 isn't kept"):
        ledger.changes.since(99)


# --- following ----------------------------------------------------------------------------------------------------------


def test_another_processes_changes_come_as_they_are_committed(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger:
        ledger.conditions.save(condition("before"))
        writer = started(WRITER, ledger_url, "w", "5")
        with closing(ledger.changes.follow()) as changes:
            ledger.conditions.save(condition("mine"))
            seen = {change.entity_id for change in itertools.islice(changes, 6)}
        errors = writer.communicate()[1]
        assert (writer.returncode, seen) == (0, {"mine", *(f"w-{n}" for n in range(5))}), errors


def test_only_the_wanted_kinds_come(ledger: Ledger) -> None:
    with closing(ledger.changes.follow(kinds=["order"])) as changes:
        ledger.conditions.save(condition("c1"))
        ledger.orders.save(order("o1"))
        ledger.conditions.save(condition("c2"))
        ledger.orders.save(order("o2"))
        assert [c.entity_id for c in itertools.islice(changes, 2)] == ["o1", "o2"]


def test_thousands_that_were_there_come_in_their_order(ledger: Ledger) -> None:
    ledger.conditions.save_many(condition(f"c{n:04}") for n in range(1200))
    with closing(ledger.changes.follow(0)) as changes:
        assert [c.entity_id for c in itertools.islice(changes, 1200)] == [f"c{n:04}" for n in range(1200)]


def test_it_ends_when_it_is_told_to(ledger: Ledger) -> None:
    stop = threading.Event()
    seen: list[Change] = []
    thread = threading.Thread(target=lambda: seen.extend(ledger.changes.follow(stop=stop)))
    thread.start()
    stop.set()
    thread.join()
    assert seen == []


def test_what_is_committed_just_before_the_bell_hangs_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        bell = ledger.database.bell

        def late(redis: SharedRedis | None = None) -> Bell:
            ledger.conditions.save(condition("c1"))  # which a bell that is made after it never tells
            return bell(redis)

        monkeypatch.setattr(ledger.database, "bell", late)
        with closing(ledger.changes.follow()) as changes:
            assert next(changes).entity_id == "c1"


def test_changes_from_memory_come_too() -> None:
    with open_ledger("memory://") as ledger, closing(ledger.changes.follow()) as changes:
        threading.Thread(target=ledger.conditions.save, args=[condition("c1")]).start()
        assert next(changes).entity_id == "c1"


@both_in_time
def test_writers_that_are_killed_leave_no_hole_and_no_ghost(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger:
        victims = [started(WRITER, ledger_url, f"v{n}", "100000") for n in range(2)]
        with closing(ledger.changes.follow(0)) as changes:
            seen = [next(changes) for _ in range(5)]
            for victim in victims:
                victim.kill()
                victim.communicate()
            ledger.conditions.save(condition("last"))
            for change in changes:
                seen.append(change)
                if change.entity_id == "last":
                    break
        assert [c.change_id for c in seen] == [c.change_id for c in ledger.changes.since(limit=10**6)]
        assert {c.entity_id for c in seen} == {c.condition_id for c in ledger.conditions.find_all()}


@both_in_time
def test_a_follower_that_is_killed_goes_on_where_it_was(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger:
        names = [f"c{n:02}" for n in range(20)]
        ledger.conditions.save_many(condition(name) for name in names[:10])
        follower = started(FOLLOWER, ledger_url, "0")
        assert follower.stdout
        seen = [follower.stdout.readline().split() for _ in range(4)]
        follower.kill()
        follower.communicate()
        ledger.conditions.save_many(condition(name) for name in [*names[10:], "last"])
        again = started(FOLLOWER, ledger_url, seen[-1][0])
        seen += [line.split() for line in said_to_its_end(again)]
        assert [name for _, name in seen] == [*names, "last"]


@both_in_time
def test_each_of_several_followers_sees_all_while_several_write(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger:
        followers = [started(FOLLOWER, ledger_url, "0") for _ in range(2)]

        def write(thread: int) -> None:
            for n in range(10):
                ledger.conditions.save(condition(f"{thread}-{n}"))

        threads = [threading.Thread(target=write, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ledger.conditions.save(condition("last"))
        expected = [f"{c.change_id} {c.entity_id}" for c in ledger.changes.since()]
        assert len(expected) == 41
        for follower in followers:
            assert said_to_its_end(follower) == expected


# --- the roads ----------------------------------------------------------------------------------------------------------


def test_postgresql_rings_by_itself(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "ANYWAY_S", 1e9)  # nobody asks the table before it rings
    with open_ledger(postgres_url) as ledger, closing(ledger.changes.follow()) as changes:
        writer = started(WRITER, postgres_url, "w", "3")
        assert [c.entity_id for c in itertools.islice(changes, 3)] == ["w-0", "w-1", "w-2"]
        writer.communicate()


def test_a_connection_to_postgresql_that_breaks_costs_no_change(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with open_ledger(postgres_url) as ledger, closing(ledger.changes.follow()) as changes:
        ledger.conditions.save(condition("c1"))
        assert next(changes).entity_id == "c1"
        got: list[Change] = []
        thread = threading.Thread(target=lambda: got.extend(itertools.islice(changes, 2)))
        with caplog.at_level(logging.WARNING):
            thread.start()
            while not any("following changes: " in message and "trying again" in message for message in caplog.messages):
                _cut_all_others(postgres_url)
        for name in ("c2", "c3"):
            started(WRITER, postgres_url, name, "1").communicate()
        thread.join()
        assert [c.entity_id for c in got] == ["c2-0", "c3-0"]


def _cut_all_others(url: str) -> None:
    import psycopg

    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url) as connection:
        connection.execute(others)


@pytest.fixture(scope="module")
def announcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("announcing")) as server:
        yield server


def test_what_is_announced_in_redis_comes_at_once(ledger_url: str, announcing: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "ANYWAY_S", 1e9)
    redis = SharedRedis(announcing.url)
    with open_ledger(ledger_url) as writing, open_ledger(ledger_url) as following:
        writing.announce(redis)
        batches = following.changes.follow_batches(0, stop := threading.Event(), redis)
        got: list[str] = []
        done = threading.Event()

        def follow() -> None:
            for batch in batches:
                got.extend(c.entity_id for c in batch)
                if got[-1] == "c2":
                    done.set()

        thread = threading.Thread(target=follow)
        thread.start()
        with announcing.admin() as admin:  # listening, so that nothing but the announcement tells it
            wait_until(lambda: admin.pubsub_numsub("trading:changes")[0][1] > 0)
        for n in range(3):
            writing.conditions.save(condition(f"c{n}"))
        done.wait()
        stop.set()
        thread.join()
        assert got == ["c0", "c1", "c2"]
    redis.close()


def test_a_redis_that_is_away_costs_no_change_and_no_write(
    ledger_url: str, announcing: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = SharedRedis(user_url(tmp_path / "gone.sock"))
    with open_ledger(ledger_url) as ledger, closing(ledger.changes.follow(redis=gone)) as changes:
        ledger.announce(gone)
        ledger.conditions.save(condition("c1"))
        ledger.conditions.save(condition("c2"))
        assert [c.entity_id for c in itertools.islice(changes, 2)] == ["c1", "c2"]
    assert any("following changes: Redis at" in message for message in caplog.messages)
    assert any("changes of the ledger aren't announced: Redis at" in message for message in caplog.messages)
    gone.close()


def test_an_announcement_that_is_lost_costs_only_the_time_until_the_table_is_asked(
    ledger_url: str, announcing: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "ANYWAY_S", 0.05)
    redis = SharedRedis(announcing.url)
    with open_ledger(ledger_url) as ledger, closing(ledger.changes.follow(redis=redis)) as changes:
        ledger.conditions.save(condition("c1"))  # and says nothing in Redis
        assert next(changes).entity_id == "c1"
    redis.close()
