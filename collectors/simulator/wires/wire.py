"""What the simulator asks of a venue's manner of speaking. Pure: texts in, texts out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Tape


class Refused(Exception):
    """A request that the venue refuses, and how it says so."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status} {body}")
        self.status = status
        self.body = body


class Session:
    """One connection as the venue sees it: what it has subscribed to, and how it is talked to.

    A venue's own kind says how a subscription is asked for and answered, and what trades look like on such a connection.
    """

    plain = True  # trades are told one a frame, as `Wire.frame` does

    def __init__(self, tape: Tape, path: str) -> None:
        self.tape = tape
        self.path = path
        self.symbols: set[str] = set()

    def hello(self) -> Iterable[bytes]:
        """What is said once the upgrade is done."""
        return ()

    def heard(self, text: bytes) -> Iterable[bytes]:
        """The answers to a message of the client."""
        raise NotImplementedError

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        """Trades, whether it has subscribed to them or not, as the messages of this connection."""
        raise NotImplementedError

    def beat(self) -> Iterable[bytes]:
        """What is said every second."""
        return ()


Page = Callable[[Tape, Mapping[str, str]], str]  # (tape, query and named parts of the path) -> body; KeyError, ValueError: bad


@dataclass(frozen=True, slots=True)
class Wire:
    """A venue's manner of speaking."""

    session: Callable[[Tape, str], Session]  # for the path (with its query) of an upgrade
    frame: Callable[[SimTrade], bytes]  # a trade alone, as a message of most connections
    pages: Mapping[str, Page]  # REST path, with named parts in braces -> what answers it
    bad: Refused  # the answer to a request that makes no sense
    paths: Container[str] = ()  # where websockets are; anywhere, where none are named
    busy: str = '{"message":"Too many requests"}'  # the body of a 429
    soft_busy: str = ""  # where the venue says that it's asked too much with status 200: its body


def runs(trades: Sequence[SimTrade]) -> Iterable[Sequence[SimTrade]]:
    """Lists of consecutive trades of one symbol, one to seven of them, always the same for the same trades."""
    at = 0
    while at < len(trades):
        most = trades[at].trade_id % 7 + 1
        end = at + 1
        while end < min(at + most, len(trades)) and trades[end].symbol == trades[at].symbol:
            end += 1
        yield trades[at:end]
        at = end


def number(query: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    """A whole number of a query."""
    return int(query[name]) if name in query else default


def limited(query: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """How many rows are wanted, within what the venue gives."""
    return max(1, min(int(query.get(name, default)), most))
