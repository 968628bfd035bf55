"""Frames that can't be read, or not as what they should be."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from collectors.simulator.spoil import Malformed, padded, spoiled
from collectors.simulator.synthetic import SimTrade, synthetic_trades
from collectors.simulator.tape import Tape
from collectors.simulator.wires.wires import WIRES
from collectors.venues.venue import VENUES
from tests.collectors.simulator.test_meeting import HABITS, rows, truth

SEEDS = range(30)
NAMES = sorted(WIRES)
UNREADABLE = (Malformed.BROKEN, Malformed.GARBAGE, Malformed.EMPTY, Malformed.DEEP, Malformed.NOT_UTF8)


def made(name: str) -> list[SimTrade]:
    habit = HABITS[name]
    return list(synthetic_trades(1, 1_723_161_255 * 10**9, 3, habit.symbols[0], step_ns=habit.step_ns))


def frames(name: str, kind: Malformed) -> list[bytes]:
    trades, venue = made(name), VENUES[name]
    session = WIRES[name].session(Tape(trades), venue.ws_path([trades[0].symbol]))
    return [spoiled(kind, Random(seed), trades, session.tell) for seed in SEEDS]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in leaves(part)]
    return [value]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_meant_to_be_unreadable_is(name: str, kind: Malformed) -> None:
    for frame in frames(name, kind):
        with pytest.raises((ValueError, RecursionError)):
            json.loads(frame.decode())


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_price_stands_where_the_price_stands(name: str) -> None:
    for frame in frames(name, Malformed.HUGE_PRICE):
        assert "1e400" in [str(leaf) for leaf in leaves(json.loads(frame, parse_float=str))]


@pytest.mark.parametrize("name", NAMES)
def test_a_stranger_is_a_good_trade_of_a_symbol_that_nobody_asked_for(name: str) -> None:
    symbol = made(name)[0].symbol
    for frame in frames(name, Malformed.STRANGER):
        stranger = f"{symbol}X"
        parsed = VENUES[name].parser([stranger])([frame])
        assert set(parsed.trades) == {stranger}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_type_is_in_one_field_only(name: str) -> None:
    good = next(iter(WIRES[name].session(Tape([]), VENUES[name].ws_path(["X"])).tell(made(name))))
    whole = leaves(json.loads(good, parse_float=Decimal))
    for frame in frames(name, Malformed.WRONG_TYPE):
        assert frame != good
        assert abs(len(leaves(json.loads(frame, parse_float=Decimal))) - len(whole)) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", list(Malformed))
def test_no_parser_takes_a_spoiled_frame_for_a_trade_that_did_not_happen(name: str, kind: Malformed) -> None:
    trades = made(name)
    symbol = trades[0].symbol
    for frame in frames(name, kind):
        parsed = VENUES[name].parser([symbol])([frame])
        assert set(parsed.trades) <= {symbol}
        if symbol in parsed.trades:
            _, refused = parsed.trades[symbol].checked(latest_ns=2**62)
            assert set(rows(parsed.trades[symbol], but=refused)) <= set(truth(name, trades))


@pytest.mark.parametrize("name", NAMES)
def test_a_padded_frame_is_the_same_trade_in_a_large_frame(name: str) -> None:
    trades = made(name)
    payload = padded(WIRES[name].frame(trades[0]), 1_000_000)
    assert len(payload) == 1_000_000
    parsed = VENUES[name].parser([trades[0].symbol])([payload])
    assert rows(parsed.trades[trades[0].symbol]) == truth(name, trades[:1])
