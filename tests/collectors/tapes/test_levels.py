"""Our own export of levels as a tape, in each of its formats."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes.tape import open_tape
from pipeline.errors import TapeError
from pipeline.instrument import Instrument
from tests.collectors.tapes.checks import Reading, read, write

START = 28_333_333  # a minute
NS_PER_MINUTE = 60 * 10**9
NAMES = ["timestamp", "price_level", "buy_volume", "sell_volume", "total_volume", "delta", "trade_count"]
BTC = Instrument("binance", "BTCUSDT")

Level = tuple[int, Decimal, Decimal, Decimal, Decimal, int]  # minute, price, buy, sell, none, trades


def frame(levels: Sequence[Level]) -> pd.DataFrame:
    """Levels as `spillway.open().levels()` gives them, which is what `export` writes."""
    rows = [
        (
            pd.Timestamp((START + minute) * 60, unit="s", tz="UTC"),
            *(float(x) for x in (price, buy, sell, buy + sell + rest, buy - sell)),
            count,
        )
        for minute, price, buy, sell, rest, count in levels
    ]
    return pd.DataFrame(rows, columns=NAMES).astype({"timestamp": "datetime64[us, UTC]", "trade_count": "int64"})


def as_csv(path: Path, table: pd.DataFrame) -> Path:
    return write(path, table.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))


def as_json(path: Path, table: pd.DataFrame) -> Path:
    return write(path, table.to_json(orient="records", date_format="iso", date_unit="s", double_precision=15) + "\n")


def as_parquet(path: Path, table: pd.DataFrame) -> Path:
    packed = io.BytesIO()
    table.to_parquet(packed, index=False, compression="zstd")
    return write(path, packed.getvalue())


FORMATS = [as_csv, as_json, as_parquet]


def sums(found: Reading) -> dict[tuple[int, Decimal], list[Decimal | int]]:
    """By minute and price: bought, sold, with no aggressor, and how many trades."""
    levels: dict[tuple[int, Decimal], list[Decimal | int]] = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0), 0])
    for _, ns, price, size, side, count in found.trades:
        level = levels[ns // NS_PER_MINUTE - START, price]
        level[{1: 0, -1: 1, 0: 2}[side]] += size
        level[3] += count
    return dict(levels)


volumes = st.decimals(0, 10**6, places=8, allow_nan=False)
levels = st.lists(
    st.tuples(st.integers(0, 3), st.decimals("0.01", 10**6, places=2), volumes, volumes, volumes, st.integers(3, 10**6)).filter(
        lambda level: level[2] + level[3] + level[4] > 0
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda level: level[:2],
).map(sorted)


@pytest.mark.parametrize("save", FORMATS)
@given(found=levels, rows=st.sampled_from([1, 5, 65536]))
def test_what_was_bought_and_sold_at_each_minute_and_price_comes_back_exactly(
    save: Callable[[Path, pd.DataFrame], Path],
    found: list[Level],
    rows: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = save(tmp_path_factory.mktemp("export") / "levels", frame(found))
    tape = open_tape(path, BTC)
    assert (tape.kind, tape.stream, tape.named_ids) == ("spillway-levels", "levels", True)
    assert "open and close" in tape.note
    again = read(path, "binance", rows=rows)
    assert (again.refused, again.error) == ([], "")
    assert sums(again) == {(minute, price): [buy, sell, rest, n] for minute, price, buy, sell, rest, n in found}
    assert len({trade[0] for trade in again.trades}) == len(again.trades)
    times = [trade[1] for trade in again.trades]
    assert times == sorted(set(times))  # no two the same: they must not be taken for one
    assert again.trades == read(path, "binance").trades


def test_a_minute_in_two_chunks_goes_on_counting(tmp_path: Path) -> None:
    table = frame([(n // 5000, Decimal(n + 1), Decimal(1), Decimal(2), Decimal(0), 2) for n in range(12_000)])
    for save in FORMATS:
        found = read(save(tmp_path / save.__name__, table), "binance", rows=1000)
        assert found.blocks > 1
        assert len({trade[1] for trade in found.trades}) == len(found.trades) == 24_000
        assert len(sums(found)) == 12_000


GOOD = "2024-10-23T14:30:00Z,60000.5,1.5,0.5,2.0,1.0,7"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("2024-10-23T14:30:00Z,60000.5,1.5,0.5,1.9,1.0,7", "volumes that don't add up"),
        ("2024-10-23T14:30:00Z,60000.5,-1.5,0.5,2.0,1.0,7", "volumes that don't add up"),
        ("2024-10-23T14:30:00Z,60000.5,1.5,0.5,2.5,1.0,2", "fewer trades than sides that traded"),
        ("2024-10-23T14:30:00Z,60000.5,0,0,0,0,1", "no volume"),
        ("2024-10-23T14:30:00Z,60000.5,x,0.5,2.0,1.0,7", "volume 'x' is not a decimal number"),
        ("2024-10-23T14:30:00Z,60000.5,1.5,0.5,2.0,1.0,many", "trade_count 'many' can't be read"),
        ("2024-10-23T14:30:00Z,0.30000000000000004,1.5,0.5,2.0,1.0,7", "more than 15 digits: the export was not exact"),
        ("2024-10-23T14:30:00Z,,1.5,0.5,2.0,1.0,7", "price '' is not a decimal number"),
        (",60000.5,1.5,0.5,2.0,1.0,7", "no time: it can't be placed in a minute"),
        ("2024-10-23T14:30:00Z,60000.5,9e18,9e18,1,1.0,7", "volumes that don't add up"),
    ],
)
def test_a_level_that_cannot_be_is_refused_with_its_line_and_costs_no_other(bad: str, reason: str, tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", "\n".join([",".join(NAMES), GOOD, bad, GOOD.replace("60000.5", "7")]) + "\n"))
    assert found.refused == [("a.csv:3", reason)]
    assert found.rejects[0].raw == bad
    assert len(found.trades) == 4


def test_a_bad_item_of_a_json_export_is_refused_with_its_number(tmp_path: Path) -> None:
    rows = json.loads(
        as_json(tmp_path / "a", frame([(0, Decimal(n), Decimal(1), Decimal(0), Decimal(0), 1) for n in (1, 2, 3)])).read_text()
    )
    rows[1]["price_level"] = "two"
    found = read(write(tmp_path / "a.json", json.dumps(rows)))
    assert [where for where, _ in found.refused] == ["a.json:item 2"]
    assert found.refused[0][1].startswith("not a level: Expected `float`, got `str`")
    assert len(found.trades) == 2


@pytest.mark.parametrize("save", FORMATS)
def test_minutes_and_bars_are_refused_for_they_have_no_levels(
    save: Callable[[Path, pd.DataFrame], Path], tmp_path: Path
) -> None:
    bars = pd.DataFrame({name: [1.0] for name in ("timestamp", "open", "high", "low", "close", "vwap", "trade_count")})
    with pytest.raises(TapeError, match="minutes or bars don't say at which price what was traded: export --what levels"):
        open_tape(save(tmp_path / "bars", bars), BTC)


def test_columns_cannot_be_given_for_an_export(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", frame([(0, Decimal(1), Decimal(1), Decimal(0), Decimal(0), 1)]))
    with pytest.raises(TapeError, match="--columns is for csv; this tape is spillway-levels"):
        open_tape(path, BTC, columns={"id": "-"})
