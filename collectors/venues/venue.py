"""What the collectors ask of a venue, and the venues there are. A venue is pure: bytes in, trades out; it owns no socket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from collectors.venues.binance import SPOT, USDM
from collectors.venues.parsed import Parsed, Parser
from pipeline.errors import BadValue
from pipeline.instrument import IdRule


class Venue(Protocol):
    """One venue's protocol for public trades."""

    @property
    def name(self) -> str:
        """As in settings, paths and keys: `binance`."""

    @property
    def ids(self) -> IdRule:
        """What its trade ids prove."""

    @property
    def stream(self) -> str:
        """Which of the venue's id sequences is collected: `trade`, or `agg` where the venue aggregates."""

    @property
    def ws_url(self) -> str:
        """The websocket base, to which `ws_path` is appended."""

    @property
    def rest_url(self) -> str:
        """The REST base, to which `history_path` is appended."""

    @property
    def page_size(self) -> int:
        """How many trades one history request may ask for."""

    @property
    def streams_per_connection(self) -> int:
        """How many symbols one connection may carry."""

    def ws_path(self, symbols: Sequence[str]) -> str:
        """Path and query that subscribe to the trades of `symbols`."""

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser of the frames of a connection that asked for `symbols`. It never raises: what is bad is a Reject."""

    def history_path(self, symbol: str, from_id: int, limit: int) -> str:
        """Path and query of the request for up to `limit` trades from `from_id` on."""

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The answer's trades, under `symbol`; a bad row is a Reject. VenueError for a body that is no list of rows."""


VENUES: dict[str, Venue] = {venue.name: venue for venue in (SPOT, USDM)}


def venue_of(name: str) -> Venue:
    """The venue of that name. BadValue with those there are."""
    if name not in VENUES:
        raise BadValue(f"venue {name!r} is unknown; there are {', '.join(sorted(VENUES))}")
    return VENUES[name]
