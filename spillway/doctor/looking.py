"""Looks that may hang, all at once and each within its time: a dead network drive or a paused Redis stops no other look.

Each has a thread of its own, which nobody waits for at the end: a system call that hangs can't be cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

from pipeline.errors import SpillwayError
from spillway.doctor.finding import Finding, Level, Report


@dataclass(frozen=True, slots=True)
class Look:
    """Something to look at; what it means that the time was not enough, and what to do then."""

    what: str
    at: Callable[[], Iterable[Finding]]
    limit_s: float
    late: Level = Level.WRONG
    todo: str = "find out why it hangs"


@dataclass(slots=True)
class _Running:
    look: Look
    began_s: float
    answer: SimpleQueue[list[Finding]] = field(default_factory=SimpleQueue)

    def start(self) -> None:
        Thread(target=self._run, name=f"doctor {self.look.what}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = list(self.look.at())
        except SpillwayError as error:
            found = [Finding(self.look.what, Level.WRONG, str(error), "see the reason")]
        except Exception as error:  # whatever it is, the other looks are worth telling
            told = f"{type(error).__name__}: {error}"
            found = [Finding(self.look.what, Level.WRONG, told, "report this: it is a fault of ours")]
        self.answer.put(found)

    def result(self) -> list[Finding] | None:
        """What was found; None where the time is over."""
        try:
            return self.answer.get(timeout=max(0.0, self.began_s + self.look.limit_s - time.monotonic()))
        except Empty:
            return None


def look_at(looks: Sequence[Look]) -> Report:
    """Makes all looks at once; what they found, in their order."""
    running = [_Running(look, time.monotonic()) for look in looks]
    for each in running:
        each.start()
    answers = [(each.look, each.result()) for each in running]
    late = any(found is None for _, found in answers)
    return Report([finding for look, found in answers for finding in (_given_up(look) if found is None else found)], late)


def _given_up(look: Look) -> list[Finding]:
    return [Finding(look.what, look.late, f"no answer within {look.limit_s:g} s", look.todo)]
