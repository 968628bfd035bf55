"""Binance's public dumps and Tardis, as their documentation shows them, with the faults that are known of them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.dumps import BINANCE, kind_of, without_header
from collectors.tapes.tape import open_tape
from pipeline.errors import TapeError
from pipeline.instrument import Instrument
from tests.collectors.tapes.checks import read, write

MS = 1_723_161_255_342
US = 1_735_689_600_000_123  # 2025-01-01: spot's dumps have microseconds since

SPOT_TRADES = f"""3000,63000.01000000,0.00100000,63.00001000,{MS},True,True
3001,63000.02000000,0.00200000,126.00004000,{MS + 1},False,True
3003,63000.02000000,0.5,31500.01,{MS + 1},true,true
"""
FUTURES_TRADES_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker\n"
FUTURES_TRADES = f"""51254697,9.96,18.8,187.248,{MS},false
51254698,9.97,1,9.97,{MS + 5},true
"""
SPOT_AGG = f"""100,63000.01,0.003,3000,3002,{MS},True,True
101,63000.02,0.002,3003,3003,{MS + 1},False,True
101,63000.02,0.002,3003,3003,{MS + 1},False,True
104,63000.03,1,3007,3009,{MS + 2},False,True
"""
FUTURES_AGG_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
FUTURES_AGG = f"""26129,0.01633102,4.70443515,27781,27781,{MS},true
26130,0.01633103,1,27782,27785,{MS + 7},false
"""
TARDIS = """exchange,symbol,timestamp,local_timestamp,id,side,price,amount
binance,BTCUSDT,1585699202957111,1585699203089980,13081992,sell,6425.21,0.04000
binance,ETHUSDT,1585699202957112,1585699203089981,7,buy,133.1,2
binance,BTCUSDT,1585699203000000,1585699203089999,13081993,unknown,6425.2,1e-05
"""

D = Decimal
WANT = {
    SPOT_TRADES: [
        (3000, MS * 10**6, D("63000.01"), D("0.001"), -1, 1),
        (3001, (MS + 1) * 10**6, D("63000.02"), D("0.002"), 1, 1),
        (3003, (MS + 1) * 10**6, D("63000.02"), D("0.5"), -1, 1),
    ],
    FUTURES_TRADES: [
        (51254697, MS * 10**6, D("9.96"), D("18.8"), 1, 1),
        (51254698, (MS + 5) * 10**6, D("9.97"), D(1), -1, 1),
    ],
    SPOT_AGG: [
        (100, MS * 10**6, D("63000.01"), D("0.003"), -1, 3),
        (101, (MS + 1) * 10**6, D("63000.02"), D("0.002"), 1, 1),
        (101, (MS + 1) * 10**6, D("63000.02"), D("0.002"), 1, 1),
        (104, (MS + 2) * 10**6, D("63000.03"), D(1), 1, 3),
    ],
    FUTURES_AGG: [
        (26129, MS * 10**6, D("0.01633102"), D("4.70443515"), -1, 1),
        (26130, (MS + 7) * 10**6, D("0.01633103"), D(1), 1, 4),
    ],
}


def zipped(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-trades-2024-10-23.csv", text)
    return path


@pytest.mark.parametrize("pack", [write, zipped])
@pytest.mark.parametrize(
    ("header", "rows", "kind", "stream"),
    [
        ("", SPOT_TRADES, "binance-trades", "trade"),
        ("id,price,qty,quote_qty,time,is_buyer_maker,is_best_match\n", SPOT_TRADES, "binance-trades", "trade"),
        ("id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch\n", SPOT_TRADES, "binance-trades", "trade"),
        ("", FUTURES_TRADES, "binance-trades", "trade"),
        (FUTURES_TRADES_HEADER, FUTURES_TRADES, "binance-trades", "trade"),
        ("id,price,qty,base_qty,time,is_buyer_maker\n", FUTURES_TRADES, "binance-trades", "trade"),
        ("", SPOT_AGG, "binance-aggtrades", "agg"),
        ("", FUTURES_AGG, "binance-aggtrades", "agg"),
        (FUTURES_AGG_HEADER, FUTURES_AGG, "binance-aggtrades", "agg"),
    ],
)
def test_each_dump_of_binance_is_known_by_its_columns_with_a_header_or_without(
    pack: Callable[[Path, str], Path], header: str, rows: str, kind: str, stream: str, tmp_path: Path
) -> None:
    path = pack(tmp_path / "dump", header + rows)
    tape = open_tape(path, Instrument("binance", "BTCUSDT"))
    assert (tape.kind, tape.stream, tape.named_ids) == (kind, stream, False)
    found = read(path, "binance")
    assert found.trades == WANT[rows]
    assert (found.refused, found.error) == ([], "")


def test_spots_microseconds_are_told_from_milliseconds(tmp_path: Path) -> None:
    text = f"1,1.5,2,3.0,{US},True,True\n2,1.5,2,3.0,{US + 1},True,True\n"
    assert [t[1] for t in read(write(tmp_path / "a.csv", text), "binance").trades] == [US * 1000, (US + 1) * 1000]


def test_a_single_row_without_a_header_or_a_line_end_is_a_dump(tmp_path: Path) -> None:
    assert [t[0] for t in read(write(tmp_path / "a.csv", SPOT_TRADES.splitlines()[0])).trades] == [3000]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_row_of_a_dump_without_a_header_is_refused_with_its_line_also_the_first(bad: int, tmp_path: Path) -> None:
    lines = SPOT_TRADES.splitlines()
    lines[bad] = lines[bad].replace("63000", "x63000")
    found = read(write(tmp_path / "a.csv", "\n".join(lines) + "\n"), "binance")
    assert found.trades == [want for row, want in enumerate(WANT[SPOT_TRADES]) if row != bad]
    assert [where for where, _ in found.refused] == [f"a.csv:{bad + 1}"]
    assert "is not a decimal number" in found.refused[0][1]


def test_a_header_amid_the_rows_of_joined_dumps_costs_itself_only(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", (FUTURES_TRADES_HEADER + FUTURES_TRADES) * 2), "binance-usdm")
    assert len(found.trades) == 4
    assert [where for where, _ in found.refused] == ["a.csv:4"]


def test_rows_of_numbers_that_are_no_dump_are_refused_with_what_to_say(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=r"can't tell which column is .*; say --columns"):
        open_tape(write(tmp_path / "a.csv", "1,2,3,4,5,6,7\n" * 5), Instrument("binance", "BTCUSDT"))


def test_columns_of_a_dump_can_be_given_by_their_documented_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", SPOT_TRADES)
    assert read(path, columns={"size": "quote_qty"}).trades[2][3] == D("31500.01")


@given(data=st.data())
def test_a_dump_is_never_taken_for_another(data: st.DataObject) -> None:
    numbers = st.integers(0, 10**9).map(str)
    decimals = st.builds("{}.{}".format, st.integers(0, 10**6), st.integers(0, 10**8)) | numbers
    times = st.integers(10**12, 10**16).map(str)
    flags = st.sampled_from(["true", "false", "True", "False", "TRUE"])
    shapes = {
        "binance-trades": [numbers, decimals, decimals, decimals, times, flags],
        "binance-aggtrades": [numbers, decimals, decimals, numbers, numbers, times, flags],
    }
    kind = data.draw(st.sampled_from(sorted(shapes)))
    row = st.tuples(*shapes[kind], *([flags] if data.draw(st.booleans()) else []))
    found = without_header(data.draw(st.lists(row, min_size=1, max_size=5)))
    assert found is not None
    assert found.kind == kind
    assert kind_of(found.names) == kind
    assert found in BINANCE


# --- Tardis -------------------------------------------------------------------------------------------------------------------


def test_tardis_keeps_only_our_symbol_and_trades_without_an_aggressor(tmp_path: Path) -> None:
    path = write(tmp_path / "binance_trades_2020-04-01_BTCUSDT.csv.gz", TARDIS)
    assert open_tape(path, Instrument("binance", "BTCUSDT")).kind == "tardis-csv"
    found = read(path, "binance")
    assert found.trades == [
        (13081992, 1585699202957111000, D("6425.21"), D("0.04"), -1, 1),
        (13081993, 1585699203000000000, D("6425.2"), D("0.00001"), 0, 1),
    ]
    assert (found.skipped, found.refused) == (1, [])
    with pytest.raises(TapeError, match="it has trades of BTCUSDT, ETHUSDT, but none of XRPUSDT"):
        open_tape(path, Instrument("binance", "XRPUSDT"))


def test_tardis_trades_without_ids_get_some_that_are_the_same_each_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TARDIS.replace("13081992", "").replace("13081993", "").replace(",7,", ",,"))
    assert open_tape(path, Instrument("binance", "BTCUSDT")).named_ids
    first, second = read(path, "binance"), read(path, "binance")
    assert len({trade[0] for trade in first.trades}) == 2
    assert first == second
    assert first.refused == []
