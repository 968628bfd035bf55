"""`spillway ledger ...` as a user meets it."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import spillway as api
from pipeline.trading.money import Money
from sinks.ledger import database as frame
from sinks.ledger.backup_file import opened
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.ledger import open_ledger
from sinks.ledger.migrate import migrations, newest
from tests.sinks.days import random_day, random_minute
from tests.sinks.ledger.filled import condition, decision, fill
from tests.spillway.kept import BTC, stored
from tests.spillway.test_cli import refused, spillway

COMMANDS = ("migrate", "backup", "restore", "export", "import", "check")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with open_ledger(url_of(tmp_path / "data")) as ledger:
        fill(ledger)
    return tmp_path / "data"


def url_of(data: Path) -> str:
    return f"sqlite:///{data / 'ledger.db'}"


def told(*args: str | Path) -> dict[str, Any]:
    done = spillway("ledger", *args, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_with_an_example(command: str) -> None:
    done = spillway("ledger", command, "--help")
    assert done.exit_code == 0
    assert f"Example: spillway ledger {command}" in done.stdout
    for option in ("--config", "--data", "--url", "--json"):
        assert option in done.stdout


# --- migrate ------------------------------------------------------------------------------------------------------------


def test_migrate_tells_from_which_version_to_which_and_makes_a_backup_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations("sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(frame, "migrations", lambda _: known[:2])
        frame.Database(url_of(tmp_path)).close()
    dry = told("migrate", "--dry-run", "--data", tmp_path)
    assert (dry["from"], dry["to"], dry["steps"]) == (2, newest(known), [f"{s.version:04d}_{s.name}" for s in known[2:]])
    assert told("migrate", "--dry-run", "--data", tmp_path) == dry
    done = spillway("ledger", "migrate", "--data", tmp_path)
    assert f"brought from version 2 to {newest(known)}" in done.stdout
    (saved,) = (tmp_path / "backups").glob("ledger-*.db")
    assert opened(saved).label.schema == 2
    again = spillway("ledger", "migrate", "--data", tmp_path)
    assert f"has version {newest(known)}: nothing to do" in again.stdout
    assert spillway("ledger", "restore", saved, "--data", tmp_path).exit_code == 0  # and is brought up to date again
    assert told("migrate", "--dry-run", "--data", tmp_path)["steps"] == []


def test_migrate_makes_a_ledger_and_refuses_a_newer_one(tmp_path: Path) -> None:
    assert told("migrate", "--dry-run", "--data", tmp_path)["from"] == 0
    assert not list(tmp_path.iterdir())
    assert "was made, version" in spillway("ledger", "migrate", "--data", tmp_path).stdout
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (77, 'future', 0)")
    connection.close()
    for command in ("migrate", "check"):
        assert "schema has version 77" in refused("ledger", command, "--data", tmp_path)


# --- backup and restore -------------------------------------------------------------------------------------------------


def test_a_backup_is_restored_and_what_was_there_is_saved(data: Path) -> None:
    saved = Path(told("backup", "--data", data)["backup"])
    assert saved.parent == data / "backups"
    with open_ledger(url_of(data)) as ledger:
        ledger.transactions.delete(ledger.transactions.find_all()[0].transaction_id)
    done = told("restore", saved, "--data", data)
    assert done["rows"]["transactions"] == 6
    assert opened(Path(done["saved"])).label.rows["transactions"] == 5
    assert told("check", "--data", data)["rows"] == sum(done["rows"].values())


def test_a_portable_backup_restores_a_ledger_elsewhere(data: Path, postgres_url: str, tmp_path: Path) -> None:
    made = told("backup", "--portable", "-o", tmp_path / "all.rows", "--data", data)
    assert made["kind"] == "rows"
    assert told("restore", tmp_path / "all.rows", "--url", postgres_url, "--data", data)["rows"] == made["rows"]
    with open_ledger(postgres_url) as there:
        assert there.accounts.total("BTC") == Money(10**12, "BTC")


def test_what_is_no_backup_and_no_ledger_is_said_in_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear ledger")
    before = (data / "ledger.db").read_bytes()
    assert "letter: is no backup of a ledger" in refused("ledger", "restore", tmp_path / "letter", "--data", data)
    assert "can't be read" in refused("ledger", "restore", tmp_path / "nowhere", "--data", data)
    assert (data / "ledger.db").read_bytes() == before
    for command in (["backup"], ["export", "-o", "x"], ["check"]):
        assert "there is no ledger" in refused("ledger", *command, "--data", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert "hunter2" not in refused("ledger", "check", "--url", "mysql://u:hunter2@h/d", "--data", tmp_path)


# --- export and import --------------------------------------------------------------------------------------------------


def test_a_table_or_all_of_them_go_to_files(data: Path, tmp_path: Path) -> None:
    done = told("export", "--what", "transactions", "--account", "acc_001", "-o", tmp_path / "t.csv", "--data", data)
    assert done["rows"] == {"transactions": 6}
    with open(tmp_path / "t.csv", newline="") as file:
        assert {row["currency"] for row in csv.DictReader(file)} == {"BTC", "USDT"}
    done = told("export", "-o", tmp_path / "all", "--form", "parquet", "--data", data)
    assert sorted(f"{name}.parquet" for name in done["rows"]) == sorted(p.name for p in (tmp_path / "all").iterdir())
    assert done["rows"]["performance"] == 1


def test_decisions_go_to_a_folder_and_come_back(data: Path, tmp_path: Path) -> None:
    done = spillway("ledger", "export", "--what", "decisions", "-o", tmp_path / "decisions", "--data", data)
    assert "1 rows of decisions" in done.stdout
    assert [p.name for p in (tmp_path / "decisions").iterdir()] == ["2024-10-23_d1.json"]
    assert told("import", tmp_path / "decisions", "--data", tmp_path / "other")["added"] == 1


def test_malformed_decisions_are_named_and_the_others_taken(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    folder.mkdir()
    (folder / "2024-10-23_good.json").write_text(json.dumps(decision("good")))
    (folder / "2024-10-23_bad.json").write_text("{")
    done = spillway("ledger", "import", folder, "--data", tmp_path)
    assert done.exit_code == 1
    assert "decisions: 1 added" in done.stdout
    assert done.stderr.startswith("spillway: 1 files were not taken, and lie where they were; the first: ")
    assert "2024-10-23_bad.json" in done.stderr


def test_conditions_come_from_their_json_file_once(tmp_path: Path) -> None:
    with JsonConditions(tmp_path / "conditions.json") as file:
        file.save(condition("c1"))
    assert told("import", tmp_path / "conditions.json", "--data", tmp_path)["added"] == 1
    assert told("import", f"json:///{tmp_path / 'conditions.json'}", "--data", tmp_path)["same"] == 1


def test_a_whole_ledger_comes_by_its_file_or_url_and_what_differs_stays_unless_told(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert told("import", data / "ledger.db", "--data", other)["tables"]["transactions"]["added"] == 6
    again = told("import", url_of(data), "--data", other)
    assert {moved["added"] for moved in again["tables"].values()} == {0}
    with open_ledger(url_of(other)) as ledger:
        ledger.strategies.change("s1", lambda strategy: strategy.start(strategy.created_at))
    line = refused("ledger", "import", url_of(data), "--data", other)
    assert "strategies: 1 are stored with another content (s1): they stay; --replace takes the new one" in line
    assert told("import", url_of(data), "--replace", "--data", other)["tables"]["strategies"]["replaced"] == 1


def test_what_cannot_be_exported_or_imported_is_said_in_one_line(data: Path, tmp_path: Path) -> None:
    for args, told_of in (
        (["export", "--what", "nothing", "-o", "x.csv"], "--what 'nothing': expected all, or one of accounts, "),
        (["export", "--what", "orders", "-o", tmp_path / "x.xls"], "x.xls: expected a name that ends in .csv"),
        (["export", "--what", "gaps", "--account", "a", "-o", "x.csv"], "--account a: is for balances"),
        (["import", tmp_path / "nowhere"], "nowhere: expected a folder of decisions"),
        (["import", tmp_path / "nowhere.json"], "nowhere.json: expected a file of conditions"),
        (["import", url_of(tmp_path / "none")], "there is no ledger"),
        (["import", data / "ledger.db"], "is this ledger itself"),
    ):
        assert told_of in refused("ledger", *args, "--data", data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


# --- check --------------------------------------------------------------------------------------------------------------


def test_a_whole_ledger_is_told_of_with_what_differs_in_its_books(data: Path) -> None:
    with open_ledger(url_of(data)) as ledger:
        ledger.balances.add_available("acc_001", Money("0.1", "USDT"))
    found = spillway("ledger", "check", "--data", data)
    assert found.exit_code == 0
    assert "whole; schema" in found.stdout
    assert "0.1 came or went without one" in found.stdout
    assert spillway("ledger", "check", "--strict", "--data", data).exit_code == 1


def test_a_damaged_ledger_is_told_of_and_fails(data: Path) -> None:
    with sqlite3.connect(data / "ledger.db") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM orders")
    connection.close()
    found = spillway("ledger", "check", "--data", data)
    assert found.exit_code == 1
    assert "points to nothing in orders" in found.stdout


def test_minutes_that_were_revised_since_are_told_by_decision(tmp_path: Path) -> None:
    folder = stored(tmp_path / "data", random_day(30))
    with api.open(folder) as store, open_ledger(url_of(folder)) as ledger:
        refs = store.lineage(*BTC)
        ledger.decisions.save_decision(decision("d1"), refs[:3])
        ledger.decisions.save_decision(decision("d2"), refs[5:7])
    assert "5 minutes that decisions saw: all as they were" in spillway("ledger", "check", "--data", folder).stdout
    stored(folder, [random_minute(refs[1].minute, revision=2, seed=5)], compacted=False)
    found = told("check", "--data", folder)["lineage"]
    (differing,) = found["differing"]
    assert (differing["decision_id"], differing["minute"], differing["fate"]) == ("d1", refs[1].minute, "revised")
    assert (differing["revision"], differing["now"]) == (1, 2)
    done = spillway("ledger", "check", "--strict", "--data", folder)
    assert done.exit_code == 1
    assert "is now revision 2" in done.stdout
