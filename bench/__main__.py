"""`python -m bench [ROW ...]`: measures, prints the table, and writes it to bench/results/latest.md."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.context import Context, context
from bench.measure import Row, notes, table

ROWS = {
    "ingest": "live trades into Redis, against cryptofeed and against receiving and decoding alone",
    "metrics": "the same with a scrape of its metrics each second, against none",
    "sockets": "websocket libraries: frames received and nothing else",
    "tape": "a tape through the whole path, and its memory",
    "spill": "a day of sealed minutes to files, against raw writes",
    "compact": "a day of minute files to Parquet, against DuckDB",
    "read": "ranges of the archive to a frame, against DuckDB and Polars",
    "year": "a generated year: compaction, size, cold reads, against DuckDB and Polars",
    "many": "500 instruments in one process: lag and memory",
    "takeover": "a standby takes over from a writer that was killed, or hangs",
    "ledger": "commits, reads and sums of the ledger, against sqlite3 itself",
    "memory": "Redis memory of a minute, against JSON strings in a sorted set",
}
RESULTS = Path(__file__).resolve().parent / "results" / "latest.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for. Returns 1 where something of ours could not be measured; a missed target is no error."""
    asked = _asked(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that servers are stopped
    started = time.monotonic()
    rows: list[Row] = []
    with context(1 if asked.quick else asked.runs, quick=asked.quick, keep=asked.keep) as given:
        for name in asked.rows or ROWS:
            print(f"{name}: {ROWS[name]} ...", file=sys.stderr, flush=True)
            rows += _measured(name, given)
    text = _report(rows, asked.runs, asked.quick, time.monotonic() - started)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)
    print(text, end="")
    return int(any(row.ours is None for row in rows))


def _measured(name: str, given: Context) -> list[Row]:
    """A part's rows; where it fails, one that says so."""
    try:
        found: list[Row] = importlib.import_module(f"bench.{name}").rows(given)
        return found
    except Exception as error:  # whatever it is, the other rows are worth measuring
        return [Row(ROWS[name], None, None, None, f"not measured: {type(error).__name__}: {error}")]


def _report(rows: Sequence[Row], runs: int, quick: bool, seconds: float) -> str:
    how = "one small run, only to see that it works" if quick else f"medians of {runs} runs (least .. most), taken in turns"
    parts = [table(rows), "", f"{how}; {seconds:.0f} s in all.", f"{machine.line()}"]
    return "\n".join([*parts, "", *notes(rows)]) + "\n"


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Speed, side by side with others.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["rows:", *(f"  {name:8} {what}" for name, what in ROWS.items()), "\nexample: python -m bench spill"]),
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which to measure; default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--quick", action="store_true", help="one small run of each: does it work?")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the generated year is made, and stays for other runs")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.rows if name not in ROWS]:
        parser.error(f"row {unknown[0]!r}: expected one of {', '.join(ROWS)}")
    if asked.runs < 1:
        parser.error("--runs: expected 1 or more")
    return asked


if __name__ == "__main__":
    sys.exit(main())
