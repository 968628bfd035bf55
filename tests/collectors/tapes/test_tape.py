from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.tape import TapeBlock, open_tape
from pipeline.errors import TapeError
from pipeline.instrument import Instrument
from tests import tapes
from tests.collectors.tapes import test_frames as frames
from tests.collectors.tapes import test_json as ccxt
from tests.collectors.tapes import test_recorded as recorded
from tests.collectors.tapes.checks import Reading, read, write

BITFLYER_HEADER = (
    "domain,product_code,loaded,id,exec_date,side,price,size,buy_child_order_acceptance_id,sell_child_order_acceptance_id"
)
BITFLYER = f"""{BITFLYER_HEADER}
bitflyer.jp,BTC_JPY,2018-01-21T07:46:09.367+09:00,118981535,2018-01-21T07:46:05.673+09:00,BUY,1459000.0,0.01,JRF1,JRF2
bitflyer.jp,BTC_JPY,2018-01-21T07:46:09.367+09:00,118981542,,SELL,1458999.0,0.003,JRF3,JRF4
bitflyer.jp,BTC_JPY,2018-01-21T07:46:09.366+09:00,118981543,2018-01-21T07:46:08.017+09:00,,1459000.0,0.027,JRF5,JRF6
"""


DAMAGE = [
    b"",
    b'"',
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b",",
    b"{",
    b"}]",
    b"9" * 40,
    b"1e999",
    b"null",
    b"\xed\xa0\x80",
    b"[" * 3000,
    b"-",
]


def bitflyer() -> str:
    return BITFLYER


def generic() -> str:
    rows = [",".join(row.values()) for row in tapes.rows(1, 40)]
    rows[::97] = [row.replace(".", "!", 1) for row in rows[::97]]
    return "time,id,price,size,side\n" + "\n".join(rows) + "\n"


def made_ids() -> str:
    return "time,price,size,side\n" + "".join(f"151648836567{n // 50 % 10},1.0,{n % 3},buy\n" for n in range(3000))


def ccxt_list() -> str:
    return json.dumps([ccxt.agg(n) if n % 100 else {"broken": n} for n in range(1, 900)])


def binance_frames() -> str:
    lines = [frames.line(frames.trade(n)) if n % 50 else frames.line(frames.trade(n))[:-1] for n in range(1, 1500)]
    return "\n".join([frames.DEPTH, *lines])


def dump() -> str:
    rows = [f"{n},6.{n % 100},0.5,3.0,{tapes.START_MS + n},{n % 2 == 0},True" for n in range(1, 2000)]
    rows[::97] = [row.replace(".", "!", 1) for row in rows[::97]]
    return "\n".join(rows) + "\n"


def coinbase_frames() -> str:
    lines = [recorded.match(n) if n % 50 else recorded.match(n)[:-1] for n in range(1, 1500)]
    return "".join(f"1700006400000000007 {line}\n" for line in (recorded.ACK, recorded.match(1, "ETH-USD"), *lines))


def exported() -> str:
    rows = [f"2024-10-23T14:{n // 50:02}:00Z,{n % 50 + 1}.5,1.5,0.25,{2 if n % 70 else 1},1.25,7" for n in range(2000)]
    return "timestamp,price_level,buy_volume,sell_volume,total_volume,delta,trade_count\n" + "\n".join(rows) + "\n"


def exported_json() -> str:
    names, *rows = (line.split(",") for line in exported().splitlines())
    items = [{name: cell if ":" in cell else json.loads(cell) for name, cell in zip(names, row, strict=True)} for row in rows]
    return json.dumps(items)


Made = tuple[Callable[[], str], str, str, dict[str, str], str]
KINDS: list[Made] = [
    (bitflyer, "bitflyer", "BTC_JPY", {}, "bitflyer-csv trade 0"),
    (generic, "x", "BTCUSDT", {}, "csv trade 0"),
    (made_ids, "x", "BTCUSDT", {"id": "-"}, "csv  1"),
    (ccxt_list, "binance", "XRPETH", {}, "ccxt-binance-agg agg 0"),
    (binance_frames, "binance", "BTCUSDT", {}, "binance-frames trade 0"),
    (dump, "binance", "BTCUSDT", {}, "binance-trades trade 0"),
    (coinbase_frames, "coinbase", "BTC-USD", {}, "coinbase-frames trade 0"),
    (exported, "binance", "BTCUSDT", {}, "spillway-levels levels 1"),
    (exported_json, "binance", "BTCUSDT", {}, "spillway-levels levels 1"),
]


@pytest.mark.parametrize(("make", "venue", "symbol", "columns", "described"), KINDS, ids=lambda v: getattr(v, "__name__", ""))
def test_each_kind_is_recognised_by_content_and_reads_the_same_in_blocks_of_any_size_packed_or_not(
    make: Callable[[], str], venue: str, symbol: str, columns: dict[str, str], described: str, tmp_path: Path
) -> None:
    plain, packed = write(tmp_path / "tape", make()), write(tmp_path / "tape.gz", make())
    tape = open_tape(packed, Instrument(venue, symbol), columns=columns)
    assert f"{tape.kind} {tape.stream} {int(tape.named_ids)}" == described
    assert tape.total_bytes == packed.stat().st_size
    whole = read(packed, venue, symbol, columns=columns)
    assert whole.trades
    assert whole.error == ""
    assert [r.where.partition(":")[0] for r in whole.rejects] == ["tape.gz"] * len(whole.rejects)
    for rows in (1, 7, 65536):
        again = read(plain, venue, symbol, rows=rows, columns=columns)
        assert (again.trades, again.skipped) == (whole.trades, whole.skipped)
        assert [(r.where.partition(":")[2], r.raw, r.reason) for r in again.rejects] == [
            (r.where.partition(":")[2], r.raw, r.reason) for r in whole.rejects
        ]
        assert again.blocks >= len(whole.trades) / rows


def test_a_bitflyer_tape_keeps_auctions_and_refuses_rows_without_a_time(tmp_path: Path) -> None:
    found = read(write(tmp_path / "tape.csv", BITFLYER), "bitflyer", "BTC_JPY")
    assert [(t[0], t[1], t[4]) for t in found.trades] == [
        (118981535, 1_516_488_365_673_000_000, 1),
        (118981543, 1_516_488_368_017_000_000, 0),
    ]
    assert found.refused == [("tape.csv:3", "no time: it can't be placed in a minute")]
    assert found.rejects[0].raw == BITFLYER.splitlines()[2]


def test_blocks_are_no_longer_than_asked_and_tell_how_far_the_file_was_read(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path / "tape.csv.gz", generic()), Instrument("x", "BTCUSDT"))
    blocks = list(tape.blocks(100))
    assert all(isinstance(block, TapeBlock) and len(block) <= 100 for block in blocks)
    done = [block.done_bytes for block in blocks]
    assert done == sorted(done)
    assert done[-1] == tape.total_bytes


def test_a_tape_can_be_read_twice(tmp_path: Path) -> None:
    tape = open_tape(write(tmp_path / "tape.csv", made_ids()), Instrument("x", "BTCUSDT"), columns={"id": "-"})
    assert Reading().take(tape.blocks()) == Reading().take(tape.blocks())


@pytest.mark.parametrize(("make", "venue", "symbol", "columns", "_"), KINDS[1:], ids=lambda v: getattr(v, "__name__", ""))
def test_a_cut_gzip_of_any_kind_gives_all_trades_before_the_cut_and_then_says_where(
    make: Callable[[], str], venue: str, symbol: str, columns: dict[str, str], _: str, tmp_path: Path
) -> None:
    packed = gzip.compress(make().encode())
    path = tmp_path / "tape.gz"
    path.write_bytes(packed)
    whole = read(path, venue, symbol, columns=columns)
    for at in (len(packed) // 2, len(packed) - 9, len(packed) - 1):
        path.write_bytes(packed[:at])
        found = read(path, venue, symbol, columns=columns)
        assert found.error == f"{path}: truncated: the gzip data ends at byte {at} before their end mark"
        assert found.trades == whole.trades[: len(found.trades)]
        assert found.refused == whole.refused[: len(found.refused)]
    assert len(found.trades) > len(whole.trades) * 0.9


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(b"\n \n", mtime=0), "the file is empty"),
        (b"hello world", "looked for a csv with a header or of Binance's, a json list .*; saw 'hello world'"),
        (b"PK\x03\x04" + bytes(50), "a damaged or truncated zip archive"),
        (b'{"trades": []}', 'saw \'{"trades": '),
        (b"[[1,2,3]]", r"saw '\[\[1,2,3]]'"),
        (bytes(range(256)) * 9, "not a tape that is known"),
        (b"open,high,low\n1,2,3\n", "can't tell which column is time and id and price and size and side; the header has open"),
        (b"1516488365,1,0.5,2,buy\n1516488366,2,0.5,2,buy\n", "the header has 1516488365, 1, 0.5, 2, buy; say --columns time="),
        (b"time,price,size,side\n1,1,1,buy\n", "can't tell which column is id; .*id=- where the trades have none"),
        (b'[{"name": "x"}]', "a json list, but not of ccxt trades"),
    ],
)
def test_what_is_no_tape_is_refused_in_one_line_with_its_name_and_what_was_seen(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.tape"
    path.write_bytes(content)
    with pytest.raises(TapeError, match=says) as refused:
        open_tape(path, Instrument("x", "BTCUSDT"))
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_columns_can_be_given_for_a_csv_only(tmp_path: Path) -> None:
    text = "when;what;how_much;way;nr\n1516488365673;1.5;2;sell;7\n"
    columns = {"time": "when", "price": "what", "size": "how_much", "side": "way", "id": "nr"}
    assert read(write(tmp_path / "a.csv", text), columns=columns).trades[0][:2] == (7, 1_516_488_365_673_000_000)
    with pytest.raises(TapeError, match="--columns is for csv; this tape is binance-frames"):
        open_tape(write(tmp_path / "frames", binance_frames()), Instrument("binance", "BTCUSDT"), columns=columns)


def several(symbols: str) -> str:
    rows = (f"{1516488365673 + n},{n},{symbol},1,1,buy\n" for n, symbol in enumerate(symbols))
    return "time,id,symbol,price,size,side\n" + "".join(rows)


def test_of_a_tape_with_several_symbols_only_ours_is_read_however_late_it_comes(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", several("ABBA")), symbol="A")
    assert ([t[0] for t in found.trades], found.skipped) == ([0, 3], 2)
    late = read(write(tmp_path / "b.csv", several("B" * 20_000 + "A")), symbol="A")
    assert ([t[0] for t in late.trades], late.skipped) == ([20_000], 20_000)
    with pytest.raises(TapeError, match=r"c\.csv: it has trades of A, B, but none of BTCUSDT"):
        open_tape(write(tmp_path / "c.csv", several("AB")), Instrument("x", "BTCUSDT"))


def test_a_tape_of_one_symbol_is_taken_whole_by_whatever_name(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "a.csv", several("AAA")), symbol="BTCUSDT").trades) == 3
    items = json.dumps([ccxt.plain(n) for n in range(1, 4)])
    assert len(read(write(tmp_path / "b.json", items), symbol="whatever").trades) == 3


def test_frames_without_the_symbol_are_refused_with_what_they_have(tmp_path: Path) -> None:
    path = write(tmp_path / "frames.gz", binance_frames())
    with pytest.raises(TapeError, match="looked for Binance trade or aggTrade frames of ETHUSDT; saw trades of BTCUSDT"):
        open_tape(path, Instrument("binance", "ETHUSDT"))
    other = write(tmp_path / "other", '1639350329.2: {"jsonrpc":"2.0","method":"channelMessage"}\n')
    with pytest.raises(TapeError, match="looked for bitflyer frames with trades of BTC_JPY; saw no trades at all"):
        open_tape(other, Instrument("bitflyer", "BTC_JPY"))


def test_a_quiet_recording_of_the_symbol_is_a_tape_without_trades(tmp_path: Path) -> None:
    found = read(write(tmp_path / "frames", frames.DEPTH + "\n"), "binance", "BTCUSDT")
    assert (found.trades, found.rejects, found.skipped) == ([], [], 1)


def test_memory_does_not_grow_with_the_tapes_length(tmp_path: Path) -> None:
    import pyarrow as pa

    def most(copies: int) -> int:
        body = generic().partition("\n")[2] * 40
        path = tmp_path / f"{copies}.csv.gz"
        path.write_bytes(gzip.compress(b"time,id,price,size,side\n", 1) + gzip.compress(body.encode(), 1) * copies)
        return max(int(pa.total_allocated_bytes()) for _ in open_tape(path, Instrument("x", "BTCUSDT")).blocks())

    short = most(2)
    assert most(16) < 2 * short


@pytest.mark.parametrize(("make", "venue", "symbol", "columns", "_"), KINDS, ids=lambda v: getattr(v, "__name__", ""))
@given(data=st.data())
def test_whatever_damage_is_done_to_a_tape_it_is_read_or_refused_and_never_more(
    make: Callable[[], str], venue: str, symbol: str, columns: dict[str, str], _: str, data: st.DataObject, tmp_path: Path
) -> None:
    content = bytearray(make().encode()[:20_000])
    for _change in range(data.draw(st.integers(1, 8))):
        at, length = data.draw(st.integers(0, len(content))), data.draw(st.sampled_from([0, 1, 1, 3, 500]))
        content[at : at + length] = data.draw(st.sampled_from(DAMAGE) | st.binary(max_size=4))
    path = tmp_path / "tape"
    path.write_bytes(content)
    with suppress(TapeError):
        found = read(path, venue, symbol, columns=columns)
        assert all(len(r.raw) <= 4096 and r.where.startswith("tape:") and "\n" not in r.reason for r in found.rejects)
