"""What was measured, and the table of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median


class Unit(Enum):
    """What a number counts: how it is written, and which way is better."""

    RATE = ("/s", True)
    SECONDS = ("s", False)
    BYTES = ("B", False)

    @property
    def more_is_better(self) -> bool:
        """Whether the higher number wins."""
        return self.value[1]

    def text(self, number: float) -> str:
        """The number as people read it."""
        if self is Unit.RATE:
            return f"{number / 1000:,.0f}k/s" if number >= 20_000 else f"{number:,.0f}/s"
        if self is Unit.BYTES:
            return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB"
        return f"{number:.2f} s" if number >= 1 else f"{number * 1000:.1f} ms"


@dataclass(slots=True)
class Samples:
    """Repeated measurements of one thing."""

    name: str
    unit: Unit
    values: list[float] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    def text(self) -> str:
        """The median, and how far the others were from it."""
        if len(self.values) == 1:
            return self.unit.text(self.middle)
        return f"{self.unit.text(self.middle)} ({self.unit.text(min(self.values))} .. {self.unit.text(max(self.values))})"


@dataclass(frozen=True, slots=True)
class Target:
    """What the ratio (or, with no peer, the number itself) must reach."""

    limit: float
    at_most: bool = False  # of memory, less is asked for
    absolute: Unit | None = None  # the limit is of our own number, in this unit

    def text(self) -> str:
        """As the table has it."""
        limit = self.absolute.text(self.limit) if self.absolute else f"{self.limit:g} x"
        return f"{'at most' if self.at_most else 'at least'} {limit}"

    def is_met(self, reached: float) -> bool:
        """Whether a ratio (or number) is as asked."""
        return reached <= self.limit if self.at_most else reached >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    work: str
    ours: Samples | None
    peer: Samples | None
    target: Target | None
    note: str = ""  # what one must know to read it, or why there is nothing to read
    missing: str = ""  # why there is no peer

    @property
    def ratio(self) -> float | None:
        """How many times as fast ours is as the peer; of memory, how many times as much it takes."""
        if not (self.ours and self.peer):
            return None
        ours, peer = self.ours.middle, self.peer.middle
        return ours / peer if self.ours.unit.more_is_better or self.ours.unit is Unit.BYTES else peer / ours

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing to compare."""
        reached = self.ours.middle if self.target and self.target.absolute and self.ours else self.ratio
        return self.target.is_met(reached) if self.target and reached is not None else None

    def cells(self) -> list[str]:
        """The row as texts."""
        return [
            self.work,
            self.ours.text() if self.ours else self.note,
            f"{self.peer.name}: {self.peer.text()}" if self.peer else self.missing or "-",
            f"{self.ratio:.2f} x" if self.ratio is not None else "-",
            self.target.text() if self.target else "-",
            {True: "yes", False: "NO", None: "-"}[self.met],
        ]


HEADS = ["work", "ours", "peer", "ratio", "target", "met"]


def take_turns(runs: int, *sides: tuple[Samples, Callable[[], float]]) -> None:
    """Measures each side in turn, `runs` times, and every other time the other way round."""
    for run in range(runs):
        for samples, measured in sides if run % 2 == 0 else reversed(sides):
            samples.values.append(measured())


def table(rows: Sequence[Row]) -> str:
    """All rows as a Markdown table that also reads well in a terminal."""
    lines = [HEADS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def notes(rows: Sequence[Row]) -> list[str]:
    """What one must know to read the numbers."""
    return [f"- {row.work}: {row.note}" for row in rows if row.note and row.ours]
