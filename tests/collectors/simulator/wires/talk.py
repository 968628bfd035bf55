"""What the tests of all venues share: tapes, and the plain reading of what a wire says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from collectors.simulator.synthetic import SimTrade, synthetic_trades
from collectors.simulator.tape import Tape
from collectors.simulator.wires.wire import Wire

START_NS = 1_723_161_255 * 10**9
US = 1_000


def made(symbol: str, count: int = 300, *, step_ns: int = US, seed: int = 1) -> list[SimTrade]:
    return list(synthetic_trades(seed, START_NS, count, symbol, step_ns=step_ns))


def happened(trades: Iterable[SimTrade]) -> Tape:
    """A tape of which all has happened."""
    tape = Tape(trades)
    tape.at = len(tape.trades)
    return tape


def read(payload: bytes | str) -> Any:
    """JSON with its numbers as they were written."""
    return json.loads(payload, parse_float=Decimal)


def heard(wire: Wire, tape: Tape, path: str, *messages: Any) -> tuple[Any, list[Any]]:
    """A session that has been told `messages`, and all it answered."""
    session = wire.session(tape, path)
    texts = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
    return session, [read(answer) for text in texts for answer in session.heard(text)]


def page(wire: Wire, tape: Tape, path: str, **query: Any) -> Any:
    """The answer to a REST request."""
    told: Mapping[str, str] = {name: str(value) for name, value in query.items()}
    return read(wire.pages[path](tape, told))
