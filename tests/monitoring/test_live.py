"""A real service, scraped by a real Prometheus: every query of dashboards and rules gets data, and no metric is forgotten."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collectors.simulator import Simulator, synthetic_trades
from sinks.ledger.ledger import open_ledger
from spillway.app import opened
from spillway.collecting import Collection
from spillway.service import Service
from spillway.settings import Collect, Http, Redis, Schedule, Settings
from tests.monitoring.dashboards import dashboards, filled_in, metric_names, queries, selectors, variables
from tests.monitoring.prometheus import Answer, Prometheus, binary, rules, running
from tests.spillway.test_metrics import free_port
from tests.test_collecting import HURRIED

VENUE, SYMBOL = "binance", "BTCUSDT"
DEADLINE_S = 60.0
HOURS, PER_MINUTE, RATE = 52, 2, 900.0
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"

DASHBOARD_QUERIES = {
    where: filled_in(expr, VENUE, SYMBOL) for dashboard in dashboards().values() for where, expr in queries(dashboard)
}
ALERTS = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
RULE_QUERIES = ALERTS | RECORDED
SERIES = sorted({each for expr in RULE_QUERIES.values() for each in selectors(expr)})
# Told for those who look for a cause, and drawn nowhere.
NOT_DRAWN = {"spillway_audit_baseline_timestamp_seconds"}


@dataclass(frozen=True, slots=True)
class Scrape:
    """What Prometheus said at the end."""

    answers: Mapping[str, Answer]  # by query
    names: frozenset[str]  # of all metrics
    rules: Mapping[str, Any]  # as it judges them: by name


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """Of a service that has collected, lost, repaired, spilled, compacted and backed up a bit, and goes on with it."""
    binary("prometheus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spillway.service.Collection", partial(Collection, tuning=HURRIED))
        patch.setattr("spillway.roster.CHECK_S", 0.5)
        for seconds in ("jobs.RECONCILE_S", "jobs.SURVEY_S", "jobs.AUDIT_S"):
            patch.setattr(f"spillway.{seconds}", 0.5)
        patch.setattr("spillway.survey.SLOW_NS", 0)
        yield asyncio.run(scraped(tmp_path_factory.mktemp("scraped")))


async def scraped(folder: Path) -> Scrape:
    start_ns = (time.time_ns() // 60_000_000_000 - HOURS * 60) * 60_000_000_000
    trades = list(synthetic_trades(3, start_ns, HOURS * 60 * PER_MINUTE, SYMBOL, trades_per_minute=PER_MINUTE))
    lost = range(1_000, 1_010)
    exchange = Simulator(trades, unsent=lost, unkept=lost, cut_every=1_500, missed=50, rate=RATE)
    async with exchange:
        entry = Collect(venue=VENUE, symbols=(SYMBOL,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        times = Schedule(seal_every_s=0.1, flush_ms=50, spill_every_s=0.5, compact_every_s=0.5, compact_delay_hours=0)
        settings = Settings(
            data_dir=folder / "data", collect=(entry,), redis=Redis(window_hours=1), http=Http(port=free_port()), schedule=times
        )
        with open_ledger(settings.ledger_url) as ledger:
            async with opened(settings) as app:
                await app.window.client.config_set("maxmemory", 2**30)
                service = Service(app, ledger)
                serving = asyncio.create_task(service.run())
                try:
                    with running(folder, f"127.0.0.1:{settings.http.port}") as prometheus:
                        return await watched(prometheus, exchange)
                finally:
                    service.stop.set()
                    await serving


async def watched(prometheus: Prometheus, exchange: Simulator) -> Scrape:
    """Asks until all has data, or the time is over: then the tests tell what hasn't."""
    await asyncio.to_thread(prometheus.wait_until_ready, DEADLINE_S)
    lacking = {*DASHBOARD_QUERIES.values(), *RECORDED.values(), *SERIES}
    answers: dict[str, Answer] = {}
    loop = asyncio.get_running_loop()
    until, told = loop.time() + DEADLINE_S, False
    while lacking and loop.time() < until:
        if not told and prometheus_has(answers, "spillway_dead_letters_total"):
            exchange.say(b"no JSON")  # after a scrape: a counter that begins above 0 has not increased
            told = True
        answers |= await asyncio.to_thread(asked, prometheus, lacking)
        lacking = {query for query in lacking if not answers[query].is_data}
        await asyncio.sleep(0.1)
    answers |= await asyncio.to_thread(asked, prometheus, ALERTS.values())
    names = (await asyncio.to_thread(prometheus.get, "label/__name__/values"))["data"]
    groups = (await asyncio.to_thread(prometheus.get, "rules"))["data"]["groups"]
    return Scrape(answers, frozenset(names), {rule["name"]: rule for group in groups for rule in group["rules"]})


def prometheus_has(answers: Mapping[str, Answer], series: str) -> bool:
    return any(answer.is_data for query, answer in answers.items() if query.startswith(series))


def asked(prometheus: Prometheus, expressions: Iterable[str]) -> dict[str, Answer]:
    return {expr: prometheus.ask(expr) for expr in expressions}


def lacking(scrape: Scrape, expressions: Mapping[str, str]) -> list[str]:
    return [f"{where}: {expr}" for where, expr in expressions.items() if not scrape.answers[expr].is_data]


def test_every_query_of_every_dashboard_gets_data_and_no_nan(scrape: Scrape) -> None:
    assert len(DASHBOARD_QUERIES) > 80
    assert lacking(scrape, DASHBOARD_QUERIES) == []


def test_every_recording_rule_gives_data(scrape: Scrape) -> None:
    assert lacking(scrape, RECORDED) == []
    assert RECORDED.keys() <= scrape.names


def test_every_series_that_an_alert_reads_is_there(scrape: Scrape) -> None:
    assert lacking(scrape, {series: series for series in SERIES}) == []


def test_prometheus_evaluates_each_rule_without_a_complaint(scrape: Scrape) -> None:
    assert scrape.rules.keys() == ALERTS.keys() | RECORDED.keys()
    assert {name: rule["lastError"] for name, rule in scrape.rules.items() if rule["health"] != "ok"} == {}
    assert [answer.complaint for answer in scrape.answers.values() if answer.complaint] == []


def test_an_alert_that_fires_is_told_in_words(scrape: Scrape) -> None:
    (alert,) = scrape.rules["DeadLetters"]["alerts"]
    assert alert["state"] == "firing"
    assert alert["annotations"]["summary"] == "binance: dead letters"
    words = [text for rule in scrape.rules.values() for a in rule.get("alerts", []) for text in a["annotations"].values()]
    assert len(words) > 3
    assert [text for text in words if "error" in text or "<no value>" in text or "%!" in text] == []


def test_what_is_stored_is_what_was_taken_so_the_page_for_it_is_quiet(scrape: Scrape) -> None:
    for name in ("Imbalance", "ServiceDown", "RedisDown", "RedisNotPersisting", "RedisEvictionPolicy", "SpillFailing"):
        assert scrape.answers[ALERTS[name]] == Answer(()), name


def test_choices_of_venue_and_symbol_come_from_series_that_are_there(scrape: Scrape) -> None:
    for dashboard in dashboards().values():
        for name, query in variables(dashboard).items():
            if name != "datasource":
                asks = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", query)
                assert asks and asks[3] == name and asks[1] in scrape.names


def test_every_metric_that_the_service_tells_is_drawn_or_watched_and_no_other(scrape: Scrape) -> None:
    used = {name for expr in [*DASHBOARD_QUERIES.values(), *RULE_QUERIES.values()] for name in metric_names(expr)}
    ours = {re.sub("_(bucket|count|sum)$", "", name) for name in used if name.startswith("spillway_")}
    told = set(re.findall(r"^\| `(spillway_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert sorted(ours - told) == []
    assert sorted(told - ours - NOT_DRAWN) == []
    assert told >= NOT_DRAWN
    assert used <= scrape.names | {"ALERTS"}


def test_names_and_series_are_found_in_a_query() -> None:
    expr = 'sum by (venue, le) (rate(a_bucket{x="y", z=~".*"}[5m])) > on (q) group_left () (max(b:c) + 3e5 * 600) or vector(0)'
    assert metric_names(expr) == {"a_bucket", "b:c"}
    assert sorted(selectors(expr)) == ['a_bucket{x="y", z=~".*"}', "b:c"]
