"""Symbols, venues and file names that would lead out of a folder, into another key, onto another line or into a formula."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner, Result

from pipeline.instrument import Instrument
from sinks.ledger.ledger import open_ledger
from spillway.cli import app
from spillway.redis_server import ensure_embedded
from tests.processes import succeed

SYMBOLS = [
    "../../etc/passwd", "/etc/passwd", "..", ".", "C:\\x", "{x}", "a}:cursor", "*", "a b", "%2e%2e%2f", "=1+1", "-BTC", "@x",
    "$(id)", "`id`", "'; DROP TABLE gaps; --", "<script>x</script>", "[bold]", "{{x}}", "ü/€",
]  # fmt: skip
UNPRINTABLE = ["a\nb", "a\rb", "a\tb", "\x1b[2Jx", "a\x00b", "\u202ex", "", " ", "x" * 65]
VENUES = ["../x", "a/b", "a b", "{x}", "a\nb", "..", "", "ü", "a:b", "%2e"]
TAPES = ["a\nb.csv", "\x1b[31mred.csv", "=1+1.csv", "{x}.csv", "-c.csv", "$(id).csv", "\u202ecsv.csv", "a b.csv", "..csv.csv"]


def spillway(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args])


def tape(path: Path, bad: bool = True) -> Path:
    rows = "".join(f"{n},{1_700_000_000 + 30 * n}000,100,1,buy\n" for n in range(10))
    path.write_text(f"id,time,price,size,side\n{rows}{'x,y,z,v,w' * bad}\n")
    return path


def exported(data: Path, symbol: str) -> list[str]:
    out = data.parent / "out.csv"
    where = ("-o", out, "--data", data)
    succeed("export", "--venue=kraken", f"--symbol={symbol}", "--what", "minutes", *where)
    cells = [cell for row in csv.reader(out.read_text().splitlines()[1:]) for cell in row]
    out.unlink()
    return cells


def outside(root: Path, data: Path) -> set[Path]:
    """What lies beside the data."""
    return {path for path in root.rglob("*") if data not in (path, *path.parents)}


def test_a_symbol_of_any_printable_kind_stays_within_its_folders_and_keys_and_cells(tmp_path: Path) -> None:
    data, source = tmp_path / "inner" / "data", tape(tmp_path / "tape.csv")
    data.parent.mkdir()
    before = outside(tmp_path, data)
    with ensure_embedded(data / "redis"):  # else each command would start it
        for symbol in SYMBOLS:
            succeed("replay", source, "--venue=kraken", f"--symbol={symbol}", "--data", data)
        succeed("spill", "--all", "--data", data)
        succeed("compact", "--data", data)
        found = json.loads(succeed("status", "--json", "--data", data))["instruments"]
        assert sorted(i["symbol"] for i in found) == sorted(SYMBOLS)
        for symbol in SYMBOLS:
            cells = exported(data, symbol)
            assert cells and not [cell for cell in cells if re.match(r"[=+@\t\r]|-\D", cell)]
    assert outside(tmp_path, data) == before
    assert all(re.fullmatch(r"[A-Za-z0-9._%={} -]+", part) for path in data.rglob("*") for part in path.relative_to(data).parts)
    with ensure_embedded(data / "redis") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        keys = [key for key in client.scan_iter() if key != "trades_window:instruments"]
        assert {re.match(r"trades_window:(\{kraken:[A-Za-z0-9._%-]+\}):[a-z]+(:\d+)?$", key)[1] for key in keys} == {  # type: ignore[index]
            Instrument("kraken", symbol).tag for symbol in SYMBOLS
        }


@pytest.mark.parametrize("symbol", UNPRINTABLE)
def test_a_symbol_that_can_not_be_shown_is_refused_in_one_printable_line(symbol: str, tmp_path: Path) -> None:
    for command in (["replay", tape(tmp_path / "t.csv")], ["watch", "--once"], ["verify"], ["gaps"]):
        refused(spillway(*command, "--venue=kraken", f"--symbol={symbol}", "--data", tmp_path / "data"))
    config = tmp_path / "spillway.yaml"
    config.write_text(f"collect: [{{venue: kraken, symbols: [{json.dumps(symbol)}]}}]\n")
    refused(spillway("run", "-c", config, "--data", tmp_path / "data"))


@pytest.mark.parametrize("venue", VENUES)
def test_a_venue_that_is_no_plain_word_is_refused_in_one_printable_line(venue: str, tmp_path: Path) -> None:
    for command in (["replay", tape(tmp_path / "t.csv")], ["watch", "--once"], ["verify"], ["gaps"]):
        refused(spillway(*command, f"--venue={venue}", "--symbol=BTC", "--data", tmp_path / "data"))
    config = tmp_path / "spillway.yaml"
    config.write_text(f"collect: [{{venue: {json.dumps(venue)}, symbols: [BTC]}}]\n")
    refused(spillway("run", "-c", config, "--data", tmp_path / "data"))


def refused(done: Result) -> None:
    assert done.exit_code == 1, (done.exit_code, done.output, done.exception)
    assert done.stderr.startswith("spillway: ")
    assert done.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", TAPES)
def test_a_tapes_name_leads_nowhere_and_is_shown_as_it_can_be(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (tmp_path / "tapes").mkdir()
    done = spillway("replay", "--venue=kraken", "--symbol=BTC/USD", "--data", data, "--", tape(tmp_path / "tapes" / name))
    assert done.exit_code == 0, done.output
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
    (letters,) = (data / "dead_letters").rglob("*.jsonl")
    assert re.fullmatch(r"[A-Za-z0-9._%-]+\.jsonl", letters.name)
    assert [json.loads(line)["reason"] for line in letters.read_text().splitlines()]
    done = spillway("replay", "--venue=kraken", "--symbol=BTC/USD", "--data", data, "--", tmp_path / f"not{name}")
    refused(done)
    assert os.listdir(tmp_path / "tapes") == [name]


def test_no_name_is_part_of_a_question_to_the_ledger(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for symbol in SYMBOLS:
            assert ledger.gaps.find(venue="kraken", symbol=symbol) == []
            assert ledger.decisions.find_by_id(symbol) is None
        assert ledger.gaps.sums() == {}
