"""The settings loaded again while a service runs: what is the same isn't touched, what can't be used changes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from collectors.simulator import Simulator
from pipeline.instrument import Instrument
from sinks.ledger.ledger import open_ledger
from spillway import reload
from spillway.app import App, opened
from spillway.reload import SettingsFile, changed_keys
from spillway.roster import same
from spillway.service import Service
from spillway.settings import Collect, Settings, SettingsError
from tests.spillway.test_collecting import holders, tape, until

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
COUNT, RATE = 5_000, 300.0  # trades of each, and of all in a second: they outlast any test
SOME = 20

Entry = dict[str, Any]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("spillway.collecting.STANDBY_S", 0.01)
    monkeypatch.setattr(reload, "LOOK_S", 0.01)
    yield


# --- the file -------------------------------------------------------------------------------------------------------------


def loaded(path: Path) -> SettingsFile:
    path.write_text("log: {level: info}\n")
    source = SettingsFile(path, None)
    assert source.load().log.level == "info"
    return source


def test_a_file_has_changed_once_it_is_another_and_stayed_so_for_one_look(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    source = loaded(path)
    assert [source.changed() for _ in range(3)] == [False] * 3
    for written in ("log: {lev", "log: {level: deb", "log: {level: debug}\n"):
        path.write_text(written)
        assert not source.changed(), "who writes it may not be done"
    assert source.changed()
    assert source.load().log.level == "debug"
    assert not source.changed()


def test_a_file_that_another_was_renamed_to_has_changed_also_where_size_and_time_are_the_same(tmp_path: Path) -> None:
    path, other = tmp_path / "s.yaml", tmp_path / "other"
    source = loaded(path)
    other.write_text("log: {level: warn}\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert (other.stat().st_size, other.stat().st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    other.rename(path)
    assert [source.changed(), source.changed()] == [False, True]


def test_a_file_that_is_gone_is_told_once_and_one_that_came_back_is_another(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    source = loaded(path)
    path.unlink()
    assert [source.changed(), source.changed()] == [False, True]
    with pytest.raises(SettingsError, match=r"s\.yaml"):
        source.load()
    assert not source.changed()
    path.write_text("log: {level: error}\n")
    assert [source.changed(), source.changed()] == [False, True]
    assert source.load().log.level == "error"


def test_without_a_file_nothing_changes() -> None:
    source = SettingsFile(None, None)
    source.load()
    assert [source.changed() for _ in range(3)] == [False] * 3


def test_what_else_changed_is_named_and_no_value_is_told() -> None:
    before = Settings()
    after = Settings.model_validate(
        {"redis": {"host": "h", "password": "s3cret"}, "log": {"level": "debug"}, "data_dir": "d", "collect": [ENTRY]}
    )
    assert changed_keys(before, after) == ["data_dir", "redis.host", "redis.password", "log.level"]
    assert changed_keys(after, after) == []


ENTRY = {"venue": "binance", "symbols": ["AUSDT", "BUSDT"]}


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"symbols": ["BUSDT", "AUSDT"]}, True),
        ({"record": False}, True),
        ({"record": True}, False),
        ({"symbols": ["AUSDT"]}, False),
        ({"price_group": {"AUSDT": "10"}}, False),
        ({"venue": "binance-usdm"}, False),
        ({"rest_url": "http://127.0.0.1:1"}, False),
    ],
)
def test_entries_are_the_same_where_they_mean_the_same(other: Entry, is_same: bool) -> None:
    entries = [same(Collect.model_validate(entry)) for entry in (ENTRY, ENTRY | other)]
    assert (entries[0] == entries[1]) is is_same


# --- a service ------------------------------------------------------------------------------------------------------------


@dataclass
class Reloading:
    """A service in this process, with its settings file."""

    exchange: Simulator
    app: App
    service: Service
    path: Path
    logs: list[Any]
    task: asyncio.Task[None]

    def entry(self, *symbols: str, **more: Any) -> Entry:
        return {
            "venue": "binance",
            "symbols": [*symbols],
            "ws_url": self.exchange.ws_url,
            "rest_url": self.exchange.rest_url,
        } | more

    def write(self, *entries: Entry, **more: Any) -> None:
        settings = {"data_dir": str(self.app.settings.data_dir), "http": {"port": 0}, "collect": [*entries]} | more
        self.path.write_text(Settings.model_validate(settings).model_dump_json(exclude_none=True))  # JSON is YAML

    async def reload(self, *, failed: bool = False) -> None:
        """Asks for a reload, and returns when it is done."""
        before = len(self.told(failed))
        self.service.reload.set()
        await until(lambda: len(self.told(failed)) > before, self.task)

    def told(self, failed: bool) -> list[Any]:
        event = "settings not reloaded, all goes on as before" if failed else "settings reloaded"
        return [each for each in self.logs if each["event"] == event]

    def taken(self, symbol: str) -> int:
        return sum(c.counts(symbol).taken for c in self.service.collections if symbol in c.entry.symbols)

    async def some_taken(self, *symbols: str) -> None:
        await until(lambda: all(self.taken(symbol) >= SOME for symbol in symbols), self.task)

    def samples(self) -> dict[tuple[str, str], float]:
        """By metric and its symbol, or other label."""
        families = text_string_to_metric_families(self.service.metrics().decode())
        return {(s.name, s.labels.get("symbol", s.labels.get("part", ""))): s.value for f in families for s in f.samples}


@asynccontextmanager
async def reloading(folder: Path, *entries: tuple[str, ...]) -> AsyncIterator[Reloading]:
    """A service that collects from a simulated exchange, one entry for each of `entries`."""
    path = folder / "s.yaml"
    async with Simulator(tape(SYMBOLS, COUNT), rate=RATE) as exchange:
        collect = [
            {"venue": "binance", "symbols": e, "ws_url": exchange.ws_url, "rest_url": exchange.rest_url} for e in entries
        ]
        first = Settings.model_validate({"data_dir": folder / "data", "http": {"port": 0}, "collect": collect})
        path.write_text(first.model_dump_json(exclude_none=True))
        source = SettingsFile(path, None)
        with ExitStack() as stack:
            settings, logs = source.load(), stack.enter_context(capture_logs())
            async with opened(settings) as app:
                service = Service(app, stack.enter_context(open_ledger(settings.ledger_url)), source=source)
                world = Reloading(exchange, app, service, path, logs, asyncio.create_task(service.run()))
                try:
                    await until(lambda: bool(service.collections), world.task)
                    yield world
                finally:
                    service.stop.set()
                    async with asyncio.timeout(10):
                        await world.task


async def test_what_is_the_same_is_not_touched_while_others_come_and_go_and_a_counter_never_goes_back(tmp_path: Path) -> None:
    async with reloading(tmp_path, ("AUSDT",), ("BUSDT",)) as world:
        await world.some_taken("AUSDT", "BUSDT")
        kept, before = world.service.collections[0], world.samples()
        assert before["spillway_trades_total", "BUSDT"] >= SOME
        world.write(world.entry("AUSDT"), world.entry("BUSDT", "CUSDT"))
        await world.reload()
        assert world.service.collections[0] is kept and kept.collectors[0].connections == 1
        assert world.told(False)[-1]["begun"] == ["binance BUSDT", "binance CUSDT"]
        now = world.samples()
        assert now["spillway_trades_total", "BUSDT"] >= before["spillway_trades_total", "BUSDT"], "it counts on"
        await until(lambda: world.taken("CUSDT") > 0 and world.service.health.lacking() == "", world.task)
        assert world.samples()["spillway_connections_total", ""] == 3
        assert all(
            now[key] >= value
            for key, value in before.items()
            if key[0] in {"spillway_frames_total", "spillway_flush_seconds_count"}
        )
        assert (await world.service.health.alive()).ok
        world.write(world.entry("AUSDT"))
        await world.reload()
        assert world.service.collections == [kept]
        after = world.samples()
        assert not [name for name, label in after if label in {"BUSDT", "CUSDT"}]
        assert after["spillway_frames_total", ""] >= now["spillway_frames_total", ""]
        assert after["spillway_connections_total", ""] == 3
        assert after["spillway_settings_reloads_total", ""] == 2
        assert await holders(world.app, "BUSDT", "CUSDT") == [None, None]
        assert (await world.service.health.alive()).ok and world.service.health.lacking() == ""
        assert sorted(name for name in world.service.tasks if "binance" in name) == ["collect binance", "klines binance"]


async def test_an_instrument_that_is_not_collected_any_more_is_not_audited_any_more(tmp_path: Path) -> None:
    async with reloading(tmp_path, ("AUSDT",), ("BUSDT",)) as world:
        await world.some_taken("AUSDT", "BUSDT")
        auditor = world.service.jobs.auditor
        await auditor.run(0)
        assert ("spillway_audit_timestamp_seconds", "BUSDT") in world.samples()
        world.write(world.entry("AUSDT"))
        await world.reload()
        assert ("spillway_audit_timestamp_seconds", "BUSDT") not in world.samples()
        await auditor.run(0)
        assert auditor.audits.keys() == {Instrument("binance", "AUSDT")}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("collect: [", "s.yaml"),
        ("collect: []\n", "nothing to collect"),
        ("collect: [{venue: nosuch, symbols: [A]}]\n", "nosuch"),
        ("collect: [{venue: ccxt-nosuch, symbols: [A]}]\n", "nosuch"),
        ("collect: [{venue: ccxt-kucoin, symbols: [A], record: true}, {venue: kraken, symbols: [B]}]\n", "ccxt-kucoin"),
        ("collect: [{venue: binance, symbols: [AUSDT, AUSDT]}]\n", "twice"),
        ("colect: []\n", "unknown key"),
    ],
)
async def test_settings_that_can_not_be_used_are_told_in_one_line_and_all_goes_on(
    broken: str, said: str, tmp_path: Path
) -> None:
    async with reloading(tmp_path, ("AUSDT",), ("BUSDT",)) as world:
        await until(lambda: world.service.health.lacking() == "", world.task)
        before, tasks = list(world.service.collections), dict(world.service.tasks)
        world.path.write_text(broken)
        await until(lambda: bool(world.told(failed=True)), world.task)  # by the file alone: nobody asked
        (line,) = world.told(failed=True)
        assert said in line["error"] and "\n" not in line["error"]
        assert (world.service.collections, world.service.tasks) == (before, tasks)
        assert not any(crew.stop.is_set() for crew in world.service.roster._crews)
        counted = world.samples()
        assert counted["spillway_settings_reloads_total", ""] == counted["spillway_settings_reload_failures_total", ""] == 1
        world.write(world.entry("AUSDT"), world.entry("CUSDT"))
        await until(lambda: world.taken("CUSDT") > 0 or bool(world.told(failed=False)), world.task)
        assert [c.entry.symbols for c in world.service.collections] == [("AUSDT",), ("CUSDT",)]


async def test_what_needs_a_restart_is_named_and_not_used(tmp_path: Path) -> None:
    async with reloading(tmp_path, ("AUSDT",)) as world:
        world.write(world.entry("AUSDT"), schedule={"flush_ms": 7}, http={"port": 0, "token": "s3cret"})
        await world.reload()
        (line,) = [each for each in world.logs if each["event"] == "settings changed that need a restart"]
        assert line["keys"] == ["http.token", "schedule.flush_ms"]
        assert world.app.settings.schedule.flush_ms == 100 and world.app.settings.http.token is None
        assert world.told(False)[-1] == world.told(False)[-1] | {"begun": [], "ended": []}


async def test_a_venue_that_publishes_no_minutes_has_no_part_that_ends_at_once(tmp_path: Path) -> None:
    async with reloading(tmp_path, ("AUSDT",)) as world:
        world.write(world.entry("BTC_JPY", venue="bitflyer"))
        await world.reload()
        assert [name for name in world.service.tasks if "bitflyer" in name] == ["collect bitflyer"]
        assert (await world.service.health.alive()).ok


async def test_a_service_told_to_stop_while_an_entry_ends_ends_all_of_them(tmp_path: Path) -> None:
    async with reloading(tmp_path, ("AUSDT",), ("BUSDT",)) as world:
        await world.some_taken("AUSDT", "BUSDT")
        world.write(world.entry("AUSDT"), world.entry("CUSDT"))
        world.service.reload.set()
        await until(lambda: any(crew.stop.is_set() for crew in world.service.roster._crews), world.task)
        world.service.stop.set()
        async with asyncio.timeout(10):
            await world.task
        assert await holders(world.app, *SYMBOLS) == [None, None, None]
        assert not any(c.feeds for c in world.service.collections)
