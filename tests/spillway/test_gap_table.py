"""`store.gaps`: the ledger's gaps as a frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import spillway
from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.minute import Gap
from pipeline.trade import NS_PER_MINUTE
from sinks.ledger.gap import GapState
from sinks.ledger.ledger import open_ledger
from spillway.gap_table import SCHEMA
from spillway.settings import Settings
from spillway.store import Store
from tests.pipeline.builders import BTC, START
from tests.sinks.days import random_day
from tests.spillway.kept import stored

FLY = Instrument("bitflyer", "BTC_JPY")
NAMES = (BTC.venue, BTC.symbol)
FOUND_NS = (START + 600) * NS_PER_MINUTE


def at(minute: float) -> int:
    return int((START + minute) * NS_PER_MINUTE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return stored(tmp_path / "data", [*random_day(3), *random_day(3, instrument=FLY)], compacted=False)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with open_ledger(Settings(data_dir=folder).ledger_url) as ledger:
        ledger.gaps.found(BTC, [Gap(100, 2099, at(5), at(9))], FOUND_NS)
        ledger.gaps.found(BTC, [Gap(21, 24, at(0.9), at(1.1))], FOUND_NS + 1)
        ledger.gaps.repaired(BTC, 21, 22, "rest", FOUND_NS + 2)
        ledger.gaps.lost(BTC, 5000, 5000, "the venue doesn't have it", FOUND_NS + 3)
        ledger.gaps.outage(FLY, at(20), at(30), FOUND_NS + 4, state=GapState.LOST, how="too far back")
    with spillway.open(folder) as opened:
        yield opened


def test_gaps_come_by_time_with_what_became_of_them(store: Store) -> None:
    found = store.gaps(*NAMES)
    assert found[["first_id", "last_id", "ids", "state"]].values.tolist() == [
        [21, 22, 2, "repaired"],
        [23, 24, 2, "open"],
        [100, 2099, 2000, "open"],
        [5000, 5000, 1, "lost"],
    ]
    assert found["before"].dtype == "datetime64[ns, UTC]"
    assert found["after"][2] == pd.Timestamp(at(9), tz="UTC")
    assert found["how"].tolist() == ["rest", "", "", "the venue doesn't have it"]
    assert (found["found"][2], found["ended"][0]) == (pd.Timestamp(FOUND_NS, tz="UTC"), pd.Timestamp(FOUND_NS + 2, tz="UTC"))
    assert pd.isna(found["before"][3])


def test_gaps_of_several_instruments_are_told_apart_and_chosen_by_time_and_state(store: Store) -> None:
    every = store.gaps()
    assert list(every.columns) == ["venue", "symbol", *SCHEMA.names]
    outage = every[every["kind"] == "outage"]
    assert outage[["venue", "symbol", "state", "how"]].values.tolist() == [["bitflyer", "BTC_JPY", "lost", "too far back"]]
    assert outage["ids"].isna().all()
    assert store.gaps(*NAMES, state="open")["first_id"].tolist() == [23, 100]
    first, end = pd.Timestamp(at(8), tz="UTC"), pd.Timestamp(at(20), tz="UTC")
    assert store.gaps(*NAMES, first, end)["first_id"].tolist() == [100]
    later = pd.Timestamp(at(590), tz="UTC")  # of one at an unknown time counts when it was found
    assert store.gaps(*NAMES, later, as_="arrow")["first_id"].to_pylist() == [5000]
    with pytest.raises(BadValue, match="state 'gone': expected one of open, repaired, lost"):
        store.gaps(*NAMES, state="gone")


def test_where_there_is_no_ledger_there_are_no_gaps_and_none_is_made(folder: Path) -> None:
    with spillway.open(folder) as store:
        found = store.gaps(*NAMES)
    assert (len(found), list(found.columns)) == (0, SCHEMA.names)
    assert not (folder / "ledger.db").exists()
