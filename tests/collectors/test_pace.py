"""Turns at a bounded rate."""

from __future__ import annotations

import asyncio

import pytest

from collectors.pace import BURST_S, Pace


class Clock:
    """Sleeps at once, and remembers how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_after_a_pause_a_few_turns_are_free_and_then_they_come_at_the_rate() -> None:
    clock = Clock()
    pace = Pace(5.0, sleep=clock.sleep)
    for _ in range(20):
        await pace.turn()
    assert len(clock.slept) == 20 - int(BURST_S * 5)
    assert clock.slept[-1] == pytest.approx(2.0, abs=0.2), "10 turns beyond the burst at 5 a second"


async def test_a_rate_of_less_than_one_a_second_has_its_first_turn_at_once() -> None:
    clock = Clock()
    pace = Pace(0.1, sleep=clock.sleep)
    await pace.turn()
    assert clock.slept == []
    await pace.turn()
    assert clock.slept == [pytest.approx(10, abs=0.1)]


async def test_without_a_bound_nobody_waits() -> None:
    clock = Clock()
    pace = Pace(sleep=clock.sleep)
    for _ in range(1000):
        await pace.turn()
    assert clock.slept == []


async def test_who_is_urgent_comes_before_who_is_not() -> None:
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()

    pace, came = Pace(1.0, sleep=sleep), []

    async def ask(name: str, urgent: bool) -> None:
        await pace.turn(urgent=urgent)
        came.append(name)

    async with asyncio.TaskGroup() as tasks:
        for n in range(3):
            tasks.create_task(ask(f"urgent {n}", True))
        await asyncio.sleep(0)
        tasks.create_task(ask("patient", False))
        await asyncio.sleep(0)
        assert came == ["urgent 0", "urgent 1"]
        gate.set()
    assert came[-1] == "patient"
