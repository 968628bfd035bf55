"""What every tape reader gives: a block of trades as columns, with what was refused beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyarrow as pa

from pipeline.trade import RawTrades, Reject

MAX_RAW = 4096  # characters of a refused line that are kept

Texts: TypeAlias = dict[str, pa.Array]  # a column of texts for each role
Raws: TypeAlias = Callable[[int], tuple[str, str]]  # row -> its text in the file, and where that stands ("file.csv.gz:123")


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of a table, not yet made trades: what TapeBlock says of trades, of these."""

    texts: Texts
    raw: Raws
    rejects: list[Reject]
    done_bytes: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class TapeBlock:
    """Trades of one instrument in file order; it may hold none, only rejects or progress."""

    trades: RawTrades
    raws: Raws
    rejects: list[Reject]  # lines that could not even become a row
    done_bytes: int  # bytes of the file (as it lies on disk) read so far
    skipped: int = 0  # rows or frames passed over: another symbol's, or no trade at all

    def __len__(self) -> int:
        return len(self.trades.ts_ns)

    def split(self, rows: int) -> Iterator[TapeBlock]:
        """The same as blocks of at most `rows` rows; the first has the rejects."""
        if len(self) <= rows:
            yield self
            return
        for start in range(0, len(self), rows):
            part = replace(self, trades=_slice(self.trades, start, start + rows), raws=self._raws_from(start))
            yield replace(part, rejects=[], skipped=0) if start else part

    def _raws_from(self, start: int) -> Raws:
        return lambda row: self.raws(start + row)


def _slice(trades: RawTrades, start: int, end: int) -> RawTrades:
    return RawTrades(
        ids=trades.ids[start:end],
        ts_ns=trades.ts_ns[start:end],
        price=trades.price[start:end],
        size=trades.size[start:end],
        side=trades.side[start:end],
        count=None if trades.count is None else trades.count[start:end],
        reasons={row - start: why for row, why in trades.reasons.items() if start <= row < end},
    )
