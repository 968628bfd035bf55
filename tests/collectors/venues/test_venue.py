"""The venues there are, and that the documentation tells the same of them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from collectors.venues.venue import VENUES, venue_of
from pipeline.errors import BadValue
from pipeline.instrument import id_rule

PAGE = (Path(__file__).parents[3] / "docs" / "venues.md").read_text(encoding="utf-8")


def table(header: str) -> dict[str, list[str]]:
    """The rows of the table that has this column: the venue's name -> its cells."""
    (body,) = [part for part in PAGE.split("\n\n") if part.startswith("| venue") and f"| {header}" in part]
    cells = [[cell.strip() for cell in re.split(r" \| ", line.strip("|"))] for line in body.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_describes_every_venue_and_no_other() -> None:
    assert set(table("history")) == {*VENUES, "any other, by `ccxt"}
    assert set(table("requests/s")) == set(VENUES)


@pytest.mark.parametrize("name", VENUES)
def test_the_page_the_venue_and_the_pipeline_agree_on_what_ids_prove(name: str) -> None:
    told = table("history")[name][1].split()[0]
    assert told == VENUES[name].ids.value == id_rule(name).value


@pytest.mark.parametrize("name", VENUES)
def test_the_page_tells_the_limits_that_are_kept_to(name: str) -> None:
    limits = VENUES[name].limits
    symbols, trades, requests, connections, cut = table("requests/s")[name]
    assert (symbols, float(requests), float(connections)) == (
        *(str(limits.symbols_per_connection), limits.requests_per_s),
        limits.connects_per_s,
    )
    assert trades == ("a day's" if name == "bitstamp" else f"{limits.page_size:,}")
    if limits.keepalive:
        assert cut.endswith(f"`{limits.keepalive.decode()}` each {limits.keepalive_s:g} s")
    else:
        hours = limits.lifetime_s / 3600
        assert cut in ("-" if math.isinf(hours) else f"{hours:g} h", f"{hours / 24:g} days")


@pytest.mark.parametrize("name", VENUES)
def test_the_page_says_where_there_are_no_klines(name: str) -> None:
    venue = VENUES[name]
    has_klines = venue.klines_path("X", 27_000_000, 1) is not None
    assert (table("history")[name][3] == "none published") is not has_klines


def test_a_venue_is_known_by_its_name() -> None:
    assert all(venue_of(name) is venue and venue.name == name for name, venue in VENUES.items())
    with pytest.raises(BadValue, match="venue 'nasdaq' is unknown; there are binance, "):
        venue_of("nasdaq")
