"""What the ledger adds to `spillway status`: each instrument's gaps, and how its minutes stand against the venue's klines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import SpillwayError
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from sinks.ledger.gap import GapSums
from sinks.ledger.klines import KlineCheck, KlineSums
from sinks.ledger.ledger import read_ledger
from spillway.gaps import sums_as_dict, sums_line
from spillway.settings import Settings


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """What was found in the ledger; all empty where there is none, or where an error says why it can't be read."""

    gaps: Mapping[Instrument, GapSums] = field(default_factory=dict)
    klines: Mapping[Instrument, KlineSums] = field(default_factory=dict)
    error: str | None = None

    def of(self, instrument: Instrument) -> dict[str, Any]:
        """One instrument's part, as plain data; None for what was never recorded."""
        gaps, klines = self.gaps.get(instrument), self.klines.get(instrument)
        return {
            "gap_ledger": sums_as_dict(gaps) if gaps else None,
            "klines": _klines(klines) if klines else None,
        }


def from_ledger(settings: Settings) -> LedgerStatus:
    """Reads the ledger, if there is one. A ledger that can't be read must not hide the rest of the status."""
    try:
        ledger = read_ledger(settings.ledger_url)
        if ledger is None:
            return LedgerStatus()
        with ledger:
            checked = {instrument: ledger.klines.sums(instrument) for instrument in ledger.klines.instruments()}
            return LedgerStatus(ledger.gaps.sums(), {i: sums for i, sums in checked.items() if sums})
    except SpillwayError as error:
        return LedgerStatus(error=str(error))


def ledger_lines(found: dict[str, Any]) -> list[str]:
    """One instrument's part for people."""
    gaps, klines = found["gap_ledger"], found["klines"]
    return [
        *([f"  gaps     {sums_line(gaps)}"] if gaps else []),
        *([f"  klines   {_line(klines)}"] if klines else []),
    ]


def _klines(sums: KlineSums) -> dict[str, Any]:
    numbers = {n: getattr(sums, n) for n in ("checked", "differing", "unexplained", "resolved", "unanswered")}
    last = _difference(sums.last) if sums.last else None
    return {"checked_until": minute_text(sums.checked_until), **numbers, "last_difference": last}


def _difference(check: KlineCheck) -> dict[str, Any]:
    return {"minute": minute_text(check.minute), "status": check.status, "revision": check.revision, **check.told()}


def _line(klines: dict[str, Any]) -> str:
    line = f"{klines['checked']:,} minutes held against the venue's, up to {klines['checked_until']}: "
    if not klines["differing"]:
        return line + "all equal"
    last = klines["last_difference"]
    told = ", ".join(f"{name}: {last[name]}" for name in ("volume", "buy_volume", "trade_count") if name in last)
    line += f"{klines['differing']:,} differ, {klines['unexplained']:,} of them without a known reason"
    return f"{line}; the last {last['minute']} ({last['status']}): {told}"
