"""A minute's canonical bytes: one minute, one spelling; and nothing but what was written is read."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import codec
from pipeline.errors import DamagedMinute
from pipeline.instrument import Instrument
from pipeline.minute import VWAP_EXTRA_DECIMALS, Minute, Status
from tests.pipeline.builders import START, minute
from tests.pipeline.reference import EXACT, as_expected, vwap

SYMBOLS = st.text(min_size=1, max_size=20).filter(lambda s: s.isprintable() and s.strip() == s)
RANGES = st.lists(st.tuples(st.integers(0, 10**19), st.integers(0, 10**19)), max_size=3).map(tuple)


@st.composite
def minutes(draw: st.DrawFn) -> Minute:
    """Any minute that trades can make, grouped prices and numbers beyond 64 bits among them."""
    price_scale, size_scale = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    prices = st.one_of(st.integers(1, 400), st.integers(1, 10**25), st.integers(1, 40).map(lambda n: n * 1000))
    sizes = st.one_of(st.integers(1, 50), st.integers(1, 10**25), st.integers(1, 9).map(lambda n: n * 10**4))
    row = st.tuples(prices, sizes, st.integers(-1, 1), st.integers(1, 5))
    trades = draw(st.lists(row, min_size=1, max_size=8))
    group = draw(st.sampled_from([0, 0, 1, 10, 300]))
    levels: dict[int, list[int]] = {}
    for price, size, side, count in trades:
        level = levels.setdefault(price - price % group if group else price, [0, 0, 0, 0])
        level[0] += size if side > 0 else 0
        level[1] += size if side < 0 else 0
        level[2] += size
        level[3] += count
    traded = [price for price, *_ in trades]
    ids = st.one_of(st.integers(0, 2**63 - 1), st.text(max_size=12))
    return Minute(
        Instrument("binance-usdm", draw(SYMBOLS)),
        draw(st.integers(START, START + 10**6)),
        price_scale,
        size_scale,
        {price: (b, s, t, n) for price, (b, s, t, n) in levels.items()},
        traded[0],
        max(traded),
        min(traded),
        traded[-1],
        sum(price * size for price, size, _, _ in trades),
        draw(ids),
        draw(ids),
        draw(st.integers(0, 2**62)),
        draw(st.integers(0, 2**62)),
        draw(RANGES),
        draw(RANGES),
        draw(st.sampled_from(Status)),
        len(trades),
        draw(st.integers(1, 9)),
    )


def held_wider(bucket: Minute, price: int, size: int) -> Minute:
    """The same minute, held at wider scales."""
    p, s = 10**price, 10**size
    return replace(
        bucket,
        price_scale=bucket.price_scale + price,
        size_scale=bucket.size_scale + size,
        levels={k * p: (b * s, a * s, t * s, n) for k, (b, a, t, n) in bucket.levels.items()},
        **{name: getattr(bucket, name) * p for name in ("open", "high", "low", "close")},
        notional=bucket.notional * p * s,
    )


# --- one minute, one spelling -------------------------------------------------------------------------------------------


@given(minutes())
@example(minute({10: (5, 5, 10, 2)}, price_scale=1, size_scale=2, open=11, low=11, high=12, close=12, notional=115)).via(
    "a group whose sizes add up to fewer decimals than the notional needs"
)
def test_what_is_read_back_is_the_same_minute_and_has_the_same_bytes(bucket: Minute) -> None:
    data = codec.encode(bucket)
    again = codec.decode(data, "a test")
    assert codec.encode(again) == data
    assert as_expected(again) == as_expected(bucket)
    for name in ("instrument", "start", "id_ranges", "missing", "status", "revision", "expected"):
        assert getattr(again, name) == getattr(bucket, name), name


@given(minutes(), st.integers(0, 9), st.integers(0, 9))
def test_the_bytes_do_not_depend_on_the_scales_a_minute_is_held_at(bucket: Minute, price: int, size: int) -> None:
    assert codec.encode(held_wider(bucket, price, size)) == codec.encode(bucket)


@given(minutes())
def test_the_bytes_do_not_depend_on_the_order_of_the_levels(bucket: Minute) -> None:
    assert codec.encode(replace(bucket, levels=dict(reversed(list(bucket.levels.items()))))) == codec.encode(bucket)


@given(minutes())
def test_any_json_reader_finds_the_exact_numbers(bucket: Minute) -> None:
    document = json.loads(codec.encode(bucket), parse_float=EXACT.create_decimal)
    want = as_expected(bucket)
    assert list(document)[:2] == ["timestamp", "price_levels"]
    assert [Decimal(k) for k in document["price_levels"]] == sorted(want.levels)
    for key, level in document["price_levels"].items():
        buy, sell, total, count = want.levels[Decimal(key).normalize(EXACT)]
        assert list(level.values()) == [Decimal(key), buy, sell, total, EXACT.subtract(buy, sell), count]
    for name in ("open", "high", "low", "close", "notional"):
        assert document[name] == getattr(want, name), name
    buy, sell, total = (Decimal(sum(row[i] for row in bucket.levels.values())).scaleb(-bucket.size_scale) for i in range(3))
    assert [document[n] for n in ("buy_volume", "sell_volume", "total_volume")] == [buy, sell, total]
    assert document["delta"] == EXACT.subtract(buy, sell)
    assert document["trade_count"] == sum(row[3] for row in bucket.levels.values())
    assert (document["venue"], document["symbol"]) == ("binance-usdm", bucket.instrument.symbol)
    assert (document["first_trade_id"], document["last_trade_id"]) == (want.first_id, want.last_id)


@given(minutes())
def test_the_vwap_is_the_only_rounded_number_and_has_four_decimals_more_than_the_price(bucket: Minute) -> None:
    document = json.loads(codec.encode(bucket), parse_float=EXACT.create_decimal)
    volume = EXACT.create_decimal(document["total_volume"])
    assert document["vwap"] == vwap(document["notional"], volume, document["price_scale"] + VWAP_EXTRA_DECIMALS)


@given(minutes())
def test_the_scales_in_the_file_are_the_smallest_that_hold_it(bucket: Minute) -> None:
    head = codec.split(codec.encode(bucket), "a test").head
    again = codec.decode(codec.encode(bucket), "a test")
    assert (again.price_scale, again.size_scale) == (head.price_scale, head.size_scale)
    sizes = [v for row in again.levels.values() for v in row[:3]]
    assert not head.size_scale or any(v % 10 for v in sizes)
    numbers = [*again.levels, again.open, again.high, again.low, again.close]
    assert not head.price_scale or any(v % 10 for v in numbers) or again.notional % 10


def test_the_file_has_the_spelling_that_the_formats_page_shows() -> None:
    bucket = minute({60000: (15, 8, 23, 15)}, price_scale=0, size_scale=1)
    text = codec.encode(bucket).decode()
    lines = text.split("\n")
    assert lines[0] == '{"timestamp":"2023-11-15T00:00:00.000000","price_levels":{'
    assert lines[1] == (
        '"60000.0":{"price_level":\t60000.0\t,"buy_volume":\t1.5\t,"sell_volume":\t0.8\t,"total_volume":\t2.3\t,'
        '"delta":\t0.7\t,"trade_count":\t15\t}'
    )
    assert lines[2].startswith('},"venue":"binance","symbol":"BTCUSDT","open":60000.0,')
    body, _, checksum = text.partition(',"checksum":"')
    assert checksum == hashlib.sha256(body.encode()).hexdigest() + '"}\n'


# --- nothing but what was written ---------------------------------------------------------------------------------------


def refused_or_equal(data: bytes, wanted: Minute) -> bool:
    """Whether damaged bytes are refused with an error that names them, or give the identical minute."""
    try:
        return codec.decode(data, "the file") == wanted
    except DamagedMinute as error:
        return str(error).startswith("the file: ") and "\n" not in str(error)


def test_every_flipped_bit_is_refused_or_gives_the_identical_minute() -> None:
    data = codec.encode(minute())
    wanted = codec.decode(data, "a test")
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            assert refused_or_equal(bytes(damaged), wanted), f"byte {at}, bit {bit}"


def test_every_cut_is_refused_and_so_is_what_follows_the_end() -> None:
    data = codec.encode(minute())
    for damaged in [data[:end] for end in range(len(data))] + [data + b"\n", data + data, data[1:], b"\n" + data]:
        with pytest.raises(DamagedMinute, match="the file"):
            codec.decode(damaged, "the file")


@given(st.binary(max_size=300))
def test_bytes_that_were_never_a_minute_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedMinute, match="the file"):
        codec.decode(data, "the file")


def resealed(text: str) -> bytes:
    """A forged or foreign file, with the right checksum."""
    body = text.partition(',"checksum"')[0].encode()
    return body + b',"checksum":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"format":1', '"format":2', "format 2: this version reads format 1"),
        ('"status":"complete"', '"status":"perfect"', "perfect"),
        ('"revision":1', '"revision":0', "revision 0"),
        ('"revision":1', '"revision":"x"', "revision"),
        ('"symbol":"BTCUSDT"', '"symbol":""', "symbol"),
        ('"timestamp":"2023-11-15T00:00:00', '"timestamp":"2023-11-15T00:00:07', "whole minute"),
        ('"timestamp":"2023-11-15', '"timestamp":"yesterday', "yesterday"),
        ('"high":100.1', '"high":99.1', "contradict"),
        ('"open":100.0', '"open":100.00000001', "decimals"),
        ("\t100.0\t", "\t100.00000001\t", "decimals"),
        ("\t1.5\t", "\tx\t", "invalid literal"),
        ("\t", " ", "list index"),
        ('"seen":17,', "", "seen"),
    ],
)
def test_a_foreign_file_with_a_right_checksum_is_still_refused_by_name(old: str, new: str, reason: str) -> None:
    text = codec.encode(minute()).decode()
    assert old in text
    with pytest.raises(DamagedMinute, match=f"the file: .*{reason}"):
        codec.decode(resealed(text.replace(old, new)), "the file")


def test_a_wrong_checksum_is_told_with_the_start_of_both() -> None:
    data = codec.encode(minute()).replace(b"100.0", b"900.0")
    with pytest.raises(DamagedMinute, match=r"the file: damaged: its checksum says [0-9a-f]{12}\.\.\., its bytes give"):
        codec.split(data, "the file")


# --- in Redis -----------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_a_compressed_minute_is_refused_or_gives_the_same_bytes() -> None:
    data = codec.encode(minute({1000 + i: (i, 2 * i, 4 * i + 1, i + 1) for i in range(40)}))
    value = codec.compress(data)
    for at in range(len(value)):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            damaged = bytearray(value)
            damaged[at] ^= flip
            try:
                assert codec.decompress(bytes(damaged), "in Redis") == data
            except DamagedMinute as error:
                assert str(error).startswith("in Redis: ")


def test_a_compressed_minute_that_claims_to_be_huge_is_refused_before_memory_is_taken() -> None:
    header = bytes.fromhex("28b52ffd") + b"\xe0" + (1 << 40).to_bytes(8, "little")
    with pytest.raises(DamagedMinute, match="in Redis"):
        codec.decompress(header + b"\x01\x00\x00", "in Redis")


@pytest.mark.parametrize("value", [b"", b"x", b"not zstd at all"])
def test_what_was_never_compressed_is_refused(value: bytes) -> None:
    with pytest.raises(DamagedMinute, match="in Redis"):
        codec.decompress(value, "in Redis")


def test_threads_compress_and_decompress_at_once_without_harm() -> None:
    minutes_bytes = [codec.encode(minute({n * 1000 + i: (i, i, 2 * i + 1, 1) for i in range(200)})) for n in range(1, 9)]
    wrong: list[int] = []
    together = threading.Barrier(8)

    def work(n: int) -> None:
        together.wait()
        for _ in range(50):
            if codec.decompress(codec.compress(minutes_bytes[n]), "a thread") != minutes_bytes[n]:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_remembering_number_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "TEXTS_KEPT", 10)
    buckets = [minute({1000 + n * 50 + i: (i, i, 2 * i + 1, 1) for i in range(50)}, start=START + n) for n in range(5)]
    assert [codec.decode(codec.encode(b), "a test").levels for b in buckets] == [
        codec.decode(codec.encode(held_wider(b, 1, 1)), "a test").levels for b in buckets
    ]


@pytest.mark.parametrize("stamp", ["2023-11-15T00:00:01.000000", "2023-11-15T00:00:00.000001", "tomorrow", ""])
def test_a_stamp_that_is_no_minute_is_refused(stamp: str) -> None:
    with pytest.raises(ValueError, match=r"minute|isoformat"):
        codec.minute_from_stamp(stamp)
