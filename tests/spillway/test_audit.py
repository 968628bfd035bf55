"""The audit: 0 whatever moves, and not 0 as soon as anything is missing, too much, or another than was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline import codec
from pipeline.conserved import Sums
from pipeline.instrument import IdRule
from pipeline.minute import Minute, day_of
from pipeline.trade import NS_PER_MINUTE, Trade
from pipeline.writer import Writer
from spillway import audit as audit_module
from spillway.app import App, opened
from spillway.audit import Audit
from spillway.compact import compact_finished, merge_months
from spillway.retention import remove_expired
from spillway.settings import Archive, Settings
from tests.pipeline.builders import BTC, START, START_NS, raw, raws, stream, trade

MANY_DAYS_ON = START_NS + 60 * 1440 * NS_PER_MINUTE
TRADES = stream(600, every_s=2)  # 20 minutes
SEALED = f"trades_window:{BTC.tag}:sealed"


@asynccontextmanager
async def writing(folder: Path, **archive: float) -> AsyncIterator[tuple[App, Writer]]:
    async with opened(Settings(data_dir=folder, archive=Archive.model_validate(archive))) as app:
        writer = await app.writer(BTC, IdRule.CONTIGUOUS, refuse, clock="tape")
        try:
            yield app, writer
        finally:
            await writer.abandon()


async def refuse(rejects: object) -> None:
    raise AssertionError(rejects)


async def take(writer: Writer, *trades: Trade, everything: bool = False) -> None:
    await writer.take(raw(*trades), raws)
    await writer.flush(everything=everything)
    await writer.settle()


async def imbalance(audit: Audit, epoch: object = 0) -> Sums:
    assert await audit.run(1, lambda: epoch)
    return audit.imbalance


async def test_nothing_is_missing_wherever_the_minutes_are_moved(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES[:100])
        assert not any(await imbalance(audit)), "the baseline"
        await take(writer, *TRADES[100:400])
        assert not any(await imbalance(audit))
        await app.spill(everything=True)
        assert not any(await imbalance(audit))
        await take(writer, *TRADES[400:], everything=True)
        await app.spill(everything=True)
        assert not any(await imbalance(audit))
        assert [report.merged for report in await compact_finished(app, MANY_DAYS_ON)] == [20]
        assert not any(await imbalance(audit))
        late = replace(trade(601, "0:30"), size=Decimal("0.00000000000000000007"))
        await take(writer, late)
        assert not any(await imbalance(audit)), "a minute of the archive, opened again"
        await take(writer, everything=True)
        assert not any(await imbalance(audit)), "sealed again"
        await app.spill(everything=True)
        assert not any(await imbalance(audit)), "in a file beside the archive"
        assert audit._baseline == Sums()
        accepted = Sums.of_state((await app.window.cursor(BTC)).state)  # type: ignore[union-attr]
        assert accepted.trade_count == sum(t.count for t in [*TRADES, late])
        assert accepted.total_volume == sum(t.size for t in [*TRADES, late])


async def test_days_that_are_compacted_merged_and_removed_by_retention_are_no_imbalance(tmp_path: Path) -> None:
    async with writing(tmp_path, keep_days=30) as (app, writer):
        audit = Audit(app, BTC)
        for day in range(3):
            moved = [
                replace(t, trade_id=number + 600 * day, ts_event_ns=t.ts_event_ns + day * 1440 * NS_PER_MINUTE)
                for number, t in enumerate(TRADES, 1)
            ]
            await take(writer, *moved, everything=True)
        assert not any(await imbalance(audit))
        await app.spill(everything=True)
        await compact_finished(app, MANY_DAYS_ON)
        assert not any(await imbalance(audit))
        (merged,) = await merge_months(app, MANY_DAYS_ON, wanted=True)
        assert merged.report.days == 3
        assert not any(await imbalance(audit))
        assert len((await remove_expired(app, MANY_DAYS_ON)).found) == 1
        assert app.archive.days(BTC) == []
        assert not any(await imbalance(audit))


async def test_nothing_is_missing_while_all_is_moved_at_once(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, writer):
        audit, over = Audit(app, BTC), asyncio.Event()

        async def write() -> None:
            for at in range(0, len(TRADES), 10):
                await take(writer, *TRADES[at : at + 10])
                if at:  # a late one, too: its minute is sealed, spilled or compacted
                    await take(writer, trade(10_000 + at, f"{at // 40}:15"), everything=at % 50 == 0)
            over.set()

        async def move() -> None:
            while not over.is_set():
                await app.spill(everything=True)
                await compact_finished(app, MANY_DAYS_ON)

        looks = 0
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            tasks.create_task(move())
            while not over.is_set():
                if await audit.run(1, lambda: 0):
                    looks += 1
                    assert not any(audit.imbalance), f"look {looks}"
        assert looks > 3
        assert not any(await imbalance(audit))


def sold_instead(found: Minute) -> bytes:
    """The minute with a little of what was bought now sold: its total is the same, and its checksum right."""
    price, (buy, sell, total, count) = next((p, row) for p, row in found.levels.items() if row[0])
    return codec.encode(replace(found, levels={**found.levels, price: (buy - 1, sell + 1, total, count)}))


async def in_redis(app: App) -> None:
    found = await app.window.load(BTC, START + 1)
    assert found
    await app.window.client.hset(SEALED, START + 1, codec.compress(sold_instead(found)))


async def gone_from_redis(app: App) -> None:
    assert await app.window.client.hdel(SEALED, START + 1)


async def damaged_in_redis(app: App) -> None:
    await app.window.client.hset(SEALED, START + 1, b"nonsense")


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        (in_redis, {"buy_volume", "sell_volume"}),
        (gone_from_redis, {"buy_volume", "sell_volume", "total_volume", "trade_count"}),
        (damaged_in_redis, {"buy_volume", "sell_volume", "total_volume", "trade_count"}),
    ],
)
async def test_what_is_changed_in_redis_behind_our_back_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[App], object], wrong: set[str]
) -> None:
    monkeypatch.setattr(audit_module, "ROTATE", 2)
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES)
        assert not any(await imbalance(audit))
        await harm(app)  # type: ignore[misc]
        for _ in range(2):
            found = (await imbalance(audit))._asdict()
        assert {name for name, value in found.items() if value} == wrong


def changed(path: Path) -> None:
    path.write_bytes(sold_instead(codec.decode(path.read_bytes(), str(path))))


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"revision":1', b'"revision":2'))


@pytest.mark.parametrize("harm", [changed, damaged, Path.unlink])
async def test_a_minute_file_that_is_changed_damaged_or_gone_is_found_at_the_next_look(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES, everything=True)
        await app.spill(everything=True)
        assert not any(await imbalance(audit))
        harm(app.files.path(BTC, START + 1))
        assert any(await imbalance(audit))
        assert (await imbalance(audit)) == (await imbalance(audit)), "it stays"
        assert any(await imbalance(audit, epoch=1)), "also with a new baseline"


async def test_a_day_of_the_archive_that_goes_without_retention_is_found(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES, everything=True)
        await app.spill(everything=True)
        await compact_finished(app, MANY_DAYS_ON)
        assert not any(await imbalance(audit))
        app.archive.layout.manifest(BTC, day_of(START)).unlink()
        assert (await imbalance(audit)).trade_count == -sum(t.count for t in TRADES)


async def test_another_writer_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES[:300])
        assert not any(await imbalance(audit))
        await writer.stop()
        second = await app.writer(BTC, IdRule.CONTIGUOUS, refuse, clock="tape")
        await take(second, *TRADES[200:])
        assert not any(await imbalance(audit)), "the same count goes on"
        assert not any(await imbalance(Audit(app, BTC)))
        await second.stop()


async def test_a_redis_that_went_back_is_a_new_baseline(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, writer):
        audit = Audit(app, BTC)
        await take(writer, *TRADES[:300])
        key = f"trades_window:{BTC.tag}:"
        before = {name: await app.window.client.dump(key + name) for name in ("cursor", "sealed", "seals")}
        opened_then = (await app.window.cursor(BTC)).state.open_minutes  # type: ignore[union-attr]
        levels = {start: await app.window.client.dump(f"{key}open:{start}") for start in opened_then}
        await take(writer, *TRADES[300:], everything=True)
        await app.spill(everything=True)  # files hold now what this Redis will know nothing of
        assert not any(await imbalance(audit, writer.counts.rewinds))
        for name, dumped in {**before, **{f"open:{start}": value for start, value in levels.items()}}.items():
            await app.window.client.restore(key + name, 0, dumped, replace=True)
        await writer.flush(check=True)
        await writer.settle()
        await writer.flush()
        await writer.settle()
        assert writer.counts.rewinds == 1
        assert not any(await imbalance(audit, writer.counts.rewinds))


async def test_before_anything_was_flushed_there_is_nothing_to_audit(tmp_path: Path) -> None:
    async with writing(tmp_path) as (app, _):
        audit = Audit(app, BTC)
        assert not await audit.run(1, lambda: 0)
        assert (audit.seen_ns, audit.baseline_ns) == (0, 0)
