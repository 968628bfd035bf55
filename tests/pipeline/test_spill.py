"""Expired minutes leave Redis for files, and only what is surely in its file is deleted. On memory and on a real disk."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from pipeline import codec, spill
from pipeline.errors import DamagedMinute, DiskFull, RedisUnavailable, StorageError
from pipeline.instrument import Instrument
from pipeline.ports import Keeper, MinuteWriter
from pipeline.spill import Spiller
from pipeline.window import Flush, Lease, RedisWindow, Sealed
from sinks.minute_files import MinuteFiles
from tests.pipeline.builders import BTC, START, minute
from tests.pipeline.conftest import FAKE_AND_REAL
from tests.pipeline.memory_files import MemoryFiles
from tests.pipeline.unreliable import Unreliable

pytestmark = pytest.mark.parametrize("window", FAKE_AND_REAL, indirect=True)
ETH = Instrument("kraken", "ETH/USD")
SEALED = "trades_window:{binance:BTCUSDT}:sealed"


@pytest.fixture(params=["memory", "disk"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryFiles() if request.param == "memory" else MinuteFiles(tmp_path / "storage")


def value(start: int, *, instrument: Instrument = BTC, revision: int = 1) -> bytes:
    return codec.encode(minute(start=start, instrument=instrument, revision=revision))


async def seal(window: RedisWindow, *starts: int, instrument: Instrument = BTC, revision: int = 1) -> Lease:
    """Puts sealed minutes into the window."""
    lease = await window.acquire(instrument, "me", 60_000)
    values = [
        Sealed(start, codec.compress(value(start, instrument=instrument, revision=revision)), revision, "complete", 17)
        for start in starts
    ]
    cursor = await window.client.hget(f"trades_window:{instrument.tag}:cursor", "token")
    token = cursor.decode() if cursor else ""
    await window.flush(lease, Flush(token, f"{token}+", b"{}", [], [], values))
    return lease


async def hot(window: RedisWindow, instrument: Instrument = BTC) -> list[int]:
    return await window.sealed_minutes(instrument)


MINUTES = list(range(START, START + 20))


# --- what leaves --------------------------------------------------------------------------------------------------------


async def test_only_minutes_before_the_cutoff_leave_and_files_hold_their_very_bytes(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    report = await Spiller(window, files).spill({BTC: START + 12})
    assert (report.written, report.failures, report.early) == (12, [], 0)
    assert report.bytes == sum(len(value(start)) for start in MINUTES[:12])
    assert await hot(window) == MINUTES[12:]
    assert [files.read(BTC, start) for start in MINUTES] == [value(s) for s in MINUTES[:12]] + [None] * 8


async def test_without_a_cutoff_all_that_is_sealed_leaves(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    report = await Spiller(window, files).spill({BTC: None})
    assert report.written == 20
    assert await hot(window) == []


async def test_each_instrument_has_a_cutoff_of_its_own(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    await seal(window, *MINUTES, instrument=ETH)
    await Spiller(window, files).spill({BTC: START + 5, ETH: START + 15})
    assert (await hot(window), await hot(window, ETH)) == (MINUTES[5:], MINUTES[15:])
    assert files.load(ETH, START).instrument == ETH


async def test_nothing_due_is_nothing_done(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    report = await Spiller(window, files).spill({BTC: START, ETH: None})
    assert (report.written, report.bytes, report.failures) == (0, 0, [])
    assert await hot(window) == MINUTES


async def test_many_minutes_leave_in_portions_and_progress_is_told(
    window: RedisWindow, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "AT_ONCE", 8)
    await seal(window, *MINUTES)
    told: list[tuple[int, int]] = []
    await Spiller(window, files, lambda done, total: told.append((done, total))).spill({BTC: None})
    assert [total for _, total in told] == [20, 20, 20]
    assert [done for done, _ in told] == sorted(done for done, _ in told)  # portions overlap: how many are done may vary
    assert told[-1] == (20, 20)
    assert await hot(window) == []


async def test_a_spill_that_died_before_it_deleted_is_repeated_to_the_same_bytes(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    await Spiller(window, files).spill({BTC: None})
    before = [files.read(BTC, start) for start in MINUTES]
    await seal(window, *MINUTES)  # Redis still has them
    report = await Spiller(window, files).spill({BTC: None})
    assert (report.written, report.failures) == (20, [])
    assert [files.read(BTC, start) for start in MINUTES] == before
    assert await hot(window) == []


async def test_a_later_revision_replaces_the_file_of_the_one_before(window: RedisWindow, files: Any) -> None:
    await seal(window, START)
    await Spiller(window, files).spill({BTC: None})
    await seal(window, START, revision=2)
    await Spiller(window, files).spill({BTC: None})
    assert files.load(BTC, START).revision == 2
    assert await hot(window) == []


# --- what stays ---------------------------------------------------------------------------------------------------------


async def test_an_older_revision_leaves_redis_and_the_file_that_holds_more_stays(window: RedisWindow, files: Any) -> None:
    await seal(window, START, revision=3)
    await Spiller(window, files).spill({BTC: None})
    await seal(window, START, START + 1, revision=2)
    report = await Spiller(window, files).spill({BTC: None})
    assert files.load(BTC, START).revision == 3
    assert (report.written, report.failures) == (2, [])
    assert await hot(window) == []


async def test_one_minute_that_can_not_be_written_stops_no_other_and_stays_in_redis(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    bad = START + 7
    if isinstance(files, MemoryFiles):
        files.fail_write[bad] = DiskFull("no room")
    else:
        files.path(BTC, bad).mkdir(parents=True)
    report = await Spiller(window, files).spill({BTC: None})
    assert report.written == 19
    assert [(f.instrument, f.minute) for f in report.failures] == [(BTC, bad)]
    assert isinstance(report.failures[0].error, StorageError)
    assert await hot(window) == [bad]


async def test_a_minute_that_reads_back_otherwise_than_it_was_written_stays_in_redis(window: RedisWindow) -> None:
    files = MemoryFiles()
    files.garble.add(START + 3)
    await seal(window, *MINUTES)
    report = await Spiller(window, files).spill({BTC: None})
    assert await hot(window) == [START + 3]
    assert [f.minute for f in report.failures] == [START + 3]
    files.garble.clear()
    assert (await Spiller(window, files).spill({BTC: None})).written == 1


async def test_a_file_that_is_gone_again_keeps_its_minute_in_redis(window: RedisWindow) -> None:
    class Forgetful(MemoryFiles):
        def settle(self, instruments: Collection[Instrument]) -> None:
            del self.kept[BTC, START]

    await seal(window, START, START + 1)
    report = await Spiller(window, Forgetful()).spill({BTC: None})
    assert await hot(window) == [START]
    assert "2023-11-15 00:00: the minute file read back is not what was written" in str(report.failures[0].error)


async def test_where_the_folder_can_not_be_made_durable_nothing_is_deleted(window: RedisWindow) -> None:
    files = MemoryFiles()
    files.fail_settle = StorageError("fsync: EIO")
    await seal(window, *MINUTES)
    report = await Spiller(window, files).spill({BTC: None})
    assert (report.written, len(report.failures)) == (0, 20)
    assert await hot(window) == MINUTES


async def test_a_minute_that_gets_a_new_revision_while_it_is_spilled_stays_in_redis(window: RedisWindow) -> None:
    loop = asyncio.get_running_loop()
    late = codec.compress(value(START, revision=2))

    class Busy(MemoryFiles):
        def settle(self, instruments: Collection[Instrument]) -> None:
            asyncio.run_coroutine_threadsafe(window.client.hset(SEALED, START, late), loop).result()

    files = Busy()
    await seal(window, START, START + 1)
    report = await Spiller(window, files).spill({BTC: None})
    assert (report.written, report.failures) == (1, [])
    assert await window.sealed(BTC, [START, START + 1]) == {START: late}
    await Spiller(window, files).spill({BTC: None})
    assert files.minutes(BTC)[START].revision == 2


async def test_what_is_damaged_in_redis_never_becomes_a_file(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    broken = codec.compress(value(START + 2).replace(b"100.0", b"900.0"))
    await window.client.hset(SEALED, mapping={str(START + 1): b"rubbish", str(START + 2): broken})
    report = await Spiller(window, files).spill({BTC: None})
    assert report.written == 18
    assert sorted(f.minute for f in report.failures) == [START + 1, START + 2]
    for failure in report.failures:
        assert isinstance(failure.error, DamagedMinute)
        assert str(failure.error).startswith("binance BTCUSDT 2023-11-15 00:0")
    assert await hot(window) == [START + 1, START + 2]
    assert files.read(BTC, START + 1) is None


async def test_a_fault_of_our_own_is_not_taken_for_a_failing_minute_and_deletes_nothing(window: RedisWindow) -> None:
    files = MemoryFiles()
    files.fail_write[START] = TypeError("a bug")
    await seal(window, *MINUTES)
    with pytest.raises(TypeError, match="a bug"):
        await Spiller(window, files).spill({BTC: None})
    assert await hot(window) == MINUTES


async def test_a_redis_that_goes_away_ends_the_spill_with_that_error_and_the_next_spill_goes_on(window: RedisWindow) -> None:
    files = MemoryFiles()
    await seal(window, *MINUTES)
    unreliable = Unreliable(window.client)
    unreliable.lose_replies = 1  # the delete is done, and nobody hears of it
    with pytest.raises(RedisUnavailable, match="the reply was lost"):
        await Spiller(RedisWindow(unreliable, "unreliable"), files).spill({BTC: None})
    assert len(files) == 20
    report = await Spiller(window, files).spill({BTC: None})
    assert report.failures == []
    assert await hot(window) == []


# --- near the memory limit ----------------------------------------------------------------------------------------------


class Tight(RedisWindow):
    """A window whose Redis says how full it is."""

    said = (0, 0)

    async def memory(self) -> tuple[int, int]:
        return self.said


@pytest.mark.parametrize(
    ("used", "limit", "left"),
    [(100, 0, 20), (79, 100, 20), (80, 100, 9), (120, 100, 9)],
)
async def test_near_the_memory_limit_the_oldest_half_spills_early(
    window: RedisWindow, files: Any, used: int, limit: int, left: int
) -> None:
    tight = Tight(window.client, "tight")
    tight.said = (used, limit)
    await seal(window, *MINUTES)
    await seal(window, START, instrument=ETH)
    report = await Spiller(tight, files).relieve([BTC, ETH])
    assert await hot(window) == MINUTES[20 - left :]
    assert await hot(window, ETH) == ([START] if left == 20 else [])
    assert report.early == 21 - left - len(await hot(window, ETH))


async def test_what_can_not_spill_early_is_told_and_not_trimmed(window: RedisWindow) -> None:
    tight, files = Tight(window.client, "tight"), MemoryFiles()
    tight.said = (99, 100)
    files.fail_write = {start: DiskFull("no room") for start in MINUTES}
    await seal(window, *MINUTES)
    report = await Spiller(tight, files).relieve([BTC])
    assert (report.early, len(report.failures)) == (0, 11)
    assert await hot(window) == MINUTES


# --- both at once -------------------------------------------------------------------------------------------------------


async def test_two_spillers_at_once_harm_nothing(window: RedisWindow, files: Any) -> None:
    await seal(window, *MINUTES)
    reports = await asyncio.gather(*(Spiller(window, files).spill({BTC: None}) for _ in range(2)))
    assert sum(r.written for r in reports) == 20
    assert all(r.failures == [] for r in reports)
    assert [files.read(BTC, start) for start in MINUTES] == [value(start) for start in MINUTES]


async def test_the_twin_and_the_files_are_both_what_the_pipeline_asks_for(window: RedisWindow, tmp_path: Path) -> None:
    for made in (MemoryFiles(), MinuteFiles(tmp_path)):
        writer: MinuteWriter = made
        keeper: Keeper = made
        assert keeper.newest(BTC) is None
        assert keeper.load(BTC, START) is None
        writer.write(BTC, START, value(START))
        writer.settle([BTC])
        assert keeper.newest(BTC) == START
        assert keeper.load(BTC, START) == codec.decode(value(START), "a test")
