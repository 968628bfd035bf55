"""The made-up data to learn with: what the notebooks and their readers count on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import spillway
from pipeline.errors import BadValue, StorageError
from spillway import sample
from spillway.store import Store
from tests.sinks.days import random_day
from tests.spillway.kept import stored


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("sample") / "below" / "months"
    sample.make_sample(folder, "months", days=6)
    assert list(folder.parent.iterdir()) == [folder]  # nothing is left of the making
    with spillway.open(folder) as store:
        yield store


def test_a_folder_in_which_something_is_kept_is_taken_and_no_sample_made(here: Path) -> None:
    stored(here / "mine", random_day(2), compacted=False)
    assert spillway.data_or_sample(here / "mine") == here / "mine"
    assert not (here / "sample").exists()


def test_a_sample_is_made_once_where_nothing_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(folder: Path, kind: str) -> None:
        made.append(folder)
        folder.mkdir(parents=True)

    monkeypatch.setattr(sample, "make_sample", make)
    (here / "data").mkdir()
    assert [spillway.data_or_sample(name, "months") for name in ("data", "nowhere", None)] == [Path("sample/months")] * 3
    assert made == [Path("sample/months")]


def test_a_kind_that_is_none_is_refused(here: Path) -> None:
    with pytest.raises(BadValue, match="kind 'weeks': expected one of days, months"):
        spillway.data_or_sample(kind="weeks")


def test_where_it_cannot_be_made_the_error_names_the_folder_and_nothing_is_left(here: Path) -> None:
    (here / "sample").write_text("in the way")
    with pytest.raises(StorageError, match="sample/days"):
        spillway.data_or_sample()
    assert [path.name for path in here.iterdir()] == ["sample"]


def test_months_are_whole_and_all_but_the_last_two_days_are_in_the_archive(months: Store) -> None:
    found = [months.coverage("binance", symbol, by="day") for symbol in ("DEMOUSDT", "DEMOBTC")]
    assert [len(days) for days in found] == [6, 1]
    assert all(days[["absent", "degraded"]].to_numpy().sum() == 0 for days in found)
    report = months.verify()
    assert report.whole
    assert 3 <= report.found.days <= 4


def test_the_days_have_one_of_each_kind_of_hole_where_it_is_said_to_be(sample_days: Path) -> None:
    with spillway.open(sample_days) as store:
        runs = store.coverage("binance", "BTCUSDT")
        gaps = store.gaps("binance", "BTCUSDT")
    start = pd.Timestamp(sample.FIRST_DAY)
    found = {state: set(runs.loc[runs["status"] == state, "start"] - start) for state in runs["status"].unique()}
    at = [
        timedelta(hours=hours, minutes=minutes)
        for hours, minutes in ((20, 40), (33, 17), (33, 19), (57, 30), (60, 4), (88, 20))
    ]
    assert found["degraded"] == set(at)
    assert found["absent"] == {timedelta(hours=33, minutes=18), timedelta(hours=57, minutes=31)}
    assert found["repaired"] == {timedelta(hours=39, minutes=5)}
    assert timedelta(hours=74) in found["empty"]  # the halt
    assert found["unknown"] == {timedelta(hours=95, minutes=59)}
    assert gaps["state"].tolist() == ["open", "open", "repaired", "lost", "open"]


def test_the_days_hold_each_trade_that_was_made_up_but_the_missing_ones(sample_days: Path) -> None:
    with spillway.open(sample_days) as store:
        minutes = store.minutes("binance", "BTCUSDT", columns=["trade_count", "last_trade_id"])
        missing = store.gaps("binance", "BTCUSDT")
        report = store.verify()
        unproven = set(store.minutes("bitstamp", "btcusd")["status"])
    lacking = missing.loc[missing["state"] != "repaired", "ids"].sum()
    assert minutes["trade_count"].sum() == int(minutes["last_trade_id"].iloc[-1]) - lacking
    assert unproven == {"unknown"}
    assert report.whole and report.found.days == 2 and report.found.minute_files > 0
