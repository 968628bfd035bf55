"""What goes wrong, and when: the same for the same seed and trades. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What happens at a place on the tape. The names are those of the fields of `Faults`."""

    CUT = "cut"
    CLOSE = "close"
    SILENCE = "silence"
    SLOW = "slow"
    AGAIN = "again"
    DISORDER = "disorder"
    HOLE = "hole"
    LOSS = "loss"
    MALFORMED = "malformed"
    HUGE = "huge"


@dataclass(frozen=True, slots=True)
class Faults:
    """What a simulated exchange does wrong. Nothing, unless said so.

    First what happens once in so many trades on the average (0: never), then what happens with a probability (0 to 1).
    Malformed and huge frames come beside the trades, never in their place.
    """

    seed: int = 0
    cut: int = 0  # all connections end within a frame, with no close frame
    close: int = 0  # all get a close frame
    silence: int = 0  # all stay open, but nothing is sent on them any more, not even a pong
    slow: int = 0  # the next `slow_bytes` trickle
    again: int = 0  # some of the last `again_back` trades are told again
    disorder: int = 0  # the next `disorder_trades` come in another order
    hole: int = 0  # up to `hole_trades` aren't told; history has them
    loss: int = 0  # the same, and history doesn't have them either
    malformed: int = 0  # a frame that can't be read, or not as what it should be
    huge: int = 0  # a trade again, in a frame of `huge_bytes`
    giant_after: int = 0  # once, after so many trades: the same with `giant_bytes`
    refuse: float = 0.0  # an upgrade is answered with a 503, or a 429 and Retry-After
    slam: float = 0.0  # an upgrade is accepted, and the connection cut at once
    busy: float = 0.0  # a REST request is answered with a 429 and Retry-After
    soft_busy: float = 0.0  # the same with status 200, where the venue does such things
    broken: float = 0.0  # ... with a 500, 502 or 503
    garbled: float = 0.0  # ... with a part of the truth, or with no JSON at all
    slow_bytes: int = 4_000
    again_back: int = 300
    disorder_trades: int = 8
    hole_trades: int = 20
    huge_bytes: int = 2_000_000
    giant_bytes: int = 50_000_000
    retry_after_s: int = 1

    @classmethod
    def all(cls, seed: int) -> Faults:
        """Everything but `loss`, at rates that let a collector get on: what it lacks then is its own fault."""
        return cls(
            seed,
            cut=5_000,
            close=9_000,
            silence=20_000,
            slow=7_000,
            again=900,
            disorder=600,
            hole=1_500,
            malformed=500,
            huge=9_000,
            giant_after=12_000,
            refuse=0.1,
            slam=0.1,
            busy=0.05,
            soft_busy=0.03,
            broken=0.05,
            garbled=0.04,
        )


class Plan:
    """When the faults happen. Each kind has dice of its own: switching one on doesn't move the others."""

    def __init__(self, faults: Faults, at: int = 0) -> None:
        self.faults = faults
        self._dice = {field.name: Random(f"{faults.seed} {field.name}") for field in fields(Faults)}
        self._next = {fault: self._after(fault, at) for fault in Fault if self._every(fault)}
        self._giant_at = max(faults.giant_after, at) if faults.giant_after else None

    def dice(self, name: str) -> Random:
        """The dice of a field of `Faults`."""
        return self._dice[name]

    def chance(self, name: str) -> bool:
        """Whether what has a probability happens this time."""
        probability: float = getattr(self.faults, name)
        return probability > 0 and self._dice[name].random() < probability

    def room(self, at: int) -> int | None:
        """How many trades there are until something happens; None for no end."""
        places = [*self._next.values(), *([] if self._giant_at is None else [self._giant_at])]
        return max(1, min(places) - at) if places else None

    def due(self, at: int) -> Iterator[Fault]:
        """What has become due; each is given once."""
        for fault, place in self._next.items():
            if place <= at:
                self._next[fault] = self._after(fault, at)
                yield fault

    def giant_due(self, at: int) -> bool:
        """Whether it's the time for the giant frame; true once."""
        due = self._giant_at is not None and self._giant_at <= at
        if due:
            self._giant_at = None
        return due

    def _every(self, fault: Fault) -> int:
        every: int = getattr(self.faults, fault.value)
        return every

    def _after(self, fault: Fault, at: int) -> int:
        return at + self._dice[fault.value].randrange(1, 2 * self._every(fault))
