"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 5.0


class Reporter(Protocol):
    """Told how far the work is."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total`, in any unit."""


@contextmanager
def progress(quiet: bool = False) -> Iterator[Reporter]:
    """A reporter fit for where standard error goes."""
    if quiet:
        yield _silent
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield _OnTerminal(bar)
    else:
        yield _Plain()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _silent(what: str, done: int, total: int, note: str = "") -> None:
    pass


class _OnTerminal:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total, note=note)
        self._bar.update(self._tasks[what], completed=done, total=total, note=note)


class _Plain:
    def __init__(self) -> None:
        self._next = time.monotonic() + PLAIN_EVERY_S

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY_S
            share = f"{100 * done // total}%" if total else f"{done}"
            print(f"{what}: {share} {note}".rstrip(), file=sys.stderr, flush=True)
