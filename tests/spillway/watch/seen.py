"""What the live view might see."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console, Group

from pipeline.instrument import Instrument
from spillway.watch.facts import Board, Coverage, Row
from spillway.watch.job import as_lines
from tests.pipeline.builders import BTC, START, START_NS

ETH = Instrument("kraken", "ETH/USD")
NOW_NS = START_NS + 30 * 1_000_000_000
LIVE = Row(
    BTC,
    price=Decimal("60123.40000000"),
    minute=START,
    delta=Decimal("-12.345"),
    per_s=83.24,
    lag_s=0.21,
    clock="wall",
    coverage=Coverage(known=1440, whole=1440, degraded=0, absent=0, proves=True),
    sealed=2880,
    sealed_bytes=31_200_000,
    writer="process 12 on host",
    open_ids=0,
    open_outages=0,
)
BAD = Row(
    ETH,
    price=Decimal("3001.125"),
    minute=START - 1,
    delta=Decimal("1234567"),
    per_s=0.0,
    lag_s=3700.0,
    clock="wall",
    coverage=Coverage(known=1000, whole=999, degraded=1, absent=0, proves=True),
    sealed=3,
    sealed_bytes=900,
    open_ids=1200,
    open_outages=2,
)
TAPE = Row(Instrument("bitflyer", "BTC_JPY"), clock="tape", coverage=Coverage(9, 0, 0, 0, proves=False))


def board(*rows: Row, **other: object) -> Board:
    known: dict[str, object] = {"used_bytes": 31_500_000, "limit_bytes": 2_000_000_000, "total": len(rows)}
    return Board(NOW_NS, "redis://host:6379/0", rows=rows, **(known | other))  # type: ignore[arg-type]


def lines(picture: Group, width: int) -> list[str]:
    return as_lines(picture, Console(width=width, highlight=False, color_system=None))


def coloured(picture: Group, width: int) -> str:
    return "\n".join(as_lines(picture, Console(width=width, highlight=False, force_terminal=True, color_system="standard")))
