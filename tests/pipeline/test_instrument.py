"""Names of venues and symbols, fit for paths and keys."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.instrument import ID_RULES, MAX_NAME, IdRule, Instrument, id_rule, path_name

SYMBOLS = st.text(min_size=1, max_size=MAX_NAME).filter(lambda s: s.isprintable() and s.strip() == s)


@pytest.mark.parametrize(
    ("symbol", "path", "tag"),
    [
        ("BTCUSDT", "kraken/BTCUSDT", "{kraken:BTCUSDT}"),
        ("BTC/USD", "kraken/BTC%2FUSD", "{kraken:BTC%2FUSD}"),
        ("../../etc/passwd", "kraken/..%2F..%2Fetc%2Fpasswd", "{kraken:..%2F..%2Fetc%2Fpasswd}"),
        ("..", "kraken/%2E%2E", "{kraken:%2E%2E}"),
        (".", "kraken/%2E", "{kraken:%2E}"),
        ("a~b", "kraken/a%7Eb", "{kraken:a%7Eb}"),
        ("{x}:*", "kraken/%7Bx%7D%3A%2A", "{kraken:%7Bx%7D%3A%2A}"),
        ("BTC_JPY-1.5", "kraken/BTC_JPY-1.5", "{kraken:BTC_JPY-1.5}"),
    ],
)
def test_a_symbol_is_percent_encoded_in_paths_and_keys(symbol: str, path: str, tag: str) -> None:
    instrument = Instrument("kraken", symbol)
    assert (instrument.path, instrument.tag) == (path, tag)


@given(SYMBOLS)
def test_any_symbol_comes_back_from_its_key_and_its_folder(symbol: str) -> None:
    instrument = Instrument("binance-usdm", symbol)
    assert Instrument.from_tag(instrument.tag) == instrument
    assert Instrument.from_path_names(*instrument.path.split("/")) == instrument


@given(SYMBOLS)
def test_no_symbol_leaves_its_folder_or_its_hash_tag(symbol: str) -> None:
    name = path_name(symbol)
    assert re.fullmatch(r"[A-Za-z0-9._%-]+", name)
    assert PurePosixPath(name).parts == (name,)
    assert name not in (".", "..")


@given(SYMBOLS, SYMBOLS)
def test_two_symbols_never_share_a_folder(one: str, other: str) -> None:
    assert (path_name(one) == path_name(other)) == (one == other)


@pytest.mark.parametrize("symbol", ["", " ", "a\n", "\x00", " BTC", "BTC ", "x" * (MAX_NAME + 1), "a\tb", "\ud800"])
def test_a_symbol_that_people_could_not_read_is_refused(symbol: str) -> None:
    with pytest.raises(BadValue, match="symbol"):
        Instrument("binance", symbol)


@pytest.mark.parametrize("venue", ["", "..", ".", "a/b", "a:b", "a b", "{a}", "bör", "a%2Fb"])
def test_a_venue_that_is_no_plain_name_is_refused(venue: str) -> None:
    with pytest.raises(BadValue, match="venue"):
        Instrument(venue, "BTCUSDT")


def test_an_instrument_is_named_for_people_and_sorts_by_venue_then_symbol() -> None:
    instruments = [Instrument("kraken", "A"), Instrument("binance", "B"), Instrument("binance", "A")]
    assert [str(i) for i in sorted(instruments)] == ["binance A", "binance B", "kraken A"]


def test_of_a_venue_that_is_not_known_nothing_is_assumed() -> None:
    assert id_rule("nowhere") is IdRule.OPAQUE
    assert all(id_rule(venue) is rule for venue, rule in ID_RULES.items())
