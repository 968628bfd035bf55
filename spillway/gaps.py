"""`spillway gaps`: what was never seen, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import minute_of, minute_text, minute_time
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from sinks.ledger.gap import GapKind, GapRow, GapState, GapSums
from sinks.ledger.ledger import Ledger, read_ledger
from spillway.settings import Settings, masked
from spillway.store import Store
from spillway.times import TimeLike, minute_range

WIDTH = 160  # of tables, where no terminal says how wide it is
MINUTES_SHOWN = 60  # of one gap, to people
_MINUTE_COLUMNS = ("status", "seen", "expected", "missing", "revision")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gaps to show. BadValue for what can't be."""

    venue: str | None = None
    symbol: str | None = None
    state: GapState | None = None
    start: TimeLike = None
    end: TimeLike = None
    limit: int = 50

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise BadValue(f"--limit {self.limit}: expected 1 or more")
        Instrument("any" if self.venue is None else self.venue, "any" if self.symbol is None else self.symbol)

    def find(self, ledger: Ledger) -> list[GapRow]:
        """These gaps, the newest first."""
        first, last = minute_range(self.start, self.end)
        since_ns = None if self.start is None else first * NS_PER_MINUTE
        until_ns = None if self.end is None else last * NS_PER_MINUTE
        return ledger.gaps.find(
            venue=self.venue, symbol=self.symbol, state=self.state, since_ns=since_ns, until_ns=until_ns, limit=self.limit
        )


def gather(settings: Settings, wanted: Wanted, *, minutes: bool = False) -> dict[str, Any]:
    """Gaps and their sums, as plain data; with `minutes`, each gap's minutes as they are stored."""
    found: dict[str, Any] = {"ledger": masked(settings.ledger_url), "exists": False, "gaps": [], "totals": []}
    ledger = read_ledger(settings.ledger_url)
    if ledger is None:
        return found
    with ledger:
        rows = wanted.find(ledger)
        sums = ledger.gaps.sums(venue=wanted.venue, symbol=wanted.symbol)
    found |= {"exists": True, "gaps": [_gap(row) for row in rows], "totals": [_total(i, s) for i, s in sums.items()]}
    if minutes and rows:
        with Store(settings) as store:
            for row, gap in zip(rows, found["gaps"], strict=True):
                gap["minutes"] = list(_minutes(store, row))
    return found


def sums_as_dict(sums: GapSums) -> dict[str, int]:
    """Sums as plain data."""
    return {"found": sums.found, **asdict(sums)}


def sums_line(sums: dict[str, int]) -> str:
    """The same for people."""
    line = f"{sums['found']:,} ids found missing: "
    line += f"{sums['repaired']:,} repaired, {sums['lost']:,} lost, {sums['open']:,} open"
    outages = {name: sums[f"outages_{name}"] for name in ("repaired", "lost", "open")}
    if any(outages.values()):
        line += f"; times when nobody listened: {', '.join(f'{n:,} {name}' for name, n in outages.items())}"
    return line


def describe(found: dict[str, Any], width: int | None = None) -> list[str]:
    """The gaps for people."""
    if not found["totals"]:
        why = "" if found["exists"] else ": there is no ledger yet, `spillway run` makes it, or a replay that lacks ids"
        return [f"no gaps are recorded in {found['ledger']}{why}"]
    lines = _table(_HEADS, [_cells(gap) for gap in found["gaps"]], width) if found["gaps"] else ["no gap matches"]
    for gap in found["gaps"]:
        if "minutes" in gap:
            lines += ["", *_minute_lines(gap, width)]
    return [*lines, "", *(f"{t['venue']} {t['symbol']}: {sums_line(t)}" for t in found["totals"])]


# --- inside -------------------------------------------------------------------------------------------------------------


def _gap(row: GapRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in ("first_id", "last_id", "ids", "before_ns", "after_ns", "found_ns")}
    names = {"venue": row.instrument.venue, "symbol": row.instrument.symbol, "kind": str(row.kind)}
    return names | values | {"state": str(row.state), "ended_ns": row.ended_ns, "how": row.how}


def _total(instrument: Instrument, sums: GapSums) -> dict[str, Any]:
    return {"venue": instrument.venue, "symbol": instrument.symbol, **sums_as_dict(sums)}


def _minutes(store: Store, row: GapRow) -> Iterator[dict[str, Any]]:
    """The stored minutes that what is missing may belong to. Without the times around it that can't be told."""
    if row.before_ns is None or row.after_ns is None:
        return
    first, last = sorted((minute_of(row.before_ns), minute_of(row.after_ns)))
    times = minute_time(first), minute_time(last + 1)
    table = store.minutes(row.instrument.venue, row.instrument.symbol, *times, as_="arrow")
    for values in table.select(["timestamp", *_MINUTE_COLUMNS]).to_pylist():
        values["minute"] = minute_text(int(values.pop("timestamp").timestamp()) // 60)
        values["missing"] = orjson.loads(values["missing"])
        yield values


_HEADS = ("instrument", "missing", "count", "after the trade at", "before the trade at", "state", "how", "found")


def _cells(gap: dict[str, Any]) -> list[str]:
    outage = gap["kind"] == GapKind.OUTAGE
    ids = "nobody listened" if outage else f"{gap['first_id']}..{gap['last_id']}"
    count = "unknown" if gap["ids"] is None else f"{gap['ids']:,}"
    times = [_time(gap[name]) for name in ("before_ns", "after_ns")]
    return [f"{gap['venue']} {gap['symbol']}", ids, count, *times, gap["state"], gap["how"] or "-", _time(gap["found_ns"])]


def _time(ns: int | None) -> str:
    if ns is None:
        return "unknown"
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 10**6:03}"


def _minute_lines(gap: dict[str, Any], width: int | None) -> list[str]:
    title = f"minutes of {' '.join(_cells(gap)[:2])}, as they are stored:"
    if not gap["minutes"]:
        return [title, "  none"]
    shown = [
        [m["minute"], m["status"], f"{m['seen']:,}", f"{m['expected']:,}", _ranges(m["missing"])]
        for m in gap["minutes"][:MINUTES_SHOWN]
    ]
    more = len(gap["minutes"]) - len(shown)
    table = _table(("minute", "status", "seen", "expected", "missing"), shown, width)
    return [title, *table, *([f"  and {more:,} more"] if more else [])]


def _ranges(missing: list[list[int]]) -> str:
    shown = ", ".join(f"{first}..{last}" for first, last in missing[:3])
    return f"{shown} and {len(missing) - 3} more" if len(missing) > 3 else shown or "-"


def _table(heads: tuple[str, ...], rows: list[list[str]], width: int | None) -> list[str]:
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    text = StringIO()
    Console(file=text, width=width or WIDTH).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]
