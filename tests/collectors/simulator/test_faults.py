"""When things go wrong."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from collectors.simulator.faults import Fault, Faults, Plan


def befallen(plan: Plan, count: int, start: int = 0) -> list[tuple[int, str]]:
    """All that becomes due on a tape of `count` trades, taken as fast as it may be."""
    at, found = start, list[tuple[int, str]]()
    while at < count:
        at += plan.room(at) or count
        found += [(at, fault.value) for fault in plan.due(at)]
    return found


def test_without_faults_nothing_happens() -> None:
    plan = Plan(Faults())
    assert (plan.room(0), befallen(plan, 10_000), plan.giant_due(10**9)) == (None, [], False)
    assert not any(plan.chance(name) for name in ("refuse", "slam", "busy", "soft_busy", "broken", "garbled"))


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_happens_as_often_as_asked_for(fault: Fault) -> None:
    found = befallen(Plan(Faults(**{fault.value: 50})), 100_000)
    assert {kind for _, kind in found} == {fault.value}
    assert 1_800 < len(found) < 2_200


def test_the_same_seed_means_the_same_faults_at_the_same_places_and_another_seed_others() -> None:
    runs = [befallen(Plan(Faults.all(seed)), 50_000) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_fault_more_does_not_move_the_others() -> None:
    one, two = Faults(3, cut=500), Faults(3, cut=500, hole=70)
    cuts = [place for place, kind in befallen(Plan(two), 50_000) if kind == "cut"]
    assert cuts == [place for place, _ in befallen(Plan(one), cuts[-1])]


def test_a_giant_comes_once() -> None:
    plan = Plan(Faults(giant_after=100))
    assert (plan.room(0), plan.giant_due(99), plan.giant_due(100), plan.giant_due(101)) == (100, False, True, False)


def test_probabilities_are_kept() -> None:
    plan = Plan(Faults(busy=0.2))
    assert 800 < sum(plan.chance("busy") for _ in range(5_000)) < 1_200


def test_all_means_all_but_the_loss_of_trades() -> None:
    faults = Faults.all(1)
    off = [field.name for field in fields(faults) if not getattr(faults, field.name)]
    assert off == ["loss"]
    assert replace(faults, loss=100).loss == 100
    assert {kind for _, kind in befallen(Plan(faults), 300_000)} == {fault.value for fault in Fault} - {"loss"}


def test_a_plan_that_begins_later_looks_ahead_from_there() -> None:
    assert all(place > 5_000 for place, _ in befallen(Plan(Faults.all(1), at=5_000), 20_000, start=5_000))
