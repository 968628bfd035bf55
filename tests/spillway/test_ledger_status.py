"""What `spillway status` tells of the ledger."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.instrument import Instrument
from pipeline.minute import Gap
from sinks.ledger.klines import Figures, KlineCheck
from sinks.ledger.ledger import open_ledger
from spillway.settings import Settings
from tests import judge, tapes
from tests.spillway.test_cli import BTC as NAMES
from tests.spillway.test_cli import spillway

BTC = Instrument("binance", "BTCUSDT")
FIRST = tapes.START_MS // 60_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tape = judge.write_tape(tmp_path / "t.csv", tapes.rows(hours=0.1, per_minute=20))
    assert spillway("replay", tape, *NAMES, "--data", tmp_path / "data").exit_code == 0
    return tmp_path / "data"


def status(data: Path) -> tuple[dict[str, Any], list[str]]:
    found = json.loads(spillway("status", "--data", data, "--json").stdout)
    return found, spillway("status", "--data", data).stdout.splitlines()


def checked(at: int, ours: str, theirs: str, state: str = "complete") -> KlineCheck:
    return KlineCheck(FIRST + at, 1, state, Figures(Decimal(ours), None, 20), Figures(Decimal(theirs), None, 20))


def test_without_a_ledger_status_says_nothing_of_it_and_makes_none(data: Path) -> None:
    found, lines = status(data)
    assert found["ledger"] == {"at": f"sqlite:///{data}/ledger.db", "error": None}
    assert found["instruments"][0]["klines"] is None
    assert found["instruments"][0]["gap_ledger"] is None
    assert not any(line.startswith(("  gaps", "  klines")) for line in lines)
    assert not (data / "ledger.db").exists()


def test_gaps_and_klines_are_told_while_the_ledger_is_in_use(data: Path) -> None:
    with open_ledger(Settings(data_dir=data).ledger_url) as ledger:
        ledger.gaps.found(BTC, [Gap(21, 24, 1, 2)], 3)
        ledger.gaps.lost(BTC, 24, 24, "gone", 4)
        ledger.klines.record(BTC, [checked(0, "1.50", "1.5"), checked(1, "2", "2")], 5, until=FIRST + 1)
        assert status(data)[1][-2:] == [
            "  gaps     4 ids found missing: 0 repaired, 1 lost, 3 open",
            "  klines   2 minutes held against the venue's, up to 2023-11-15 00:01: all equal",
        ]
        ledger.klines.record(BTC, [checked(2, "2", "9", "degraded"), checked(3, "2", "2.10")], 6, until=FIRST + 4, unanswered=1)
        found, lines = status(data)
    assert lines[-1] == (
        "  klines   4 minutes held against the venue's, up to 2023-11-15 00:04: 2 differ, 1 of them without a known reason; "
        "the last 2023-11-15 00:03 (complete): volume: ours 2, theirs 2.1, trade_count: ours 20, theirs 20"
    )
    assert found["instruments"][0]["gap_ledger"]["open"] == 3
    assert found["instruments"][0]["klines"] == {
        "checked_until": "2023-11-15 00:04",
        "checked": 4,
        "differing": 2,
        "unexplained": 1,
        "resolved": 0,
        "unanswered": 1,
        "last_difference": {
            "minute": "2023-11-15 00:03",
            "status": "complete",
            "revision": 1,
            "volume": "ours 2, theirs 2.1",
            "trade_count": "ours 20, theirs 20",
        },
    }


def test_a_ledger_that_cannot_be_read_does_not_hide_the_rest(data: Path) -> None:
    (data / "ledger.db").write_bytes(b"not a database at all" * 100)
    found, lines = status(data)
    assert "damaged" in found["ledger"]["error"]
    assert lines[1].startswith("the ledger can't be read: ")
    assert found["instruments"][0]["trades"] == 120
