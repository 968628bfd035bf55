"""Arithmetic of id ranges, both ends included. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.minute import IdRange


def minus(ranges: Iterable[IdRange], taken: Iterable[IdRange]) -> list[IdRange]:
    """The parts of `ranges` that none of `taken` covers. Both disjoint; in order."""
    left: list[IdRange] = []
    others = sorted(taken)
    at = 0
    for first, last in sorted(ranges):
        while at < len(others) and others[at][1] < first:
            at += 1
        left += _rest(first, last, others, at)
    return left


def clip(ranges: Iterable[IdRange], within: IdRange) -> list[IdRange]:
    """The parts of `ranges` that lie in `within`."""
    cut = [(max(first, within[0]), min(last, within[1])) for first, last in ranges]
    return [(first, last) for first, last in cut if first <= last]


def length(ranges: Iterable[IdRange]) -> int:
    """How many ids they hold."""
    return sum(last - first + 1 for first, last in ranges)


def _rest(first: int, last: int, others: list[IdRange], at: int) -> list[IdRange]:
    """One range less the others from the `at`th on."""
    rest = []
    while at < len(others) and others[at][0] <= last:
        if others[at][0] > first:
            rest.append((first, others[at][0] - 1))
        first = others[at][1] + 1
        at += 1
    return [*rest, (first, last)] if first <= last else rest
