"""What the service tells Prometheus and its users: names, values that agree with what happened, no counter that goes down."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from collectors.live import LiveCollector
from collectors.simulator import SimTrade, Simulator, synthetic_trades
from pipeline.instrument import Instrument
from sinks.ledger.gap import GapSums
from sinks.ledger.ledger import open_ledger
from spillway import http as http_module
from spillway.app import opened
from spillway.collecting import Collection
from spillway.health import Report
from spillway.http import Pages
from spillway.service import Service
from spillway.settings import Collect, Http, Schedule, Settings
from tests.test_collecting import HURRIED

BTC = Instrument("binance", "BTCUSDT")
LABELS = (("symbol", "BTCUSDT"), ("venue", "binance"))
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# What a user of SPEC 9 looks for, as far as collecting goes.
NAMES = {
    *("spillway_trades_total", "spillway_duplicates_total", "spillway_late_total", "spillway_malformed_total"),
    *("spillway_gap_ids_found_total", "spillway_gap_ids_repaired_total", "spillway_gap_ids_lost", "spillway_gap_ids_open"),
    *("spillway_reconnects_total", "spillway_connections_up", "spillway_exchange_lag_seconds"),
    *("spillway_watermark_timestamp_seconds", "spillway_lease_held", "spillway_dead_letters_total"),
    *("spillway_klines_checked_total", "spillway_klines_differing_total", "spillway_refused_symbols"),
    *("spillway_flush_seconds_bucket", "spillway_window_buckets", "spillway_window_bytes", "spillway_redis_used_memory_bytes"),
    *(
        "spillway_spilled_buckets_total",
        "spillway_spill_failures_total",
        "spillway_spill_seconds_bucket",
        "spillway_build_info",
    ),
    *("spillway_compaction_seconds_bucket", "spillway_disk_free_bytes", "spillway_disk_size_bytes", "spillway_job_runs_total"),
    *("spillway_ledger_operation_seconds_bucket", "spillway_event_loop_lag_seconds_bucket", "process_cpu_seconds_total"),
}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("spillway.service.Collection", partial(Collection, tuning=HURRIED))
    monkeypatch.setattr("spillway.jobs.RECONCILE_S", 0.05)
    monkeypatch.setattr("spillway.collecting.STANDBY_S", 0.01)
    yield


def told(count: int = 4_000) -> list[SimTrade]:
    start_ns = (time.time_ns() // 60_000_000_000 - 10) * 60_000_000_000
    return list(synthetic_trades(3, start_ns, count, "BTCUSDT", trades_per_minute=count / 5))


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
        return port


@asynccontextmanager
async def serving(
    folder: Path, exchange: Simulator, *, port: int = 0, symbols: tuple[str, ...] = ("BTCUSDT",)
) -> AsyncIterator[Service]:
    """A service in this process."""
    entry = Collect(venue="binance", symbols=symbols, ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    schedule = Schedule(seal_every_s=0.05, flush_ms=10)
    settings = Settings(data_dir=folder / "data", collect=(entry,), http=Http(port=port), schedule=schedule)
    async with opened(settings) as app:
        with open_ledger(settings.ledger_url) as ledger:
            service = Service(app, ledger)
            run = asyncio.create_task(service.run())
            try:
                await until(lambda: run.done() or bool(service.collections))
                yield service
            finally:
                service.stop.set()
                async with asyncio.timeout(10):
                    await run


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.002)


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def taken(service: Service) -> int:
    return service.collections[0].counts("BTCUSDT").taken


async def test_every_promised_metric_is_there_and_agrees_with_what_happened(tmp_path: Path) -> None:
    trades = told()
    lost = range(1_500, 1_520)
    exchange = Simulator(trades, unsent=lost, unkept=lost, cut_every=1_200, missed=100)
    async with exchange, serving(tmp_path, exchange) as service:
        await until(lambda: taken(service) == len(trades) - len(lost))
        await until(lambda: service.collections[0].gap_sums.get(BTC, GapSums()).lost == len(lost))
        exchange.say(b"no JSON")
        await until(lambda: service.collections[0].dead_letters == 1)
        seen = samples(service.metrics())
        collection = service.collections[0]
        assert {name for name, _ in seen} >= NAMES - {"spillway_klines_checked_total", "spillway_klines_differing_total"}
        families = {family.name for family in text_string_to_metric_families(service.metrics().decode())}
        assert {"spillway_klines_checked", "spillway_klines_differing"} <= families
        assert seen["spillway_trades_total", LABELS] == len(trades) - len(lost)
        assert seen["spillway_gap_ids_lost", LABELS] == len(lost)
        found, repaired = (seen[f"spillway_gap_ids_{name}_total", LABELS] for name in ("found", "repaired"))
        assert (found - repaired, repaired > 0) == (len(lost), True)
        assert seen["spillway_gap_ids_open", LABELS] == len(lost)
        assert seen["spillway_lease_held", LABELS] == 1
        assert seen["spillway_watermark_timestamp_seconds", LABELS] == pytest.approx(trades[-1].ts_ns / 1e9)
        venue = (("venue", "binance"),)
        assert seen["spillway_reconnects_total", venue] == exchange.connections - 1 >= 2
        assert seen["spillway_connections_up", venue] == 1
        assert seen["spillway_dead_letters_total", venue] == seen["spillway_rejected_frames_total", venue] == 1
        assert seen["spillway_repaired_trades_total", venue] == collection.total("repaired") >= 200
        assert seen["spillway_exchange_lag_seconds", venue] > 60, "the tape is of minutes ago"
        assert seen["spillway_last_frame_timestamp_seconds", venue] == pytest.approx(time.time(), abs=20)


async def test_no_counter_goes_down_or_away_when_a_collector_ends_and_another_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.collecting.REFUSED_S", 0.1)
    scrapes: list[Samples] = []
    async with Simulator(told(2_000), rate=4_000) as exchange, serving(tmp_path, exchange) as service:
        collection = service.collections[0]

        async def scrape(true: Callable[[], bool]) -> None:
            async with asyncio.timeout(15):
                while not true():
                    scrapes.append(samples(service.metrics()))
                    await asyncio.sleep(0.005)

        await scrape(lambda: taken(service) > 200)
        exchange.upgrade_answers.append((403, {}))
        exchange.cut()
        await scrape(lambda: bool(collection.refused) and not collection.feeds)
        assert samples(service.metrics())["spillway_lease_held", LABELS] == 0
        assert samples(service.metrics())["spillway_refused_symbols", (("venue", "binance"),)] == 1
        await scrape(lambda: taken(service) == 2_000)
        scrapes.append(samples(service.metrics()))
    counters = {key for scrape in scrapes for key in scrape if key[0].endswith("_total")}
    assert len(counters) >= 15
    for key in counters:
        values = [scrape[key] for scrape in scrapes if key in scrape]
        assert values == sorted(values), key
        if "_volume_" in key[0]:
            continue  # the instrument's own, by all its writers: told by whoever is its writer
        first = next(n for n, scrape in enumerate(scrapes) if key in scrape)
        assert all(key in scrape for scrape in scrapes[first:]), f"{key} went away"


async def test_the_imbalance_is_0_while_minutes_are_moved_and_no_more_once_one_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.jobs.AUDIT_S", 0.02)

    def told_now() -> dict[str, float]:
        found = {dict(labels)["quantity"]: v for (name, labels), v in samples(service.metrics()).items() if "imbalance" in name}
        assert found.keys() <= {"buy_volume", "sell_volume", "total_volume", "trade_count"}
        return found

    async with Simulator(told(2_000), rate=8_000) as exchange, serving(tmp_path, exchange) as service:
        await until(lambda: bool(told_now()))
        audit = service.jobs.auditor.audits[BTC]
        files = service.app.files
        while taken(service) < 2_000 or not files.instruments():
            await service.app.spill(everything=True)
            assert not any(told_now().values())
        seen = audit.seen_ns
        await until(lambda: audit.seen_ns > seen)
        assert told_now() == dict.fromkeys(("buy_volume", "sell_volume", "total_volume", "trade_count"), 0.0)
        lost = files.load(BTC, files.between(BTC, 0, 1 << 40)[0])
        assert lost
        files.path(BTC, lost.start).unlink()
        await until(lambda: not audit.is_balanced)
        assert told_now()["trade_count"] == -lost.totals[3]


async def test_a_symbol_refused_alone_is_told_by_metrics_and_by_readiness(tmp_path: Path) -> None:
    async with Simulator(told(500)) as exchange, serving(tmp_path, exchange) as service:
        await until(lambda: taken(service) == 500)
        assert service.health.lacking() == ""
        (collector,) = service.collections[0].collectors
        assert isinstance(collector, LiveCollector)
        collector.refused["BTCUSDT"] = "delisted"
        assert service.health.lacking() == "binance: BTCUSDT is refused: delisted"
        assert samples(service.metrics())["spillway_refused_symbols", (("venue", "binance"),)] == 1


async def test_a_stop_does_not_wait_for_klines_that_the_venue_does_not_give_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spillway.roster.CHECK_S", 0.05)
    async with Simulator(told(500)) as exchange:
        exchange.rest_answers.append((429, {"Retry-After": "50"}))
        async with serving(tmp_path, exchange) as service:
            await until(lambda: taken(service) == 500 and not exchange.rest_answers)
            ended = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - ended < 5
    assert exchange.requests == 1


# --- http -----------------------------------------------------------------------------------------------------------------


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def served(port: int) -> None:
    """Until somebody listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                await get(port, "/healthz")
                return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.005)


async def fine() -> Report:
    return Report([])


def reasons(page: tuple[int, str]) -> tuple[int, dict[str, str]]:
    """The status, and what is wrong, by its name."""
    told = json.loads(page[1])
    assert told["ok"] is (page[0] == 200) is all(check["ok"] for check in told["checks"])
    return page[0], {check["name"]: check["reason"] for check in told["checks"] if not check["ok"]}


async def test_health_readiness_and_metrics_are_served(tmp_path: Path) -> None:
    port = free_port()
    async with Simulator(told(500)) as exchange, serving(tmp_path, exchange, port=port) as service:
        await served(port)
        await until(lambda: taken(service) == 500)
        assert reasons(await get(port, "/healthz")) == (200, {})
        assert reasons(await get(port, "/readyz")) == (200, {})
        status, text = await get(port, "/metrics")
        assert (status, samples(text.encode())["spillway_trades_total", LABELS]) == (200, 500)
        exchange.upgrade_answers.extend([(503, {})] * 10_000)
        exchange.cut()
        await until(lambda: service.health.lacking() != "")
        assert reasons(await get(port, "/readyz")) == (503, {"collecting": "binance: not connected"})
        assert (await get(port, "/healthz"))[0] == 200
        exchange.upgrade_answers.clear()


async def test_while_standing_by_it_is_not_ready_and_says_for_what_it_waits(tmp_path: Path) -> None:
    port = free_port()
    async with Simulator(told(500)) as exchange, opened(Settings(data_dir=tmp_path / "data")) as app:
        await app.window.acquire(BTC, "another", 60_000)
        async with serving(tmp_path, exchange, port=port) as service:
            await served(port)
            assert reasons(await get(port, "/readyz")) == (503, {"lease": "binance: standing by for BTCUSDT"})
            seen = samples((await get(port, "/metrics"))[1].encode())
            assert seen["spillway_lease_held", LABELS] == 0
            assert exchange.connections == 0
        assert not service.collections[0].feeds
        assert await app.window.holder(BTC) == "another"


async def test_a_port_that_is_taken_is_tried_again_while_the_service_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "RETRY_S", 0.01)
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        async with Simulator(told(500)) as exchange, serving(tmp_path, exchange, port=port) as service:
            await until(lambda: taken(service) == 500)
            first.close()
            await served(port)
            assert reasons(await get(port, "/readyz")) == (200, {})


async def test_a_port_that_stays_taken_costs_nothing_but_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[web.TCPSite] = []

    class Told(web.TCPSite):
        async def start(self) -> None:
            tries.append(self)
            await super().start()

    monkeypatch.setattr(http_module, "RETRY_S", 0.001)
    monkeypatch.setattr(web, "TCPSite", Told)
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        async with http_module.served("127.0.0.1", port, Pages(bytes, fine, fine)):
            await until(lambda: len(tries) >= 5)
            assert len(tries[0]._runner.sites) <= 1


async def test_the_metrics_are_as_promtool_wants_them(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH")
    async with Simulator(told(500)) as exchange, serving(tmp_path, exchange) as service:
        await until(lambda: taken(service) == 500)
        text = service.metrics()
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
