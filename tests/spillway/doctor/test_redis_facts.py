"""Redis's own words, judged."""

from __future__ import annotations

from typing import Any

import pytest

from spillway.doctor.finding import Level
from spillway.doctor.redis_facts import Filling, of_clock, of_eviction, of_memory, of_persistence
from tests.spillway.doctor.found import levels, only

MB = 1_000_000
SAFE: dict[str, Any] = {"aof_enabled": 1, "aof_last_write_status": "ok", "maxmemory_policy": "noeviction", "evicted_keys": 0}


def test_append_only_with_fsync_is_fine() -> None:
    assert levels(of_persistence(SAFE, "everysec")) == [Level.OK]
    assert levels(of_persistence(SAFE, "always")) == [Level.OK]
    assert levels(of_persistence(SAFE, None)) == [Level.OK]


def test_no_append_only_file_is_wrong_and_no_fsync_a_warning() -> None:
    assert levels(of_persistence(SAFE | {"aof_enabled": 0}, "everysec")) == [Level.WRONG]
    assert levels(of_persistence(SAFE, "no")) == [Level.WARNING]


@pytest.mark.parametrize("failed", ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"])
def test_a_write_to_disk_that_failed_is_wrong_and_named(failed: str) -> None:
    found = only(of_persistence(SAFE | {failed: "err"}, "everysec"), level=Level.WRONG)
    assert failed in found.found


def test_a_policy_that_evicts_is_wrong_and_so_are_keys_that_were_evicted() -> None:
    assert levels(of_eviction(SAFE)) == [Level.OK]
    assert levels(of_eviction(SAFE | {"maxmemory_policy": "allkeys-lru"})) == [Level.WRONG]
    assert levels(of_eviction(SAFE | {"evicted_keys": 3})) == [Level.WRONG]
    assert levels(of_eviction(SAFE | {"maxmemory_policy": "volatile-ttl", "evicted_keys": 3})) == [Level.WRONG, Level.WRONG]


def memory(used: int, limit: int, rate: float, hours: float) -> tuple[Level, str, str]:
    info = {"used_memory": used, "maxmemory": limit, "total_system_memory": 8000 * MB}
    found = of_memory(info, Filling(rate, hours, 48))
    return found.level, found.found, found.todo


def test_room_in_hours_is_what_is_free_below_the_early_spill_at_the_present_rate() -> None:
    level, told, _ = memory(200 * MB, 1000 * MB, 0.1 * MB, 10)  # 600 MB are left to 80 %, 6 MB an hour
    assert level is Level.OK
    assert "room for 100 h more" in told and "6.0 MB an hour" in told and "38 h are lacking" in told


def test_a_window_that_will_not_fit_is_a_warning_with_the_memory_that_it_needs() -> None:
    level, told, todo = memory(200 * MB, 400 * MB, 0.1 * MB, 10)  # room for 20 h, 38 are lacking: 228 MB more
    assert level is Level.WARNING
    assert "20 h more" in told and "spill early" in told
    assert "535.0 MB" in todo  # (200 + 228) / 0.8


def test_a_full_window_needs_no_more_room() -> None:
    assert memory(300 * MB, 400 * MB, 0.1 * MB, 50)[0] is Level.OK


def test_a_redis_that_is_all_but_full_is_wrong_whatever_fills_it() -> None:
    assert memory(390 * MB, 400 * MB, 0, 50)[0] is Level.WRONG


def test_without_a_limit_the_machines_memory_is_what_counts() -> None:
    level, told, _ = memory(200 * MB, 0, 10 * MB, 1)  # 7,800 MB are left, 600 MB an hour
    assert level is Level.WARNING
    assert "room for 13 h" in told and "the system may kill Redis" in told


def test_what_nothing_fills_has_no_rate() -> None:
    assert "nothing fills it" in memory(MB, 0, 0, 0)[1]


def test_two_clocks_agree_within_what_the_question_took() -> None:
    now_ns = 1_700_000_000 * 10**9
    assert of_clock(now_ns // 1000 + 1_400_000, now_ns, 10**9, 1.0).level is Level.OK
    off = of_clock(now_ns // 1000 - 1_600_000, now_ns, 10**9, 1.0)
    assert off.level is Level.WARNING and "-1.600 s" in off.found
    assert of_clock(None, now_ns, 0, 1.0).level is Level.NOTE
