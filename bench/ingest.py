"""From a loopback exchange into Redis, trades a second: `spillway run` against cryptofeed, and against reading alone.

Each run is timed from the moment the feed's first frame leaves until a look into Redis finds all trades there. The service is
the command as users run it, with its jobs, its lease and its metrics; what it stored is then counted minute by minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from bench import peers
from bench.context import Context
from bench.market import recorded
from bench.measure import Row, Samples, Target, Unit, take_turns
from bench.processes import BenchError, Child, RedisServer, free_port, module, redis_server, running
from pipeline import codec
from pipeline.instrument import Instrument
from pipeline.window import RedisWindow

COUNT, QUICK_COUNT = 1_000_000, 100_000
PEER_SHARE = 0.3  # cryptofeed takes in all that comes before it writes: with more it gets slower, and in the end stops
INSTRUMENT = Instrument("binance-usdm", "BTCUSDT")  # the venue of ours whose trades are aggTrade frames, as cryptofeed's are
CURSOR = f"trades_window:{INSTRUMENT.tag}:cursor"
PEER_KEY = "trades-BINANCE-BTC-USDT"
LOOK_S = 0.01
LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Feed:
    """A running exchange, and how many trades it pours into each connection."""

    server: Child
    port: int
    count: int

    def began(self) -> int:
        """When the next connection's first frame leaves, by the monotonic clock; waits for it."""
        return int(self.server.line("pouring", LONGEST_S))


@dataclass(frozen=True, slots=True)
class Race:
    """The feeds and one Redis, which the sides use in turn."""

    context: Context
    feed: Feed
    peer_feed: Feed
    redis: RedisServer

    def ours(self, watched: Callable[[int], AbstractContextManager[None]] = lambda port: nullcontext()) -> float:
        """Trades a second by `spillway run`. `watched`: what goes on beside it, given the port of its metrics."""
        self.redis.clear()
        folder, port = self.context.folder("run"), free_port()
        config = folder / "spillway.yaml"
        config.write_text(yaml.safe_dump(self._settings(folder, port)))
        with module("spillway", "run", "-c", config, log=folder / "spillway run.log") as service, watched(port):
            rate = _rate(self.feed, service, self._in_our_window)
        asyncio.run(_verify(self.redis.url, self.feed.count))
        return rate

    def cryptofeed(self) -> float:
        """Trades a second by cryptofeed's TradeRedis."""
        self.redis.clear()
        folder, program = self.context.folder("cryptofeed"), Path(__file__).with_name("cryptofeed_client.py")
        command: list[str | Path] = [peers.cryptofeed_python(), program, str(self.peer_feed.port), str(self.redis.port)]
        with running([*command, folder / "feed.log"], folder / "cryptofeed.log") as client:
            return _rate(self.peer_feed, client, lambda: int(self.redis.client.zcard(PEER_KEY)))

    def sink(self) -> float:
        """Trades a second by receiving and decoding alone."""
        port, count = self.feed.port, self.feed.count
        with module("bench.sink", port, count, log=self.context.folder("sink") / "sink.log") as reader:
            began = self.feed.began()
            return count / (int(reader.line("done", LONGEST_S)) - began) * 1e9

    def _in_our_window(self) -> int:
        state = self.redis.client.hget(CURSOR, "state")
        return int(msgspec.json.decode(state)["trades"]) if isinstance(state, bytes) else 0

    def _settings(self, folder: Path, http_port: int) -> dict[str, object]:
        collect = {
            "venue": INSTRUMENT.venue,
            "symbols": [INSTRUMENT.symbol],
            "ws_url": f"ws://127.0.0.1:{self.feed.port}",
            "rest_url": f"http://127.0.0.1:{free_port()}",  # nothing is missed, so nothing is asked for
        }
        return {
            "data_dir": str(folder / "data"),
            "redis": {"url": self.redis.url},
            "http": {"port": http_port},
            "collect": [collect],
        }


def rows(context: Context) -> list[Row]:
    """The rows `ingest` and `sink`."""
    ours, reading = Samples("ours", Unit.RATE), Samples("receiving and decoding only", Unit.RATE)
    peer = Samples(f"cryptofeed {peers.cryptofeed_version()} TradeRedis", Unit.RATE)
    missing = _peer_missing()
    with race_of(context, QUICK_COUNT if context.quick else COUNT) as race:
        sides = [(ours, race.ours), (reading, race.sink)] + ([] if missing else [(peer, race.cryptofeed)])
        take_turns(context.runs, *sides)
    source = "recorded Binance trades" if recorded() else "made-up trades"
    count, fewer = race.feed.count, race.peer_feed.count
    note = f"{count:,} aggTrade frames of {source}, as many to a minute as there were; cryptofeed gets the first {fewer:,}"
    work = "loopback exchange -> parsed -> in Redis, trades/s a process"
    return [
        Row(work, ours, None if missing else peer, Target(8), note, missing),
        Row("the same, against the frames alone", ours, reading, Target(0.25)),
    ]


def _peer_missing() -> str:
    try:
        peers.cryptofeed_python()
    except peers.NotInstalled as missing:
        return str(missing)
    return ""


@contextmanager
def race_of(context: Context, count: int) -> Iterator[Race]:
    """A race over so many trades."""
    with (
        redis_server(context.folder("redis")) as server,
        _feed(context, count) as feed,
        _feed(context, int(count * PEER_SHARE)) as peer_feed,
    ):
        yield Race(context, feed, peer_feed, server)


@contextmanager
def _feed(context: Context, count: int) -> Iterator[Feed]:
    with module("bench.feed", count, "aggTrade", log=context.folder("feed") / "feed.log") as server:
        yield Feed(server, int(server.line("ready", LONGEST_S)), count)


def _rate(feed: Feed, client: Child, stored: Callable[[], int]) -> float:
    """Trades a second from the feed's first frame until Redis holds all of them."""
    began, found = feed.began(), 0
    while (found := stored()) < feed.count:
        client.check()
        if time.monotonic_ns() - began > LONGEST_S * 1e9:
            raise BenchError(f"{client.log.stem}: only {found:,} of {feed.count:,} trades came: {client.complaint()}")
        time.sleep(LOOK_S)
    return feed.count / (time.monotonic_ns() - began) * 1e9


async def _verify(url: str, count: int) -> None:
    """BenchError unless the window's minutes hold just so many trades."""
    window = RedisWindow.connect(url)
    try:
        minutes = await window.sealed_minutes(INSTRUMENT)
        sealed = await window.sealed(INSTRUMENT, minutes)
        found = sum(codec.split(codec.decompress(value, "sealed"), "sealed").head.trade_count for value in sealed.values())
        found += sum(minute.totals[3] for minute in await window.open_minutes(INSTRUMENT))
    finally:
        await window.close()
    if found != count:
        raise BenchError(f"{found:,} trades are in the window's minutes, and {count:,} were sent")
