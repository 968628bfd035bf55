from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectors.tapes.tape import open_tape
from pipeline.errors import TapeError
from pipeline.instrument import Instrument
from tests.collectors.tapes.checks import read
from tests.collectors.tapes.test_levels import as_parquet, frame

BTC = Instrument("binance", "BTCUSDT")


def table(rows: int) -> pd.DataFrame:
    return frame([(0, Decimal(n + 1), Decimal("0.1"), Decimal("0.2"), Decimal(0), 2) for n in range(rows)])


def test_progress_reaches_the_files_size(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "a", table(3000))
    done = [block.done_bytes for block in open_tape(path, BTC).blocks(1000)]
    assert done == sorted(done)
    assert done[-1] == path.stat().st_size


def test_a_bad_row_is_refused_with_its_number_and_its_cells(tmp_path: Path) -> None:
    bad = table(3000)
    bad.loc[2345, "buy_volume"] = float("nan")
    bad.loc[2346, "sell_volume"] = 10.0
    found = read(as_parquet(tmp_path / "a", bad), rows=1000)
    assert [(where, why.partition(" is")[0]) for where, why in found.refused] == [
        ("a:row 2346", "volume ''"),
        ("a:row 2347", "volumes that don't add up"),
    ]
    assert "2347.0,0.1,10.0" in found.rejects[1].raw
    assert len(found.trades) == 2 * 2998


def test_other_parquet_is_refused_with_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "price": [2.0]}), tmp_path / "a.parquet")
    with pytest.raises(TapeError, match="Parquet, but no export of levels: its columns are id, price"):
        open_tape(tmp_path / "a.parquet", BTC)


def test_damaged_parquet_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "a.parquet", table(3000))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(TapeError, match=r"a\.parquet: damaged Parquet"):
        open_tape(path, BTC)
    path.write_bytes(whole[:200] + b"\xff" * 2000 + whole[2200:])
    assert "a.parquet: damaged Parquet" in read(path).error
