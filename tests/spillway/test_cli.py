"""The commands as a user meets them: help with an example, and one clear line for what can't be."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import structlog
from typer.testing import CliRunner, Result

from spillway.cli import app
from tests import judge, tapes

COMMANDS = ("demo", "run", "replay", "backfill", "spill", "compact", "retention", "verify", "status", "gaps", "export", "plot")
THAT_LOOK = ("watch", "doctor", "config", "plan")
BTC = ("--venue", "binance", "--symbol", "BTCUSDT")


def spillway(*args: str | Path, **environment: str) -> Result:
    """A command, run in this process: a process of its own for each would take a second more."""
    before = structlog.get_config()
    result = CliRunner().invoke(app, [str(a) for a in args], env=environment)
    structlog.configure(**before)  # a command's logs go to its own standard error, which is closed by now
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*args: str | Path, **environment: str) -> str:
    """Runs a command that must fail; gives the one line that it says."""
    done = spillway(*args, **environment)
    assert done.exit_code != 0, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("spillway: ")
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judge.write_tape(tmp_path_factory.mktemp("tape") / "tape.csv", tapes.rows(hours=0.5, per_minute=20))


@pytest.fixture(scope="module")
def filled(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("filled") / "data"
    assert spillway("replay", tape, *BTC, "--data", data).exit_code == 0
    return data


@pytest.mark.parametrize("command", [*COMMANDS, *THAT_LOOK])
def test_each_command_has_a_help_with_an_example(command: str) -> None:
    done = spillway(command, "--help")
    assert done.exit_code == 0
    assert f"Example: spillway {command}" in done.stdout


def test_the_help_lists_all_commands() -> None:
    listed = spillway("--help").stdout
    assert all(command in listed for command in (*COMMANDS, *THAT_LOOK))


def test_the_readme_names_each_command_and_no_other() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    named = set(re.findall(r"^    spillway (\w+)", readme, re.M)) | set(re.findall(r"^    make (demo)", readme, re.M))
    assert named == {*COMMANDS, *THAT_LOOK, "ledger"}  # which has commands of its own


def test_a_missing_tape_is_named(tmp_path: Path) -> None:
    assert "nowhere.csv" in refused("replay", tmp_path / "nowhere.csv", *BTC, "--data", tmp_path / "data")


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("yesterday", "2024-10-24", "yesterday"),
        ("2024-10-23", "2024-10-22", "2024-10-22"),
        ("2024-10-23", "2024-10-23", "2024-10-23"),
        ("2099-01-01", "2099-01-02", "2099-01-01"),
    ],
)
def test_a_range_of_history_that_can_not_be_is_told(tmp_path: Path, start: str, end: str, told: str) -> None:
    assert told in refused("backfill", *BTC, "--from", start, "--to", end, "--data", tmp_path / "data")


def test_a_venue_that_has_no_history_for_us_is_told_with_those_that_have(tmp_path: Path) -> None:
    line = refused("backfill", "--venue", "mtgox", "--symbol", "BTC", "--from", "2013-01-01", "--data", tmp_path / "data")
    assert "mtgox" in line
    assert "binance" in line


def test_an_empty_tape_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert "empty" in refused("replay", tmp_path / "empty.csv", *BTC, "--data", tmp_path / "data")


def test_a_file_that_is_no_tape_is_named_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir or Madam,\nthere is no trade in here.\n")
    line = refused("replay", tmp_path / "letter.txt", *BTC, "--data", tmp_path / "data")
    assert "letter.txt" in line


def test_what_is_refused_leaves_nothing_stored(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    refused("replay", tmp_path / "empty.csv", *BTC, "--data", tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.json"))


def test_broken_rows_go_to_the_dead_letters_with_their_line_and_reason_and_the_others_are_taken(tmp_path: Path) -> None:
    tape = tmp_path / "broken.csv"
    tape.write_text(
        "time,id,price,size,side\n"
        "1700006400000,1,100.5,2,buy\n"
        "1700006400001,2,abc,2,buy\n"
        "1700006400002,3,100.5,-2,buy\n"
        "1547306400000003,4,100.5,2,buy\n"  # the year 51001 in milliseconds
        "1700006400004,5,100.5,2\n"
        "1700006400005,6,100.5,3,sell\n"
    )
    done = spillway("replay", tape, *BTC, "--data", tmp_path / "data", "--json")
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["taken"], summary["rejected"]) == (2, 4)
    (letters,) = (tmp_path / "data" / "dead_letters").rglob("*.jsonl")
    told = [json.loads(line) for line in letters.read_text().splitlines()]
    rows = {letter["where"].rpartition(":")[2]: letter["reason"] for letter in told}
    assert set(rows) == {"3", "4", "5", "6"}
    assert "price" in rows["3"]
    assert "size" in rows["4"]
    assert "time" in rows["5"]


def test_a_truncated_gzip_keeps_what_came_before_the_cut(tmp_path: Path) -> None:
    whole = gzip.compress(judge.write_tape(tmp_path / "t.csv", tapes.rows(hours=2, per_minute=60)).read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) * 3 // 4])
    line = refused("replay", tmp_path / "cut.csv.gz", *BTC, "--data", tmp_path / "data")
    assert "cut.csv.gz" in line
    found = json.loads(spillway("status", "--data", tmp_path / "data", "--json").stdout)
    assert found["instruments"][0]["trades"] > 1000


def test_columns_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("w,x,y,z,side\n1700006400000,1,100.5,2,buy\n")
    line = refused("replay", tmp_path / "odd.csv", *BTC, "--data", tmp_path / "data")
    assert "--columns" in line
    args = ("--columns", "time=w,id=x,price=y,size=z,side=side")
    assert spillway("replay", tmp_path / "odd.csv", *BTC, *args, "--data", tmp_path / "data").exit_code == 0


def test_a_tape_without_ids_is_taken_once_however_often_it_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("time,price,size,side\n1700006400000,100.5,2,buy\n1700006400000,100.5,2,buy\n")
    replay = ("replay", tmp_path / "t.csv", *BTC, "--columns", "id=-", "--data", tmp_path / "data")
    assert "2 trades taken" in spillway(*replay).stdout
    assert "0 trades taken, 2 seen before" in spillway(*replay).stdout
    assert "--ids opaque" in refused(*replay, "--ids", "contiguous")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, tape: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused("replay", tape, *BTC, "--data", tmp_path / "file" / "data")


def test_a_redis_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    line = refused("status", "--data", tmp_path / "data", SPILLWAY_REDIS__URL=url)
    assert "127.0.0.1:1" in line
    assert "secret" not in line


def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("redis: {window_hours: soon}\n")
    line = refused("status", "-c", tmp_path / "s.yaml")
    assert "window_hours" in line
    assert "soon" in line


@pytest.mark.parametrize(("option", "value"), [("--symbol", ""), ("--venue", "../../etc"), ("--venue", "a{b}")])
def test_a_name_that_cannot_be_an_instruments_is_refused(option: str, value: str, tape: Path, tmp_path: Path) -> None:
    names = {"--venue": "binance", "--symbol": "BTCUSDT"} | {option: value}
    line = refused("replay", tape, "--venue", names["--venue"], "--symbol", names["--symbol"], "--data", tmp_path / "data")
    assert option[2:] in line


def test_a_symbol_that_looks_like_a_path_stays_in_its_folder(tape: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert spillway("replay", tape, "--venue", "binance", "--symbol", "../../etc/passwd", "--data", data).exit_code == 0
    assert spillway("spill", "--all", "--data", data).exit_code == 0
    (folder,) = (data / "storage" / "binance").iterdir()
    assert folder.name == "..%2F..%2Fetc%2Fpasswd"


def test_a_price_group_other_than_the_stored_one_is_refused(filled: Path, tape: Path) -> None:
    assert "price_group" in refused("replay", tape, *BTC, "--price-group", "10", "--data", filled)


def test_run_without_anything_to_collect_says_so(tmp_path: Path) -> None:
    assert "collect" in refused("run", "--data", tmp_path / "data")


def test_run_with_a_venue_that_is_unknown_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"data_dir: {tmp_path / 'data'}\ncollect: [{{venue: nyse, symbols: [IBM]}}]\n")
    line = refused("run", "-c", tmp_path / "s.yaml")
    assert "nyse" in line
    assert "binance" in line


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
@pytest.mark.parametrize("what", ["levels", "minutes", "bars"])
def test_export_writes_each_kind_in_each_format(what: str, ending: str, filled: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out.{ending}"
    done = spillway("export", *BTC, "--what", what, "--every", "5m", "-o", target, "--data", filled)
    assert done.exit_code == 0, done.stderr
    read: dict[str, Any] = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}
    frame = read[ending](target)
    assert len(frame) == {"levels": len(frame), "minutes": 30, "bars": 6}[what]
    assert frame["trade_count"].sum() == 600


def test_export_of_an_unknown_ending_or_instrument_says_what_there_is(filled: Path, tmp_path: Path) -> None:
    assert ".parquet" in refused("export", *BTC, "-o", tmp_path / "out.xlsx", "--data", filled)
    line = refused("export", "--venue", "binance", "--symbol", "ETHUSDT", "-o", tmp_path / "out.csv", "--data", filled)
    assert "binance BTCUSDT" in line
    assert not list(tmp_path.iterdir())


def test_export_of_a_time_that_is_none_says_how_to_write_one(filled: Path, tmp_path: Path) -> None:
    line = refused("export", *BTC, "--from", "yesterday", "-o", tmp_path / "out.csv", "--data", filled)
    assert "yesterday" in line
    assert "2024-10-23" in line


def test_status_tells_where_the_minutes_are(filled: Path) -> None:
    text = spillway("status", "--data", filled).stdout
    assert "binance BTCUSDT" in text
    assert "600 trades" in text
    (found,) = json.loads(spillway("status", "--data", filled, "--json").stdout)["instruments"]
    assert found["window"]["sealed"] + len(found["window"]["open"]) == 30


def test_status_tells_the_room_on_the_disks_what_could_not_be_taken_and_the_newest_backup(filled: Path) -> None:
    for step in ("migrate", "backup"):
        assert spillway("ledger", step, "--data", filled).exit_code == 0
    letters = filled / "dead_letters" / "binance" / "live_2024-10-23.jsonl"
    letters.parent.mkdir(parents=True)
    letters.write_text('{"reason":"a"}\n{"reason":"b"}\n')
    told = json.loads(spillway("status", "--data", filled, "--json").stdout)
    assert sum(told["instruments"][0]["window"][name] > 0 for name in ("sealed", "bytes")) == 2
    assert told["dead_letters"] == 2
    folders = {name for disk in told["disks"] for name in disk["folders"]}
    assert folders == {"archive", "backups", "data", "redis", "storage"}
    text = spillway("status", "--data", filled).stdout
    assert "2 rows and frames couldn't be taken" in text and f"backup is of {told['ledger_backup']}" in text
    assert "GB are free" in text and "MB of Redis" in text


def test_status_of_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    assert "spillway replay" in spillway("status", "--data", tmp_path / "data").stdout
