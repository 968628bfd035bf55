"""Tables as files: exact in each form, safe in a spreadsheet, there whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadValue, Missing, StorageError
from sinks.ledger.exports import export_table
from sinks.ledger.ledger import Ledger, open_ledger
from sinks.ledger.plain_rows import BY_NAME
from tests.sinks.ledger.filled import NAUGHTY, day, deposit, fill, strategy


@pytest.fixture
def filled(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def lite() -> Iterator[Ledger]:
    with open_ledger("memory://") as opened:
        fill(opened)
        yield opened


def test_each_table_goes_to_each_form_with_all_rows(filled: Ledger, tmp_path: Path) -> None:
    for name in BY_NAME:
        rows = [export_table(filled._database, name, tmp_path / f"{name}{form}") for form in (".csv", ".json", ".parquet")]
        assert rows[0] == rows[1] == rows[2]
        with open(tmp_path / f"{name}.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == rows[0]
        assert len(json.loads((tmp_path / f"{name}.json").read_text())) == rows[0]
        assert pq.read_table(tmp_path / f"{name}.parquet").num_rows == rows[0]


def test_amounts_are_exact_in_each_form(filled: Ledger, tmp_path: Path) -> None:
    wanted = sorted(["0.1", "0.1", *["0.000000000000000001"] * 3, "1000000000000"])
    assert filled.transactions.export_to_csv("acc_001", tmp_path / "t.csv") == 6
    with open(tmp_path / "t.csv", newline="") as file:
        assert sorted(row["amount"] for row in csv.DictReader(file)) == wanted
    assert filled.transactions.export_to_json("acc_001", str(tmp_path / "t.json")) == 6
    told = json.loads((tmp_path / "t.json").read_text())
    assert sorted(row["amount"] for row in told) == wanted
    assert [row["occurred_at"] for row in told] == sorted(row["occurred_at"] for row in told)
    export_table(filled._database, "transactions", tmp_path / "t.parquet")
    column = pq.read_table(tmp_path / "t.parquet")["amount"]
    assert column.type == pa.decimal128(38, 18)
    assert sum(column.to_pylist()) == sum(map(Decimal, wanted))


def test_a_number_too_large_for_usual_decimals_makes_them_wider(tmp_path: Path) -> None:
    largest = "9" * 38
    with open_ledger("memory://") as ledger:
        fill(ledger)
        ledger.transactions.post(deposit(largest, "EUR"), "acc_001")
        export_table(ledger._database, "transactions", tmp_path / "t.parquet")
    column = pq.read_table(tmp_path / "t.parquet")["amount"]
    assert column.type == pa.decimal256(76, 18)
    assert Decimal(largest) in column.to_pylist()


def test_no_text_in_csv_is_a_formula_and_numbers_below_zero_stay_numbers(lite: Ledger, tmp_path: Path) -> None:
    export_table(lite._database, "accounts", tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["active"]) == (f"'{NAUGHTY}", "true")
    lite.performance.save(day(date(2024, 10, 24), pnl_daily="-1234567890123.000000000000000001"))
    assert lite.performance.export_to_csv("acc_001", tmp_path / "p.csv") == 2
    frame = pd.read_csv(tmp_path / "p.csv", dtype={"pnl_daily": str})
    assert list(frame["pnl_daily"]) == ["-0.1", "-1234567890123.000000000000000001"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
def test_each_beginning_of_a_formula_is_made_safe(tmp_path: Path, start: str) -> None:
    with open_ledger("memory://") as ledger:
        fill(ledger, transactions=0)
        with ledger._database.writing() as connection:
            connection.exec_driver_sql("UPDATE accounts SET name = ?", (f'{start}1+"1",2\n',))
        export_table(ledger._database, "accounts", tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        assert next(csv.DictReader(file))["name"] == f'\'{start}1+"1",2\n'


def test_documents_stay_documents_in_json(lite: Ledger, tmp_path: Path) -> None:
    export_table(lite._database, "decisions", tmp_path / "d.json")
    (row,) = json.loads((tmp_path / "d.json").read_text())
    assert row["document"]["why"] == [1.1, None]
    export_table(lite._database, "strategies", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())[0]["parameters"] == strategy().parameters


def test_of_nothing_there_is_a_file_with_nothing(tmp_path: Path) -> None:
    with open_ledger("memory://") as ledger:
        for form in ("csv", "json", "parquet"):
            assert export_table(ledger._database, "orders", tmp_path / f"o.{form}") == 0
    assert (tmp_path / "o.csv").read_text().startswith("order_id,symbol,side")
    assert json.loads((tmp_path / "o.json").read_text()) == []
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0


def test_what_cannot_be_exported_is_named_and_an_old_file_stays(lite: Ledger, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("old")
    with pytest.raises(BadValue, match=r"t\.xls: expected a name that ends in \.csv, \.json, \.parquet"):
        export_table(lite._database, "orders", tmp_path / "t.xls")
    with pytest.raises(BadValue, match="table 'nothing; DROP': expected one of"):
        export_table(lite._database, "nothing; DROP", tmp_path / "t.csv")
    with pytest.raises(Missing, match="'nobody'"):
        lite.transactions.export_to_csv("nobody", tmp_path / "t.csv")
    with pytest.raises(Missing, match="'nobody'"):
        lite.performance.export_to_csv("nobody", tmp_path / "t.csv")

    def fail(rows: int) -> None:
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="gone"):
        export_table(lite._database, "transactions", tmp_path / "t.csv", told=fail)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "old"
