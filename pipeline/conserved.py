"""What is conserved: the sums of accepted trades, exact, however many of them and wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import NamedTuple, Self

from pipeline import codec
from pipeline.footprint import State
from pipeline.open_minute import OpenMinute

_EXACT = Context(prec=1000, traps=[Inexact])
_ZERO = Decimal(0)


class Sums(NamedTuple):
    """Volumes and trade count of some trades."""

    buy_volume: Decimal = _ZERO
    sell_volume: Decimal = _ZERO
    total_volume: Decimal = _ZERO
    trade_count: Decimal = _ZERO

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*map(_EXACT.add, self, other))

    def minus(self, other: Sums) -> Sums:
        """What of this the other lacks; negative where it has more."""
        return Sums(*map(_EXACT.subtract, self, other))

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Self:
        """From decimal texts, in this order."""
        return cls(*map(Decimal, texts))

    @classmethod
    def of_state(cls, state: State) -> Self:
        """What a cursor says was accepted."""
        return cls.of_texts((state.buy, state.sell, state.volume, str(state.trade_count)))


def total(parts: Iterable[Sums]) -> Sums:
    """All of them together."""
    columns = list(zip(*parts, strict=True))
    return Sums(*(_sum(column) for column in columns)) if columns else Sums()


def _sum(numbers: Sequence[Decimal]) -> Decimal:
    found = _ZERO
    for number in numbers:
        found = _EXACT.add(found, number)
    return found


@dataclass(frozen=True, slots=True)
class Copy:
    """A minute as it lies somewhere. The sums are kept as text: there are thousands of these."""

    revision: int
    text: str

    @property
    def sums(self) -> Sums:
        """What it holds."""
        return Sums.of_texts(self.text.split(" "))

    @classmethod
    def of_head(cls, head: codec.Head) -> Self:
        """Of a sealed minute."""
        volumes = (bytes(raw).decode() for raw in (head.buy_volume, head.sell_volume, head.total_volume))
        return cls(head.revision, " ".join([*volumes, str(head.trade_count)]))

    @classmethod
    def of_open(cls, bucket: OpenMinute, size_scale: int) -> Self:
        """Of an open one."""
        buy, sell, volume, count = map(sum, zip(*bucket.levels.values(), strict=True))
        texts = [str(Decimal(number).scaleb(-size_scale, _EXACT)) for number in (buy, sell, volume)]
        return cls(bucket.revision, " ".join([*texts, str(count)]))


DAMAGED = Copy(0, "0 0 0 0")  # what can't be read holds nothing, and any other copy of its minute counts before it
