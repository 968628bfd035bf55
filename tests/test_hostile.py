"""Frames that no venue should send, on a live connection into a real Redis: each is a dead letter, and the connection lives."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from collectors.simulator import Simulator, synthetic_trades
from collectors.simulator.wires.wires import WIRES
from spillway.app import opened
from spillway.auditor import Auditor
from spillway.collecting import Collection
from spillway.loop_lag import LoopLag
from spillway.metrics import Parts, exposed, registry_of
from spillway.settings import Collect, Settings
from spillway.survey import Survey
from spillway.tally import Tally
from tests.test_collecting import HURRIED

MB = 1_000_000
TOLD = 200
# A venue's symbol, and the names of what a trade can't do without.
VENUES = {
    "binance": ("BTCUSDT", {"s", "t", "p", "q", "T", "m"}),
    "coinbase": ("BTC-USD", {"product_id", "trade_id", "price", "size", "time", "side"}),
    "kraken": ("BTC/USD", {"symbol", "trade_id", "price", "qty", "timestamp", "side"}),
    "bitflyer": ("BTC_JPY", {"id", "price", "size", "exec_date", "side"}),
}
FIELD = re.compile(rb'"(\w+)":("[^"]*"|-?\d[\d.eE+-]*|true|false)')


def wrong_types(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """The frame again and again, each time with another field of a wrong type; and that field's name."""
    for found in FIELD.finditer(frame):
        for wrong in (b"[1]", b'{"a":1}', b"null"):
            yield found[1].decode(), frame[: found.start(2)] + wrong + frame[found.end(2) :]


def deep(frame: bytes) -> bytes:
    """The frame with lists in lists where its first value was."""
    found = next(FIELD.finditer(frame))
    return frame[: found.start(2)] + b"[" * 10_000 + b"]" * 10_000 + frame[found.end(2) :]


def padded(frame: bytes, size: int) -> bytes:
    return frame[:-1] + b',"padding":"' + b"x" * size + b'"}'


class Hostile:
    """A venue that has told its trades, and what it may say then. Of all ids there are only the next two to be had."""

    def __init__(self, venue: str) -> None:
        self.symbol, self.needed = VENUES[venue]
        start_ns = (time.time_ns() // 60_000_000_000 - 5) * 60_000_000_000
        made = list(synthetic_trades(3, start_ns, TOLD + 2, self.symbol, trades_per_minute=200))
        self.tape, self.first, self.second = made[:TOLD], made[TOLD], made[TOLD + 1]
        self._frame = WIRES[venue].frame

    def say_all(self, say: Callable[[bytes], None]) -> tuple[int, int]:
        """Says everything. How many frames were certainly bad, and how many perhaps: the field may matter to nobody."""
        frame = self._frame(self.first)
        bad = [
            padded(frame, 50 * MB),
            deep(frame),
            self._frame(msgspec.structs.replace(self.first, price="1e400")),
            self._frame(msgspec.structs.replace(self.first, symbol=f"{self.symbol}X")),
            b"\xff\xfe" + frame,
            frame[:-7],
            b"",
        ]
        spoiled = list(wrong_types(frame))
        bad += [text for name, text in spoiled if name in self.needed]
        perhaps = [text for name, text in spoiled if name not in self.needed]
        for text in [*bad, *perhaps, frame, *bad, self._frame(self.second)]:
            say(text)
        return 2 * len(bad), len(perhaps)


@pytest.mark.parametrize("venue", VENUES)
async def test_each_hostile_frame_is_a_dead_letter_and_what_comes_after_it_is_taken(venue: str, tmp_path: Path) -> None:
    hostile = Hostile(venue)
    settings = Settings(data_dir=tmp_path / "data")
    async with opened(settings) as app, Simulator(hostile.tape, venue=venue, beat_s=600) as exchange:
        entry = Collect(venue=venue, symbols=(hostile.symbol,), ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        collection, stop = Collection(app, entry, None, tuning=HURRIED), asyncio.Event()
        run = asyncio.create_task(collection.run(stop))
        await until(run, lambda: taken(collection, hostile.symbol) == TOLD)
        bad, perhaps = hostile.say_all(exchange.say)
        await until(run, lambda: taken(collection, hostile.symbol) == TOLD + 2)
        assert (collection.total("connections"), exchange.connections, exchange.listeners) == (1, 1, 1)
        parts = Parts([collection], [], Survey(app), Tally(), LoopLag(), None, Auditor(app, [collection], stop))
        metrics = values(exposed(registry_of(parts)))
        stop.set()
        await run
    letters = [line for path in settings.dead_letter_dir.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert bad <= len(letters) <= bad + perhaps
    assert all(json.loads(line)["reason"] for line in letters)
    assert max(map(len, letters)) < 100_000, "a giant doesn't fill the disk again"
    assert metrics["spillway_dead_letters_total"] == len(letters)
    assert metrics["spillway_rejected_frames_total"] + metrics["spillway_malformed_total"] == len(letters)
    assert metrics["spillway_malformed_total"] >= 2, "1e400 is well-formed, and no price"
    told = [metrics[f"spillway_{name}_total"] for name in ("trades", "duplicates", "other_frames")]
    assert sum(told) - TOLD - 2 + len(letters) >= bad + perhaps, "nothing is silent"


async def until(run: asyncio.Task[None], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            if run.done():
                await run
            await asyncio.sleep(0.005)


def taken(collection: Collection, symbol: str) -> int:
    return collection.counts(symbol).taken


def values(text: bytes) -> dict[str, float]:
    """All samples of one venue with one symbol, by their names."""
    return {s.name: s.value for family in text_string_to_metric_families(text.decode()) for s in family.samples}


def test_the_hostile_frames_are_what_they_should_be() -> None:
    for venue in VENUES:
        hostile = Hostile(venue)
        frame = WIRES[venue].frame(hostile.first)
        assert hostile.needed <= {name for name, _ in wrong_types(frame)} | {"symbol"}
