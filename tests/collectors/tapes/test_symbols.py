from __future__ import annotations

import pytest

from collectors.tapes.symbols import to_filter_by
from pipeline.errors import TapeError


def choose(head: set[str], everything: set[str] | None, symbol: str = "BTCUSDT") -> str | None:
    def all_of_it() -> set[str]:
        assert everything is not None, "the whole tape was read without need"
        return everything

    return to_filter_by(head, all_of_it, symbol, "tape.csv")


def test_a_symbol_seen_at_the_start_needs_no_look_at_the_rest() -> None:
    assert choose({"BTCUSDT"}, None) == "BTCUSDT"
    assert choose({"BTC/USDT", "ETH/USDT"}, None) == "BTC/USDT"
    assert choose({"btc-usdt", "BTCUSDT"}, None) == "BTCUSDT"


def test_a_tape_of_one_symbol_by_another_name_is_taken_whole() -> None:
    assert choose({"XBTUSD"}, {"XBTUSD", ""}) is None
    assert choose(set(), set()) is None


def test_a_symbol_that_comes_late_is_still_found() -> None:
    assert choose({"ETHUSDT"}, {"ETHUSDT", "BTCUSDT"}) == "BTCUSDT"


def test_a_tape_of_several_other_symbols_is_refused_with_their_names() -> None:
    with pytest.raises(TapeError, match=r"tape\.csv: it has trades of ETHUSDT, XRPUSDT, but none of BTCUSDT"):
        choose({"ETHUSDT"}, {"ETHUSDT", "XRPUSDT"})
