"""`spillway gaps` as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.instrument import Instrument
from pipeline.minute import Gap
from pipeline.trade import NS_PER_MINUTE
from sinks.ledger.gap import GapState
from sinks.ledger.ledger import Ledger, open_ledger
from spillway.gaps import Wanted, describe, gather
from spillway.settings import Settings
from tests import judge, tapes
from tests.spillway.test_cli import BTC as NAMES
from tests.spillway.test_cli import refused, spillway

BTC = Instrument("binance", "BTCUSDT")
FLY = Instrument("bitflyer", "[b]_JPY")
START_NS = tapes.START_MS * 10**6
FOUND_NS = START_NS + 3600 * 10**9


def at(minute: float) -> int:
    return START_NS + int(minute * NS_PER_MINUTE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def ledger(data: Path) -> Iterator[Ledger]:
    """Open while the commands run, as the service holds it."""
    with open_ledger(Settings(data_dir=data).ledger_url) as opened:
        yield opened


@pytest.fixture
def book(ledger: Ledger) -> Ledger:
    ledger.gaps.found(BTC, [Gap(21, 24, at(0.9), at(1.1))], FOUND_NS)
    ledger.gaps.repaired(BTC, 21, 22, "rest", FOUND_NS + 1)
    ledger.gaps.lost(BTC, 23, 24, "the venue doesn't have them", FOUND_NS + 2)
    ledger.gaps.found(BTC, [Gap(100, 2099, at(5), at(9))], FOUND_NS + 3)
    ledger.gaps.outage(FLY, at(20), at(30), FOUND_NS + 4, state=GapState.LOST, how="too far back")
    return ledger


def shown(data: Path, *options: str | Path) -> dict[str, Any]:
    done = spillway("gaps", "--data", data, "--json", *options)
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ids(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(gap["symbol"], gap["first_id"], gap["last_id"], gap["state"]) for gap in found["gaps"]]


def test_where_there_is_no_ledger_nothing_is_recorded_and_nothing_made(data: Path) -> None:
    text = spillway("gaps", "--data", data).stdout
    assert text.startswith("no gaps are recorded in sqlite:")
    assert "there is no ledger yet" in text
    assert shown(data) == {"ledger": f"sqlite:///{data}/ledger.db", "exists": False, "gaps": [], "totals": []}
    assert not data.exists()


def test_an_empty_ledger_says_so(ledger: Ledger, data: Path) -> None:
    assert spillway("gaps", "--data", data).stdout == f"no gaps are recorded in sqlite:///{data}/ledger.db\n"


def test_gaps_are_shown_the_newest_first_while_the_ledger_is_in_use(book: Ledger, data: Path) -> None:
    assert ids(shown(data)) == [
        ("[b]_JPY", None, None, "lost"),
        ("BTCUSDT", 100, 2099, "open"),
        ("BTCUSDT", 23, 24, "lost"),
        ("BTCUSDT", 21, 22, "repaired"),
    ]
    lines = spillway("gaps", "--data", data).stdout.splitlines()
    assert lines[0].split()[0] == "instrument"
    assert lines[1].startswith("bitflyer [b]_JPY  nobody listened")
    assert "23..24" in lines[3]
    assert "the venue doesn't have them" in lines[3]
    assert "2023-11-15 00:00:54.000  2023-11-15 00:01:06.000" in lines[3]
    assert lines[-2] == "binance BTCUSDT: 2,004 ids found missing: 2 repaired, 2 lost, 2,000 open"
    assert lines[-1].startswith("bitflyer [b]_JPY: 0 ids found missing")
    assert lines[-1].endswith("; times when nobody listened: 0 repaired, 1 lost, 0 open")


def test_a_machine_gets_each_value_exactly(book: Ledger, data: Path) -> None:
    (gap,) = shown(data, "--state", "lost", "--venue", "binance")["gaps"]
    assert gap == {
        "venue": "binance", "symbol": "BTCUSDT", "kind": "ids", "first_id": 23, "last_id": 24, "ids": 2,
        "before_ns": at(0.9), "after_ns": at(1.1), "found_ns": FOUND_NS, "state": "lost", "ended_ns": FOUND_NS + 2,
        "how": "the venue doesn't have them",
    }  # fmt: skip


def test_gaps_are_chosen_by_instrument_state_time_and_number(book: Ledger, data: Path) -> None:
    assert [gap[1] for gap in ids(shown(data, "--symbol", "BTCUSDT"))] == [100, 23, 21]
    assert [gap[1] for gap in ids(shown(data, "--state", "repaired"))] == [21]
    assert [gap[1] for gap in ids(shown(data, "--limit", "2"))] == [None, 100]
    assert [gap[1] for gap in ids(shown(data, "--from", "2023-11-15T00:08", "--to", "2023-11-15T00:10"))] == [100]
    assert shown(data, "--venue", "bitflyer")["totals"] == [
        {
            "venue": "bitflyer", "symbol": "[b]_JPY", "found": 0, "open": 0, "repaired": 0, "lost": 0,
            "outages_open": 0, "outages_repaired": 0, "outages_lost": 1,
        }
    ]  # fmt: skip
    assert "no gap matches" in spillway("gaps", "--data", data, "--venue", "bitflyer", "--state", "open").stdout


def test_the_minutes_of_a_gap_are_shown_as_they_are_stored(data: Path, tmp_path: Path) -> None:
    rows = [row for row in tapes.rows(hours=0.1, per_minute=20) if not 21 <= int(row["id"]) <= 24]
    assert spillway("replay", judge.write_tape(tmp_path / "t.csv", rows), *NAMES, "--data", data).exit_code == 0
    with open_ledger(Settings(data_dir=data).ledger_url) as ledger:
        ledger.gaps.lost(BTC, 900, 901, "never found", FOUND_NS + 1)  # at an unknown time
        ledger.gaps.outage(BTC, at(100), at(101), FOUND_NS + 2)
    found = shown(data, "--minutes")
    gap, outage, unplaced = found["gaps"]
    assert outage["minutes"] == unplaced["minutes"] == []
    first, second = gap["minutes"]
    assert first == {
        "minute": "2023-11-15 00:00",
        "status": "degraded",
        "seen": 20,
        "expected": 24,
        "missing": [[21, 24]],
        "revision": 1,
    }
    assert (second["minute"], second["seen"], second["expected"]) == ("2023-11-15 00:01", 16, 20)
    lines = spillway("gaps", "--minutes", "--data", data).stdout.splitlines()
    title = lines.index("minutes of binance BTCUSDT 21..24, as they are stored:")
    assert lines[title + 2].split() == ["2023-11-15", "00:00", "degraded", "20", "24", "21..24"]


def test_many_minutes_are_cut_short_for_people() -> None:
    minute = {
        "minute": "2023-11-15 00:00",
        "status": "degraded",
        "seen": 1,
        "expected": 9,
        "missing": [[n, n] for n in range(8)],
    }
    gap = {
        "venue": "v", "symbol": "s", "kind": "ids", "first_id": 1, "last_id": 2, "ids": 2, "before_ns": None, "after_ns": None,
        "found_ns": FOUND_NS, "state": "open", "how": "", "minutes": [minute] * 100,
    }  # fmt: skip
    total = {"venue": "v", "symbol": "s", **dict.fromkeys(("found", "open", "repaired", "lost"), 0)}
    total |= dict.fromkeys(("outages_open", "outages_repaired", "outages_lost"), 0)
    lines = describe({"ledger": "l", "exists": True, "gaps": [gap], "totals": [total]})
    assert sum("degraded" in line for line in lines) == 60
    assert "  and 40 more" in lines
    assert any(line.endswith("0..0, 1..1, 2..2 and 5 more") for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--limit", "0"), "--limit 0"),
        (("--from", "yesterday"), "yesterday"),
        (("--from", "2024-01-02", "--to", "2024-01-01"), "before the start"),
        (("--venue", "../../etc"), "venue '../../etc'"),
        (("--symbol", " "), "symbol"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(book: Ledger, data: Path, options: tuple[str, ...], told: str) -> None:
    assert told in refused("gaps", "--data", data, *options)


def test_a_damaged_ledger_is_named(data: Path) -> None:
    data.mkdir()
    (data / "ledger.db").write_bytes(b"not a database at all" * 100)
    assert str(data / "ledger.db") in refused("gaps", "--data", data)


def test_a_ledgers_password_is_not_shown(tmp_path: Path) -> None:
    line = refused("gaps", "--data", tmp_path, SPILLWAY_LEDGER__URL="postgresql://u:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in line
    assert "127.0.0.1:1" in line


def test_from_python_it_is_plain_data(book: Ledger, data: Path) -> None:
    found = gather(Settings(data_dir=data), Wanted(symbol="BTCUSDT", limit=1))
    assert [gap["ids"] for gap in found["gaps"]] == [2000]
