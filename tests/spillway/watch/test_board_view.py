"""All instruments as the terminal shows them, by the text."""

from __future__ import annotations

from dataclasses import replace

from pipeline.instrument import Instrument
from spillway.watch.board_view import board_view, rows_for
from tests.spillway.watch.seen import BAD, LIVE, TAPE, board, coloured, lines


def test_a_wide_terminal_has_a_line_for_each() -> None:
    assert lines(board_view(board(replace(LIVE, writer="pid 12"), BAD, TAPE), 130), 130) == [
        "spillway watch  2023-11-15 00:00:30 UTC  Redis redis://host:6379/0: 31.5 MB of 2.0 GB",
        "",
        "instrument            price  delta 00:00  trades/s    lag     today                gaps  window    bytes  writer",
        "binance BTCUSDT   60,123.40       -12.35      83.2  0.2 s     100 %                   0   2,880  31.2 MB  pid 12",
        "kraken ETH/USD    3,001.125      +1.235M       0.0    1 h    99.9 %  1,200 ids, 2 times       3     1 kB  nobody",
        "bitflyer BTC_JPY          -            -         -   tape  unproven                   -       -        -  nobody",
    ]


def test_eighty_columns_have_two_lines_for_each() -> None:
    assert lines(board_view(board(LIVE, replace(BAD, open_outages=0)), 80), 80) == [
        "spillway watch  2023-11-15 00:00:30 UTC  Redis redis://hos…: 31.5 MB of 2.0 GB",
        "",
        "instrument           price  delta 00:00  trades/s    lag   today       gaps",
        "binance BTCUSDT  60,123.40       -12.35      83.2  0.2 s   100 %          0",
        "  2,880 min, 31.2 MB in Redis; written by process 12 on host",
        "kraken ETH/USD   3,001.125      +1.235M       0.0    1 h  99.9 %  1,200 ids",
        "  3 min, 1 kB in Redis; written by nobody",
    ]


def test_no_line_is_longer_than_the_terminal_however_long_the_names() -> None:
    long = replace(LIVE, instrument=Instrument("binance", "A" * 60), writer="process 12 on " + "h" * 90)
    for width in (80, 100, 120):
        assert max(map(len, lines(board_view(board(long, BAD), width), 500))) <= width


def test_what_has_no_room_is_counted() -> None:
    many = [replace(LIVE, instrument=Instrument("binance", f"S{n:03}")) for n in range(300)]
    shown = many[: rows_for(80, 24)]
    text = lines(board_view(board(*shown, total=300), 80, 24), 80)
    assert len(text) <= 24
    assert text[-1] == f"and {300 - len(shown)} more: --venue shows those of one, a higher window more"
    assert sum("binance" in line for line in text) == len(shown) == 9


def test_an_empty_redis_says_what_fills_it_and_one_never_reached_says_nothing_of_that() -> None:
    assert lines(board_view(board(), 120), 120)[-1].startswith("nothing is in this Redis yet: `spillway run`")
    unreached = board(used_bytes=None, error="it is gone; trying again")
    assert lines(board_view(unreached, 120), 120)[1:] == [
        "not up to date: it is gone; trying again",
        "",
        "is `spillway run` running?",
    ]


def test_what_is_old_is_shown_with_the_reason() -> None:
    text = lines(board_view(board(LIVE, error="Redis is gone; trying again", ledger_error="locked"), 120), 120)
    assert text[1:3] == ["not up to date: Redis is gone; trying again", "the ledger can't be read: locked"]
    assert text[-1].startswith("binance BTCUSDT  60,123.40")


def test_colours_tell_good_from_bad() -> None:
    good, bad = coloured(board_view(board(LIVE), 120), 120), coloured(board_view(board(BAD), 120), 120)
    assert "\x1b[31m     -12.35\x1b[0m" in good and "\x1b[32m0.2 s\x1b[0m" in good and "\x1b[32m100 %\x1b[0m" in good
    assert "\x1b[31m1 h\x1b[0m" in bad and "\x1b[33mnobody\x1b[0m" in bad and "\x1b[31m1,200 ids" in bad


def test_machines_get_exact_texts() -> None:
    found = board(LIVE).as_dict()["instruments"][0]
    assert (found["venue"], found["symbol"], found["price"], found["delta"]) == (
        "binance",
        "BTCUSDT",
        "60123.40000000",
        "-12.345",
    )
    assert (found["minute"], found["coverage"]["whole"], found["sealed_bytes"]) == ("2023-11-15 00:00", 1440, 31_200_000)
