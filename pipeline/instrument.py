"""What is traded where, and what the venue's trade ids prove."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote

from pipeline.errors import BadValue

MAX_NAME = 64


class IdRule(StrEnum):
    """What a venue's trade ids prove."""

    CONTIGUOUS = "contiguous"  # every id is used: a hole is a gap
    MONOTONIC = "monotonic"  # later trades have higher ids; holes mean nothing
    OPAQUE = "opaque"  # names only: order comes from the time


# What the ids of each venue prove, from the venues' documentation; of any other venue nothing is assumed.
ID_RULES = {
    "binance": IdRule.CONTIGUOUS,
    "binance-usdm": IdRule.CONTIGUOUS,
    "coinbase": IdRule.CONTIGUOUS,
    "kraken": IdRule.CONTIGUOUS,
    "okx": IdRule.CONTIGUOUS,
    "bitstamp": IdRule.MONOTONIC,
    "bitflyer": IdRule.MONOTONIC,
    "bybit": IdRule.OPAQUE,
    "bybit-spot": IdRule.OPAQUE,
}


def id_rule(venue: str) -> IdRule:
    """What a venue's trade ids prove."""
    return ID_RULES.get(venue, IdRule.OPAQUE)


@dataclass(frozen=True, slots=True, order=True)
class Instrument:
    """A venue and the venue's own symbol: `Instrument("kraken", "BTC/USD")`."""

    venue: str
    symbol: str

    def __post_init__(self) -> None:
        for what, name in (("venue", self.venue), ("symbol", self.symbol)):
            if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name.strip() != name:
                raise BadValue(f"{what} {name!r}: expected 1 to {MAX_NAME} printable characters")
        if path_name(self.venue) != self.venue:
            raise BadValue(f"venue {self.venue!r}: expected letters, digits, '.', '_' and '-'")

    @property
    def path(self) -> str:
        """`venue/symbol` with every character that a path or a key could trip over percent-encoded."""
        return f"{self.venue}/{path_name(self.symbol)}"

    @property
    def tag(self) -> str:
        """The Redis hash tag, `{venue:symbol}`: all keys of an instrument lie in one cluster slot."""
        return f"{{{self.venue}:{path_name(self.symbol)}}}"

    def __str__(self) -> str:
        return f"{self.venue} {self.symbol}"

    @classmethod
    def from_tag(cls, tag: str) -> Instrument:
        """The instrument of a hash tag."""
        venue, _, symbol = tag.strip("{}").partition(":")
        return cls(venue, unquote(symbol))

    @classmethod
    def from_path_names(cls, venue: str, symbol: str) -> Instrument:
        """The instrument of two folder names."""
        return cls(venue, unquote(symbol))


def path_name(name: str) -> str:
    """`name` fit for a path: outside A-Za-z0-9._- all is percent-encoded, and so is a name of dots alone."""
    encoded = quote(name, safe="").replace("~", "%7E")
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded
