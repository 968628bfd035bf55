"""What the collectors ask of a venue, and the venues there are. A venue is pure: bytes in, trades out; it owns no socket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from collectors.venues import bybit
from collectors.venues.binance import SPOT, USDM
from collectors.venues.bitflyer import BITFLYER
from collectors.venues.bitstamp import BITSTAMP
from collectors.venues.coinbase import COINBASE
from collectors.venues.history import Reach, Span
from collectors.venues.kline import Kline
from collectors.venues.kraken import KRAKEN
from collectors.venues.limits import VenueLimits
from collectors.venues.okx import OKX
from collectors.venues.parsed import Parsed, Parser
from pipeline.errors import BadValue
from pipeline.instrument import IdRule
from pipeline.trade import RawTrades


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
        """The REST base, to which the paths of history and klines are appended."""

    @property
    def limits(self) -> VenueLimits:
        """What the venue allows, and what it wants to hear."""

    @property
    def reach(self) -> Reach:
        """How its history can be addressed."""

    def ws_path(self, symbols: Sequence[str]) -> str:
        """Path and query of a connection for `symbols`; they subscribe already, where the venue reads them from there."""

    def subscriptions(self, symbols: Sequence[str]) -> Sequence[bytes]:
        """Messages that subscribe to `symbols` once the upgrade is done; none where the address does it."""

    def parser(self, symbols: Collection[str]) -> Parser:
        """A parser of the frames of a connection that asked for `symbols`. It never raises: what is bad is a Reject."""

    def history_path(self, symbol: str, span: Span, page: RawTrades | None) -> str | None:
        """Path and query of the next request towards `span`: the first, or the one after `page`; None after the last.

        `page` is the whole answer to the request before, though it may hold more than the span.
        """

    def parse_history(self, symbol: str, body: bytes) -> Parsed:
        """The answer's trades, under `symbol`; a bad row is a Reject. VenueError for a body that is no list of rows."""

    def klines_path(self, symbol: str, first_minute: int, count: int) -> str | None:
        """Path and query of the request for `count` official minutes from `first_minute` on; None where there are none."""

    def parse_klines(self, body: bytes) -> list[Kline]:
        """The answer's minutes, oldest first; one that is still going on may be among them. VenueError for any other body."""


VENUES: dict[str, Venue] = {
    venue.name: venue
    for venue in (
        *(SPOT, USDM),
        *(COINBASE, OKX, KRAKEN),
        *(bybit.LINEAR, bybit.SPOT, BITSTAMP, BITFLYER),
    )
}


def venue_of(name: str) -> Venue:
    """The venue of that name. BadValue with those there are."""
    if name not in VENUES:
        raise BadValue(f"venue {name!r} is unknown; there are {', '.join(sorted(VENUES))}")
    return VENUES[name]
