"""One instrument's footprint as the terminal shows it, by the text."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipeline.minute import Minute, Status
from spillway.watch.facts import Building
from spillway.watch.footprint_view import columns_for, footprint_view, ladder
from tests.pipeline.builders import BTC, START, minute
from tests.spillway.watch.seen import LIVE, board, coloured, lines

BEFORE = minute({601_230: (150, 80, 230, 15), 601_234: (0, 500, 700, 2)}, start=START - 1, status=Status.DEGRADED)
NOW = minute({601_233: (300, 100, 400, 3), 601_234: (10, 10, 20, 2), 601_241: (0, 1_250_000, 1_250_000, 1)})


def building(*minutes: Minute, current: int = START) -> Building:
    return Building(board(LIVE), BTC, current, minutes, frozenset({START}))


def test_each_minute_has_a_column_and_each_price_a_row() -> None:
    assert lines(footprint_view(building(BEFORE, NOW), 80, None, Decimal("0.1")), 80) == [
        "binance BTCUSDT  2023-11-15 00:00:30 UTC  Redis redis://ho…: 31.5 MB of 2.0 GB",
        "60,123.40   delta -12.35   trades/s 83.2   lag 0.2 s   today 100 %   gaps 0",
        "2,880 min, 31.2 MB in Redis; written by process 12 on host",
        "rows of 0.1; sold x bought; ● most traded; > last price",
        "",
        "                  23:58              23:59              00:00 now",
        " 60,124.1                                         12.5k x 0      ●",
        " 60,124.0",
        " 60,123.9",
        " 60,123.8",
        " 60,123.7",
        " 60,123.6",
        " 60,123.5",
        ">60,123.4                          5 x 0      ●     0.1 x 0.1",
        " 60,123.3                                             1 x 3",
        " 60,123.2",
        " 60,123.1",
        " 60,123.0                        0.8 x 1.5",
        " delta                                -4.3             -12.5k",
        " volume                                9.3              12.5k",
        "               not here           degraded           building",
    ]


def test_rows_are_as_high_as_the_terminal_needs() -> None:
    text = lines(footprint_view(building(BEFORE, NOW), 80, 14, None), 80)
    assert len(text) <= 14
    assert text[3].startswith("rows of 0.5;")
    assert [line[1:9].strip() for line in text if "x" in line and ";" not in line] == ["60,124.0", "60,123.0"]


def test_higher_rows_than_the_terminal_stay_around_the_last_price() -> None:
    found = ladder([BEFORE, NOW], Decimal("60123.4"), 5, Decimal("0.1"))
    assert [found.price_text(row) for row in found.rows] == ["60,123.2", "60,123.3", "60,123.4", "60,123.5", "60,123.6"]


@given(st.dictionaries(st.integers(1, 10**7), st.tuples(*[st.integers(0, 10**6)] * 2), min_size=1), st.integers(3, 60))
def test_no_volume_is_lost_or_rounded_by_the_rows(levels: dict[int, tuple[int, int]], most: int) -> None:
    made = minute({price: (buy, sell, buy + sell, 1) for price, (buy, sell) in levels.items()})
    found = ladder([made], Decimal(min(levels)) / 10, most, None)
    assert len(found.rows) <= most
    assert set(found.cells[START]) <= set(found.rows)  # the rows were chosen so that all fit
    sums = found.cells[START].values()
    assert sum(buy for buy, _, _ in sums) == Decimal(sum(buy for buy, _ in levels.values())) / 100
    assert sum(total for _, _, total in sums) == Decimal(sum(map(sum, levels.values()))) / 100


def test_cells_are_coloured_by_delta_and_strongly_where_one_side_rules() -> None:
    text = coloured(footprint_view(building(BEFORE, NOW), 80, None, Decimal("0.1")), 80)
    assert "\x1b[1;31m  12.5k x 0      \x1b[0m\x1b[1;33m●" in text
    assert "\x1b[32m      1 x 3\x1b[0m" in text
    assert "\x1b[2m    0.1 x 0.1\x1b[0m" in text


def test_what_is_not_there_yet_is_said() -> None:
    nothing = Building(board(), BTC)
    assert lines(footprint_view(nothing, 80, 24, None), 80)[-1] == "nothing of binance BTCUSDT is in this Redis yet"


def test_as_many_minutes_as_there_is_room_for() -> None:
    assert [columns_for(width) for width in (40, 80, 120, 1000)] == [1, 3, 5, 12]


def test_machines_get_levels_as_exact_texts() -> None:
    found = building(NOW).as_dict()["minutes"]
    assert found[0]["minute"] == "2023-11-15 00:00"
    assert found[0]["open"] is True
    assert found[0]["levels"][0] == {
        "price_level": "60123.3", "buy_volume": "3.0", "sell_volume": "1.0", "total_volume": "4.0", "trade_count": 3,
    }  # fmt: skip
