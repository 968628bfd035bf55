"""What became of a backfill: for people, for machines, and as the service that ran it tells the command that asked for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from pipeline.errors import SpillwayError
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.spill import Failure
from pipeline.trade import NS_PER_MINUTE
from pipeline.writer import Counts


@dataclass(slots=True)
class BackfillSummary:
    """What became of the range."""

    instrument: Instrument
    since_ns: int
    until_ns: int
    requests: int = 0
    fetched: int = 0  # trades, each page's own
    counts: Counts = field(default_factory=Counts)
    spilled: int = 0
    failures: list[Failure] = field(default_factory=list)
    gap_ids: int = 0  # known to be missing now, wherever
    oldest_ns: int | None = None  # how far back the venue's answers went, where they were asked for the beginning
    seconds: float = 0.0


def describe(summary: BackfillSummary) -> list[str]:
    """A summary for people, line by line."""
    c, since, until = summary.counts, summary.since_ns // NS_PER_MINUTE, -(-summary.until_ns // NS_PER_MINUTE)
    lines = [
        f"{summary.instrument}: {minute_text(since)} to {minute_text(until)} UTC, {summary.requests:,} requests in "
        f"{summary.seconds:.1f} s",
        f"{c.taken:,} trades taken, {c.duplicates:,} seen before, {c.rejected:,} in the dead letters; "
        f"{c.sealed:,} minutes sealed, {summary.spilled:,} spilled",
    ]
    if summary.oldest_ns is not None and summary.oldest_ns > summary.since_ns + NS_PER_MINUTE:
        lines.append(f"the venue's answers reached back to {minute_text(summary.oldest_ns // NS_PER_MINUTE)} UTC, no further")
    if summary.gap_ids:
        lines.append(f"missing: {summary.gap_ids:,} trade ids were never seen; their minutes are marked degraded")
    return lines


def as_dict(summary: BackfillSummary) -> dict[str, object]:
    """A summary for machines."""
    oldest = None if summary.oldest_ns is None else minute_text(summary.oldest_ns // NS_PER_MINUTE)
    return {
        "venue": summary.instrument.venue,
        "symbol": summary.instrument.symbol,
        "from": minute_text(summary.since_ns // NS_PER_MINUTE),
        "to": minute_text(-(-summary.until_ns // NS_PER_MINUTE)),
        "requests": summary.requests,
        "fetched": summary.fetched,
        **asdict(summary.counts),
        "spilled": summary.spilled,
        "failed": len(summary.failures),
        "missing_ids": summary.gap_ids,
        "oldest": oldest,
        "seconds": round(summary.seconds, 3),
    }


def packed(summary: BackfillSummary) -> bytes:
    """A summary as it is told from process to process."""
    return msgspec.json.encode(summary, enc_hook=_error_text)


def unpacked(data: bytes) -> BackfillSummary:
    """The summary that was `packed`. SpillwayError for what is none."""
    try:
        return msgspec.json.decode(data, type=BackfillSummary, dec_hook=_error)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SpillwayError(f"the service's summary can't be read; is it of another version? {error}") from None


def _error_text(value: Any) -> str:
    if isinstance(value, SpillwayError):
        return str(value)
    raise NotImplementedError(type(value))


def _error(kind: type, text: Any) -> Any:
    if kind is SpillwayError:
        return SpillwayError(text)
    raise NotImplementedError(kind)
