"""Our clock against a venue's, asked of a real server on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from collectors.venues.clock import CLOCKS
from pipeline.errors import VenueError
from spillway.doctor import clocks
from spillway.doctor.finding import Level
from spillway.doctor.looking import look_at
from spillway.settings import Collect, Settings
from tests.spillway.doctor.found import only

S = 10**9


@contextmanager
def venue(ahead_s: float, status: int = 200) -> Iterator[str]:
    """A Binance whose clock is so far ahead of ours; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v3/time"
            body = json.dumps({"serverTime": int((time.time() + ahead_s) * 1000)}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def settings(url: str | None, name: str = "binance") -> Settings:
    return Settings(collect=(Collect(venue=name, symbols=("BTCUSDT",), rest_url=url),))


@pytest.mark.parametrize(("ahead_s", "level"), [(0, Level.OK), (2, Level.WARNING), (-2, Level.WARNING), (3600, Level.WRONG)])
def test_a_clock_that_is_off_is_a_warning_and_one_beyond_a_minutes_grace_is_wrong(ahead_s: float, level: Level) -> None:
    with venue(ahead_s) as url:
        found = only(look_at(clocks.looks(settings(url))).findings)
    assert (found.what, found.level) == ("clock of binance", level)
    assert ("behind" in found.found) == (ahead_s > 0) or not ahead_s


def test_what_the_question_took_is_not_held_against_the_clock() -> None:
    times = iter([100 * S, 104 * S])
    off_ns, unsure_ns = clocks.offset(CLOCKS["kraken"], lambda: b'{"result":{"unixtime":100}}', lambda: next(times))
    assert (off_ns, unsure_ns) == (3 * S // 2, 5 * S // 2)  # 102 s against 100.5 s: two seconds of way, and half a second of it
    assert clocks.of_offset("c", off_ns, unsure_ns, 5).level is Level.OK


def test_a_venue_that_refuses_or_is_not_there_is_a_warning_and_no_more() -> None:
    with venue(0, status=503) as url:
        refused = only(look_at(clocks.looks(settings(url))).findings)
    gone = only(look_at(clocks.looks(settings(url))).findings)
    assert refused.level is gone.level is Level.WARNING
    assert "Service Unavailable" in refused.found and url in refused.found
    assert "refused" in gone.found and "--offline" in gone.todo


def test_a_venue_without_a_clock_is_told_and_not_asked() -> None:
    found = only(look_at(clocks.looks(settings("http://127.0.0.1:1", "bitflyer"))).findings)
    assert found.level is Level.NOTE


def test_a_time_that_cannot_be_read_is_an_error_of_the_venue() -> None:
    with pytest.raises(VenueError):
        clocks.offset(CLOCKS["binance"], lambda: b"soon", time.time_ns)
