"""What the live view reads from a real Redis and a real ledger."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.instrument import IdRule
from pipeline.minute import MINUTES_PER_DAY, Gap
from pipeline.trade import NS_PER_MINUTE, NS_PER_S, Trade
from pipeline.window import RedisWindow
from pipeline.writer import Writer
from sinks.ledger.ledger import open_ledger
from spillway.watch.facts import Coverage
from spillway.watch.reading import SLOW_NS, Reading
from tests.pipeline.builders import BTC, START, START_NS, at, trade
from tests.pipeline.conftest import house as house  # noqa: PLC0414
from tests.pipeline.conftest import window as window  # noqa: PLC0414
from tests.pipeline.house import House, write

pytestmark = pytest.mark.parametrize("window", ["redis_server"], indirect=True)


def minutes(*of: str, first_id: int = 1) -> list[Trade]:
    """A trade of 1 at 100 in the middle of each of these minutes."""
    return [trade(first_id + n, f"{minute}:30", "100") for n, minute in enumerate(of)]


async def seal(writer: Writer) -> None:
    """All minutes, over or not."""
    await writer.flush(everything=True)
    await writer.settle()


async def test_an_empty_window_is_an_empty_board(window: RedisWindow) -> None:
    found = await Reading(window, None).board(START_NS, None, None)
    assert (found.rows, found.total) == ((), 0)
    assert found.used_bytes


async def test_an_instrument_as_it_stands(house: House) -> None:
    writer = await house.started(clock="wall")
    await write(writer, [*minutes("0", "1", "2"), trade(4, "3:01", "100.5", "2"), trade(5, "3:02", "100.25", "0.75", "sell")])
    reading = Reading(house.window, None)
    row = (await reading.board(at("3:04"), None, None)).rows[0]
    assert (row.instrument, row.price, row.delta, row.minute) == (BTC, Decimal("100.25"), Decimal("1.25"), START + 3)
    assert (row.lag_s, row.writer, row.clock) == (2.0, "me", "wall")
    assert row.per_s == 1.0  # two trades in the minute's first two seconds
    assert (row.open_ids, row.open_outages) == (0, None)
    await write(writer, [trade(n, f"3:{n}") for n in range(6, 26)])
    later = (await reading.board(at("3:14"), None, None)).rows[0]
    assert later.per_s == 2.0  # twenty in the ten seconds between two looks


async def test_the_window_and_todays_coverage_are_looked_at_now_and_then(house: House) -> None:
    writer = await house.started()
    await write(writer, minutes("0", "1", "2", "3"))
    await seal(writer)
    reading = Reading(house.window, None)
    row = (await reading.board(at("4:00"), None, None)).rows[0]
    assert row.sealed == 4
    assert row.sealed_bytes and row.sealed_bytes > 100
    assert row.coverage and (row.coverage.known, row.coverage.proves) == (4, True)
    await write(writer, minutes("4", "7", first_id=5))
    await seal(writer)
    assert (await reading.board(at("4:00") + SLOW_NS - 1, None, None)).rows[0].sealed == 4
    row = (await reading.board(at("4:00") + SLOW_NS, None, None)).rows[0]
    assert row.sealed == 6
    assert row.coverage and (row.coverage.known, row.coverage.absent) == (8, 0)  # nothing was traded between 4 and 7: ids join


async def test_missing_ids_count_from_the_cursor_or_where_there_is_a_ledger_from_that(house: House, tmp_path: Path) -> None:
    writer = await house.started()
    await write(writer, [trade(1, "0:01"), trade(5, "0:02")])
    assert (await Reading(house.window, None).board(at("0:03"), None, None)).rows[0].open_ids == 3
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    reading = Reading(house.window, url)
    assert (await reading.board(at("0:03"), None, None)).rows[0].open_ids == 3  # there is no ledger yet, and none is made
    assert list(tmp_path.iterdir()) == []
    with open_ledger(url) as ledger:
        ledger.gaps.found(BTC, [Gap(2, 4, 1, 2)], 3)
        ledger.gaps.lost(BTC, 2, 2, "gone", 4)
    row = (await reading.board(at("0:03") + SLOW_NS, None, None)).rows[0]
    assert (row.open_ids, row.open_outages) == (2, 0)
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 100)
    board = await Reading(house.window, url).board(at("0:03"), None, None)
    assert board.ledger_error and "ledger.db" in board.ledger_error
    assert board.rows[0].price == 100


async def test_a_tape_has_its_own_day_and_no_lag(house: House) -> None:
    writer = await house.started(clock="tape")
    await write(writer, minutes("0", "1", "2"))
    await seal(writer)
    years_later = START_NS + 900 * MINUTES_PER_DAY * NS_PER_MINUTE
    row = (await Reading(house.window, None).board(years_later, None, None)).rows[0]
    assert (row.lag_s, row.clock, row.price) == (None, "tape", Decimal(100))
    assert row.coverage and row.coverage.known == 3


async def test_ids_that_prove_nothing_are_no_gap(house: House) -> None:
    writer = await house.started(IdRule.OPAQUE)
    await write(writer, [replace(t, trade_id=f"t{t.trade_id}") for t in minutes("0", "1")])
    await seal(writer)
    row = (await Reading(house.window, None).board(at("2:00"), None, None)).rows[0]
    assert row.open_ids is None
    assert row.coverage == Coverage(known=2, whole=0, degraded=0, absent=0, proves=False)


async def test_one_instruments_minutes_and_their_revisions(house: House) -> None:
    writer = await house.started()
    await write(writer, minutes("0", "1", "2"))
    await seal(writer)
    await write(writer, minutes("3", first_id=4))
    reading = Reading(house.window, None)
    seen = await reading.building(at("3:40"), BTC, 3)
    assert [(m.start - START, m.revision) for m in seen.minutes] == [(1, 1), (2, 1), (3, 1)]
    assert (seen.current, seen.still_open) == (START + 3, frozenset({START + 3}))
    await write(writer, [trade(5, "2:40", "99", "5", "sell")])  # late
    await seal(writer)
    seen = await reading.building(at("3:40") + NS_PER_S, BTC, 3)
    assert [(m.start - START, m.revision) for m in seen.minutes] == [(1, 1), (2, 2), (3, 1)]
    assert seen.still_open == frozenset()
    assert (await reading.building(at("3:40") + NS_PER_S, BTC, 1)).minutes == seen.minutes[-1:]


async def test_looking_writes_nothing(house: House) -> None:
    writer = await house.started()
    await write(writer, minutes("0", "1", "2"))
    before = await house.window.client.info("stats")
    changes = (await house.window.client.info("persistence"))["rdb_changes_since_last_save"]
    reading = Reading(house.window, None)
    await reading.board(at("3:00"), None, None)
    await reading.building(at("3:00"), BTC, 3)
    assert (await house.window.client.info("persistence"))["rdb_changes_since_last_save"] == changes
    after = await house.window.client.info("stats")
    assert after["total_commands_processed"] - before["total_commands_processed"] < 40
