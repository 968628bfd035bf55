"""Walks through a venue's simulated history, by the paths that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from collectors.venues.history import Span
from collectors.venues.venue import Venue
from pipeline.trade import RawTrades
from tests.collectors.venues.hostile import found


def walk(venue: Venue, symbol: str, span: Span, serve: Callable[[str, dict[str, str]], bytes]) -> tuple[list[int], int]:
    """The ids of the span that a history gives, and in how many pages. `serve`: path and query of a request -> the answer."""
    ids: list[int] = []
    page: RawTrades | None = None
    asked: list[str] = []
    while (path := venue.history_path(symbol, span, page)) is not None:
        assert path not in asked, "the same page again: the walk would not end"
        asked.append(path)
        where, query = split(path)
        answer = venue.parse_history(symbol, serve(where, query))
        page = answer.trades[symbol]
        ids += found(answer.within(symbol, span), symbol)
    return sorted(set(ids)), len(asked)


def split(path: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request, decoded."""
    parts = urlsplit(path)
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
