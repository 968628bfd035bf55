"""Logs: as asked for, without secrets, and without floods."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from spillway.log import FREE, MOST_KEPT, QUIET_S, Repeats, set_up_logging, without_secrets


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


def test_json_is_a_line_an_event_with_its_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    structlog.get_logger().warning("spill failed", minute=1)
    told = json.loads(capsys.readouterr().err)
    assert told.pop("timestamp").endswith("Z")
    assert told == {"event": "spill failed", "level": "warning", "minute": 1}


def test_for_people_it_is_text_and_where_nobody_looks_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("human")
    structlog.get_logger().info("spilled", minutes=3)
    assert "minutes" in (text := capsys.readouterr().err) and not text.startswith("{")
    set_up_logging("auto")
    structlog.get_logger().info("spilled", minutes=3)
    assert json.loads(capsys.readouterr().err)["minutes"] == 3


def test_what_is_below_the_level_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json", "error")
    structlog.get_logger().warning("spill skipped")
    assert capsys.readouterr().err == ""


def test_libraries_are_told_in_the_same_form_and_their_skipped_jobs_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("json")
    set_up_logging("json")  # not twice
    logging.getLogger("aiohttp.server").error("Error at redis://u:hunter2@h/0")
    logging.getLogger("apscheduler.scheduler").warning("skipped")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "Error at redis://u:***@h/0"


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_traceback_is_told_without_the_secret_in_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(form)
    try:
        raise ValueError("postgresql://u:hunter2@h/db?password=hunter2&sslmode=on")
    except ValueError:
        structlog.get_logger().exception("kline check broke")
    text = capsys.readouterr().err
    assert "hunter2" not in text
    assert "ValueError" in text and "sslmode=on" in text


@pytest.mark.parametrize(
    "event",
    [
        {"password": "hunter2"},
        {"http_token": "hunter2"},
        {"apiKey": "hunter2"},
        {"url": "rediss://:hunter2@host:6379/0"},
        {"at": ["wss://x/ws?listenKey=hunter2&a=b"]},
        {"event": "GET https://x/api?signature=hunter2"},
        {"headers": {"Authorization": "Bearer hunter2"}},
    ],
)
def test_no_secret_is_told(event: dict[str, Any]) -> None:
    assert "hunter2" not in str(without_secrets(None, "info", event))


def test_what_is_no_secret_stays(event: dict[str, Any] | None = None) -> None:
    event = {"event": "connected", "at": "http://127.0.0.1:9108/metrics", "symbols": ["BTC/USD"], "n": 1, "last_id": None}
    assert without_secrets(None, "info", event) == event


class Log:
    """Counts what comes through."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.repeats = Repeats(lambda: self.now_s)

    def told(self, level: str = "error", **event: Any) -> dict[str, Any] | None:
        try:
            return dict(self.repeats(None, level, {"level": level, **event}))
        except structlog.DropEvent:
            return None


def test_a_message_that_repeats_every_100_ms_is_told_once_and_then_with_a_count() -> None:
    log = Log()
    told = []
    for n in range(1_000):
        log.now_s = n / 10
        told.append(log.told(event="spill failed", minute=n, error=f"{n} bytes are missing"))
    said = [each for each in told if each]
    assert len(said) == 100 / QUIET_S // 1 + 1
    assert [each.get("repeated") for each in said] == [None, 299, 299, 299]


def test_of_another_instrument_job_or_reason_it_is_another_message() -> None:
    log = Log()
    for event in ({}, {"venue": "a"}, {"symbol": "a"}, {"job": "a"}, {"error": "a"}, {"error": "b"}):
        assert log.told(event="job failed", **event)
        assert log.told(event="job failed", **event) is None


def test_what_is_no_warning_may_be_told_some_times() -> None:
    log = Log()
    said = [log.told("info", event="compacted", instrument="a") for _ in range(50)]
    assert len([each for each in said if each]) == FREE["info"]


def test_it_remembers_no_more_than_so_many_messages() -> None:
    log = Log()
    for n in range(3 * MOST_KEPT):
        assert log.told(event="x" * n)
    assert len(log.repeats._told) <= MOST_KEPT
