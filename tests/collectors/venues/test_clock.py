"""The venues' own time, read from the answers that their documentation shows."""

from __future__ import annotations

import pytest

from collectors.venues.clock import CLOCKS
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError

ANSWERS = {
    "binance": (b'{"serverTime":1499827319559}', 1_499_827_319_559_000_000),
    "binance-usdm": (b'{"serverTime":1499827319559}', 1_499_827_319_559_000_000),
    "coinbase": (b'{"iso":"2015-01-07T23:47:25.201Z","epoch":1420674445.201}', 1_420_674_445_201_000_000),
    "kraken": (
        b'{"error":[],"result":{"unixtime":1688669448,"rfc1123":"Thu, 06 Jul 23 18:50:48 +0000"}}',
        1_688_669_448 * 10**9,
    ),
    "okx": (b'{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}', 1_597_026_383_085_000_000),
    "bybit": (
        b'{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},"time":1688639403423}',
        1_688_639_403_423_213_947,
    ),
}
ANSWERS["bybit-spot"] = ANSWERS["bybit"]


@pytest.mark.parametrize("venue", sorted(ANSWERS))
def test_each_venues_documented_answer_is_read_to_its_last_digit(venue: str) -> None:
    body, expected = ANSWERS[venue]
    assert CLOCKS[venue].read(body) == expected


def test_all_venues_but_the_two_that_have_none_tell_their_time() -> None:
    assert set(CLOCKS) == set(ANSWERS) == set(VENUES) - {"bitstamp", "bitflyer"}


@pytest.mark.parametrize("venue", sorted(ANSWERS))
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data":[]}', b'{"iso":"soon"}', b'{"serverTime":0}', b"[1]"])
def test_any_other_answer_is_refused_with_its_beginning(venue: str, body: bytes) -> None:
    with pytest.raises(VenueError, match="expected the venue's time"):
        CLOCKS[venue].read(body)
