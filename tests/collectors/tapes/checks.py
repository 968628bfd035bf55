"""Reads tapes for tests: everything that a reader gives, as plain Python values."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from collectors.tapes.tape import TapeBlock, open_tape
from pipeline import fixed
from pipeline.errors import TapeError
from pipeline.instrument import Instrument
from pipeline.trade import Reject

LATEST_NS = 2**62  # in the year 2116

Row = tuple[int | str, int, Decimal, Decimal, int, int]  # id, ns, price, size, side, count


@dataclass
class Reading:
    """A whole tape: its trades, what was refused (in file order), how much was passed over, and the error it ended with."""

    trades: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    skipped: int = 0
    blocks: int = 0
    error: str = ""

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Where, and why."""
        return [(r.where, r.reason) for r in self.rejects]

    def take(self, blocks: Iterable[TapeBlock]) -> Reading:
        """Adds blocks until they end, or end in a TapeError."""
        try:
            for block in blocks:
                self._add(block)
        except TapeError as error:
            self.error = str(error)
        self.rejects.sort(key=lambda r: int(r.where.rpartition(":")[2].rpartition(" ")[2]))
        return self

    def _add(self, block: TapeBlock) -> None:
        batch, reasons = block.trades.checked(latest_ns=LATEST_NS)
        self.rejects += block.rejects + [Reject(*block.raws(row), why) for row, why in reasons.items()]
        columns = (batch.ids, batch.ts_ns, batch.price, batch.size, batch.side, batch.count)
        for trade_id, ns, price, size, side, count in zip(*(c.tolist() for c in columns), strict=True):
            exact = fixed.to_decimal(price, batch.price_scale), fixed.to_decimal(size, batch.size_scale)
            self.trades.append((trade_id, ns, *exact, side, count))
        self.skipped += block.skipped
        self.blocks += 1


def read(
    path: Path,
    venue: str = "x",
    symbol: str = "BTCUSDT",
    *,
    rows: int = 65536,
    columns: Mapping[str, str] | None = None,
) -> Reading:
    """Opens a tape and reads it to its end."""
    return Reading().take(open_tape(path, Instrument(venue, symbol), columns=columns).blocks(rows))


def write(path: Path, data: str | bytes) -> Path:
    """A tape with this content, gzip if its name says so."""
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path
