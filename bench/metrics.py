"""What being watched costs: live trades into Redis with a scrape of `/metrics` each second, against none."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench.context import Context
from bench.ingest import race_of
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError

COUNT, QUICK_COUNT = 4_000_000, 200_000  # some seconds, so that there are some scrapes
EVERY_S = 1.0


def rows(context: Context) -> list[Row]:
    """The row `metrics`."""
    scraped, alone = Samples("with a scrape a second", Unit.RATE), Samples("not scraped", Unit.RATE)
    pages: list[int] = []
    with race_of(context, QUICK_COUNT if context.quick else COUNT) as race:
        take_turns(context.runs, (scraped, lambda: race.ours(partial(_scraping, pages=pages))), (alone, race.ours))
    note = f"{race.feed.count:,} trades a run; {len(pages)} scrapes in all, of {max(pages):,} bytes; flushes are timed in both"
    return [Row("live trades into Redis while it is scraped, trades/s", scraped, alone, Target(0.97), note)]


@contextmanager
def _scraping(port: int, pages: list[int]) -> Iterator[None]:
    """Scrapes from beside; the sizes of the pages go to `pages`. BenchError where none came."""
    over, before = threading.Event(), len(pages)

    def scrape() -> None:
        while not over.wait(EVERY_S if len(pages) > before else EVERY_S / 10):  # it has to begin to listen first
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    pages.append(len(answer.read()))
            except (urllib.error.URLError, ConnectionError):
                continue

    scraper = threading.Thread(target=scrape, name="scraper")
    scraper.start()
    try:
        yield
    finally:
        over.set()
        scraper.join()
    if len(pages) == before:
        raise BenchError(f"no scrape of port {port} succeeded")
