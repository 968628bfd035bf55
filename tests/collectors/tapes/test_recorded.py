"""Recorded frames of any venue. Those of Coinbase and Bybit stand for contiguous and opaque ids here."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.tape import NotInTape, open_tape
from collectors.venues.venue import VENUES
from pipeline.instrument import IdRule, Instrument
from sinks.recording import Recorder
from tests.collectors.tapes.checks import read, write

SECOND = 1_700_006_400
NS = 10**9
BTC = Instrument("coinbase", "BTC-USD")
ACK = '{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}'
BEAT = '{"type":"heartbeat","product_id":"BTC-USD","sequence":1,"last_trade_id":1,"time":"2023-11-15T00:00:01Z"}'


def match(n: int, symbol: str = "BTC-USD", **other: Any) -> str:
    frame = {
        "type": "match",
        "trade_id": n,
        "maker_order_id": "m",
        "taker_order_id": "t",
        "side": "sell" if n % 2 else "buy",  # the maker's
        "size": "0.02",
        "price": f"{n}.10",
        "product_id": symbol,
        "sequence": 100 + n,
        "time": f"2023-11-15T00:00:{n % 60:02}.000001Z",
    }
    return json.dumps(frame | other)


def want(*ids: int) -> list[tuple[Any, ...]]:
    return [(n, (SECOND + n % 60) * NS + 1000, Decimal(f"{n}.10"), Decimal("0.02"), 1 if n % 2 else -1, 1) for n in ids]


def tape(path: Path, *frames: str, stamp: str = "1700006400000000007") -> Path:
    return write(path, "".join(f"{stamp} {frame}\n" for frame in frames).encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("rows", [1, 65536])
@pytest.mark.parametrize("stamp", ["1700006400000000007", "1700006400.25:"])
def test_frames_are_read_by_their_venues_own_parser(rows: int, stamp: str, tmp_path: Path) -> None:
    path = tape(tmp_path / "a.gz", ACK, match(1), BEAT, match(2), match(3, "ETH-USD"), match(4), stamp=stamp)
    opened = open_tape(path, BTC)
    assert (opened.kind, opened.stream, opened.named_ids) == ("coinbase-frames", "trade", False)
    found = read(path, "coinbase", "BTC-USD", rows=rows)
    assert found.trades == want(1, 2, 4)
    assert (found.refused, found.skipped) == ([], 3)


def test_a_recorders_own_lines_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    own = 'wss://ws-feed.exchange.coinbase.com <- 1700006400.1: {"type":"subscribe"}'
    found = read(write(tmp_path / "a", f"{own}\n\n1700006400.2: {match(1)}\r\n\r\n"), "coinbase", "BTC-USD")
    assert (found.trades, found.refused, found.skipped) == (want(1), [], 1)


BAD = [
    (match(9)[:-1], "truncated"),
    (match(9, price=5.5), "Expected `str`, got `float`"),
    (match(9, price="abc"), "price 'abc' is not a decimal number"),
    (match(9, price="0"), "price not more than 0"),
    (match(9, side="up"), "Invalid enum value"),
    ("[" * 100_000, "got `array`"),
    (match(9, product_id="BTC\udcff").replace("\\udcff", "\udcff"), "utf-8"),
    ("", "truncated"),
]


@pytest.mark.parametrize("rows", [1, 65536])
@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_frame_is_refused_with_its_line_each_time_it_comes_and_costs_no_other(
    bad: str, reason: str, rows: int, tmp_path: Path
) -> None:
    others = [match(n, "ETH-USD") for n in range(50)]
    path = tape(tmp_path / "a", ACK, match(1), bad, *others, match(2), bad, match(3))
    found = read(path, "coinbase", "BTC-USD", rows=rows)
    assert found.trades == want(1, 2, 3)
    assert [where for where, _ in found.refused] == ["a:3", "a:55"]
    assert all(reason in why for _, why in found.refused)
    assert found.skipped == 51


def test_a_bad_trade_of_another_symbol_is_not_ours_to_refuse(tmp_path: Path) -> None:
    path = tape(tmp_path / "a", match(1), match(1, "ETH-USD"), match(2, "ETH-USD", price=7.5), match(3, "NEW-USD"), match(2))
    found = read(path, "coinbase", "BTC-USD")
    assert (found.trades, found.refused, found.skipped) == (want(1, 2), [], 3)


def test_symbols_that_come_only_after_the_survey_are_passed_over_as_well(tmp_path: Path) -> None:
    filler = [match(n, "ETH-USD", maker_order_id="m" * 4000) for n in range(3000)]
    late = [match(n, f"LATE{n % 3}-USD") for n in range(100)]
    found = read(tape(tmp_path / "a", match(1), *filler, *late, match(2), *late), "coinbase", "BTC-USD", rows=100)
    assert (found.trades, found.refused, found.skipped) == (want(1, 2), [], 3200)


def test_a_tape_without_a_trade_of_the_symbol_is_refused_with_what_it_has(tmp_path: Path) -> None:
    path = tape(tmp_path / "a", ACK, BEAT, match(1, "ETH-USD"), match(2, "XRP-USD"))
    with pytest.raises(NotInTape, match="looked for coinbase frames with trades of BTC-USD; saw trades of ETH-USD, XRP-USD"):
        open_tape(path, BTC)
    with pytest.raises(NotInTape, match="looked for coinbase frames with trades of BTC-USD; saw no trades at all"):
        open_tape(tape(tmp_path / "b", ACK, BEAT), BTC)
    with pytest.raises(NotInTape, match="looked for okx frames with trades of BTC-USD; saw no trades at all"):
        open_tape(tape(tmp_path / "c", match(1)), Instrument("okx", "BTC-USD"))


def test_opaque_ids_are_named_as_such(tmp_path: Path) -> None:
    trade = {
        "T": SECOND * 1000,
        "s": "BTCUSDT",
        "S": "Buy",
        "v": "0.001",
        "p": "16578.5",
        "L": "PlusTick",
        "i": "20f43950-d8dd",
    }
    venue = next(venue for venue in VENUES.values() if venue.ids is IdRule.OPAQUE)
    frame = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": SECOND * 1000, "data": [trade | {"BT": False, "seq": 5}]}
    path = tape(tmp_path / "a", json.dumps(frame))
    assert open_tape(path, Instrument(venue.name, "BTCUSDT")).named_ids
    assert [t[0] for t in read(path, venue.name, "BTCUSDT").trades] == ["20f43950-d8dd"]


frames = st.lists(
    st.integers(1, 59).map(match)
    | st.integers(1, 59).map(lambda n: json.dumps(json.loads(match(n)), indent=1))
    | st.sampled_from([ACK, BEAT, *(bad for bad, _ in BAD), match(5, "ETH-USD"), match(6).replace(".10", ".1\n0")]),
    min_size=1,
    max_size=30,
)


@given(sent=frames)
async def test_what_was_recorded_replays_as_the_live_parser_read_it(
    sent: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recorded")
    received = [frame.encode("utf-8", "surrogateescape") for frame in (match(1), *sent)]
    recorder = Recorder(folder, venue="coinbase")
    await recorder.put(received, [SECOND * NS + n for n in range(len(received))])
    await recorder.close()
    (path,) = folder.rglob("*.gz")

    live = VENUES["coinbase"].parser(["BTC-USD", "ETH-USD"])(received)
    batch, refused = live.trades["BTC-USD"].checked(latest_ns=2**62)
    found = read(path, "coinbase", "BTC-USD")
    assert [t[0] for t in found.trades] == batch.ids.tolist()
    assert [t[1] for t in found.trades] == batch.ts_ns.tolist()
    assert [t[4] for t in found.trades] == batch.side.tolist()
    assert len(found.refused) == len(live.rejects) + len(refused)
    assert sorted(why for _, why in found.refused) == sorted([r.reason for _, r in live.rejects] + list(refused.values()))
    assert found.error == ""
