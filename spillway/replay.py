"""A tape through the same path as live trades, by the tape's own clock, as fast as it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path

from collectors.tapes.tape import NotInTape, Tape, TapeBlock, open_tape
from pipeline.errors import TapeError
from pipeline.instrument import IdRule, Instrument, id_rule
from pipeline.minute import Gap, IdRange, minute_text
from pipeline.schedule import Job, Schedule
from pipeline.spill import Failure
from pipeline.trade import NS_PER_MINUTE, Reject
from pipeline.writer import Counts, Writer
from sinks.dead_letters import DeadLetters, for_tape
from sinks.ledger.ledger import open_ledger, read_ledger
from spillway.app import App

BLOCK_ROWS = 32_768
BLOCKS_AHEAD = 2  # read while the ones before are summed: enough to keep both busy, and memory flat
RENEW_S = 1.0

Progress = Callable[[str, int, int, int], None]  # tape, bytes read, bytes in all, trades read so far


@dataclass(slots=True)
class ReplaySummary:
    """What became of the tapes."""

    instrument: Instrument
    rows: int = 0
    counts: Counts = field(default_factory=Counts)
    spilled: int = 0
    failures: list[Failure] = field(default_factory=list)
    gap_ids: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)  # file -> rows
    reasons: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what the user should know of the tapes
    first_minute: int | None = None
    last_minute: int | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Replay:
    """One replay of tapes into an instrument."""

    app: App
    instrument: Instrument
    rule: IdRule
    price_group: Decimal | None
    progress: Progress
    summary: ReplaySummary
    _spilling: asyncio.Task[None] | None = None
    _letters: DeadLetters | None = None

    async def run(self, tapes: Sequence[Tape]) -> ReplaySummary:
        """Plays the tapes in their order. If Redis went back meanwhile, they begin again: what is in, is dropped as seen."""
        started = time.perf_counter()
        stream = next((t.stream for t in tapes if t.stream), "")
        writer = await self.app.writer(
            self.instrument, self.rule, self._reject, clock="tape", stream=stream, price_group=self.price_group
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(_keep_lease(writer), name="lease")
                while not await self._play(tapes, writer):
                    self.summary.rows = 0
                renewing.cancel()
            await writer.stop()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await writer.abandon()
            await self._spilled()
        await self._spill(writer.watermark_ns)
        self.summary.counts = writer.counts
        gaps = writer.gaps()
        self.summary.gap_ids = sum(map(len, gaps))
        await asyncio.to_thread(self._write_gaps, gaps, writer.known_ids())
        self.summary.seconds = time.perf_counter() - started
        return self.summary

    async def _play(self, tapes: Sequence[Tape], writer: Writer) -> bool:
        """Plays all tapes once; False if Redis went back meanwhile, so that they must be played again."""
        schedule = Schedule([Job("spill", self.app.settings.schedule.spill_every_s, self._spill_soon)], _raise)
        rewinds = writer.counts.rewinds
        for tape in tapes:
            self._letters = for_tape(self.app.settings.dead_letter_dir, self.instrument, tape.path)
            latest_ns = 0
            async for block in _ahead(tape.blocks(BLOCK_ROWS)):
                latest_ns = self._check_order(tape, block, latest_ns)
                await self._take(tape, block, writer)
                await schedule.advance(writer.watermark_ns)
                if writer.counts.rewinds != rewinds:
                    return False
            self._note(self._letters)
        # No more comes for minutes that were opened again. And a Redis that went back only now is noticed, while the tape can
        # be played again.
        await writer.flush(writer.watermark_ns + writer.options.grace_ns, check=True)
        await writer.settle()
        return writer.counts.rewinds == rewinds

    async def _take(self, tape: Tape, block: TapeBlock, writer: Writer) -> None:
        if block.rejects and self._letters:
            writer.counts.rejected += len(block.rejects)
            await self._letters.put(block.rejects)
        await writer.take(block.trades, block.raws)
        await writer.flush()
        self.summary.rows += len(block.trades.ts_ns) + len(block.rejects)
        self._extend(block)
        self.progress(tape.path.name, block.done_bytes, tape.total_bytes, self.summary.rows)

    def _check_order(self, tape: Tape, block: TapeBlock, latest_ns: int) -> int:
        """With opaque ids only time tells what was taken: a tape that runs backwards can't be told from one seen before."""
        times = block.trades.ts_ns[block.trades.ts_ns > 0]
        if not len(times):
            return latest_ns
        if self.rule is IdRule.OPAQUE and latest_ns - int(times.min()) > NS_PER_MINUTE:
            raise TapeError(
                f"{tape.path}: times run backwards by more than a minute, and the ids of {self.instrument.venue} prove no "
                "order: sort the tape by time, or say what its ids prove (--ids monotonic or contiguous)"
            )
        return max(latest_ns, int(times.max()))

    async def _reject(self, rejects: list[Reject]) -> None:
        if self._letters:
            await self._letters.put(rejects)

    def _note(self, letters: DeadLetters) -> None:
        if letters.count:
            self.summary.dead_letters[str(letters.path)] = letters.count
        for reason, count in letters.reasons.items():
            self.summary.reasons[reason] = self.summary.reasons.get(reason, 0) + count

    def _extend(self, block: TapeBlock) -> None:
        times = block.trades.ts_ns[block.trades.ts_ns > 0]
        if len(times):
            first, last = int(times.min()) // NS_PER_MINUTE, int(times.max()) // NS_PER_MINUTE
            summary = self.summary
            summary.first_minute = first if summary.first_minute is None else min(first, summary.first_minute)
            summary.last_minute = last if summary.last_minute is None else max(last, summary.last_minute)

    def _write_gaps(self, gaps: list[Gap], known: IdRange | None) -> None:
        """Brings the ledger to what the tapes left missing, and what they filled. Where nothing ever was, none is made."""
        url = self.app.settings.ledger_url
        made = read_ledger(url)
        if made:
            made.close()
        if made or gaps:
            with open_ledger(url) as ledger:
                ledger.gaps.reconcile(self.instrument, gaps, time.time_ns(), known=known)

    # --- spilling while the tape runs -----------------------------------------------------------------------------------

    async def _spill_soon(self, now_ns: int) -> None:
        """Spills beside the summing; one at a time, and a run that comes while one is under way is made up by the next."""
        if self._spilling is None or self._spilling.done():
            await self._spilled()
            self._spilling = asyncio.create_task(self._spill(now_ns), name="spill")

    async def _spilled(self) -> None:
        task, self._spilling = self._spilling, None
        if task:
            await task

    async def _spill(self, now_ns: int) -> None:
        if now_ns:
            report = await self.app.spill(now_ns=now_ns, only=self.instrument)
            self.summary.spilled += report.written
            self.summary.failures = report.failures


async def replay(
    app: App,
    paths: Sequence[Path],
    instrument: Instrument,
    *,
    columns: Mapping[str, str] | None = None,
    rule: IdRule | None = None,
    price_group: Decimal | None = None,
    progress: Progress = lambda tape, done, total, rows: None,
) -> ReplaySummary:
    """Replays tapes into an instrument. TapeError before anything is written, if one of them can't be recognised."""
    tapes, notes = _opened(paths, instrument, columns)
    streams = {t.stream for t in tapes if t.stream}
    if len(streams) > 1:
        kinds = ", ".join(sorted(streams))
        raise TapeError(f"{instrument}: the tapes hold ids of different sequences ({kinds}): replay one kind at a time")
    summary = ReplaySummary(instrument, notes=notes)
    job = Replay(app, instrument, _rule(rule, tapes, instrument), price_group, progress, summary)
    return await job.run(tapes)


def _opened(paths: Sequence[Path], instrument: Instrument, columns: Mapping[str, str] | None) -> tuple[list[Tape], list[str]]:
    """The tapes, and what there is to say of them. Of a recording's files some may have no trade of the symbol, but not all."""
    tapes: list[Tape] = []
    quiet: list[NotInTape] = []
    for path in paths:
        try:
            tapes.append(open_tape(path, instrument, columns=columns))
        except NotInTape as none:
            quiet.append(none)
    if quiet and not tapes:
        raise quiet[0]
    return tapes, [*(f"{tape.path}: {tape.note}" for tape in tapes if tape.note), *(f"passed over: {none}" for none in quiet)]


def _rule(asked: IdRule | None, tapes: Sequence[Tape], instrument: Instrument) -> IdRule:
    """What the tapes' ids prove: names prove nothing, whatever the venue's numbers would."""
    named = next((t for t in tapes if t.named_ids), None)
    if named is None:
        return asked or id_rule(instrument.venue)
    if asked and asked is not IdRule.OPAQUE:
        raise TapeError(f"{named.path}: its ids are names and not numbers: expected --ids opaque, not {asked}")
    return IdRule.OPAQUE


def describe(summary: ReplaySummary) -> list[str]:
    """A summary for people, line by line."""
    c = summary.counts
    rate = summary.rows / summary.seconds if summary.seconds else 0
    lines = [f"{summary.instrument}: {summary.rows:,} rows read in {summary.seconds:.2f} s ({rate:,.0f}/s)"]
    if summary.first_minute is not None and summary.last_minute is not None:
        lines[0] += f", {minute_text(summary.first_minute)} to {minute_text(summary.last_minute)} UTC"
    lines.append(
        f"{c.taken:,} trades taken, {c.duplicates:,} seen before, {c.late:,} late, {c.rejected:,} in the dead letters; "
        f"{c.sealed:,} minutes sealed, {summary.spilled:,} spilled"
    )
    lines += [f"dead letters: {count:,} x {reason}" for reason, count in sorted(summary.reasons.items())]
    lines += [f"dead letters: {file}" for file in summary.dead_letters]
    lines += [f"note: {note}" for note in summary.notes]
    if summary.gap_ids:
        lines.append(f"missing: {summary.gap_ids:,} trade ids were never seen; their minutes are marked degraded")
    return lines


def as_dict(summary: ReplaySummary) -> dict[str, object]:
    """A summary for machines."""
    return {
        "venue": summary.instrument.venue,
        "symbol": summary.instrument.symbol,
        "rows": summary.rows,
        **asdict(summary.counts),
        "spilled": summary.spilled,
        "failed": len(summary.failures),
        "missing_ids": summary.gap_ids,
        "dead_letters": summary.dead_letters,
        "reasons": summary.reasons,
        "notes": summary.notes,
        "seconds": round(summary.seconds, 3),
    }


async def _ahead(blocks: Iterator[TapeBlock]) -> AsyncIterator[TapeBlock]:
    """Reads a few blocks ahead in a thread, so that reading and summing overlap."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[asyncio.Future[TapeBlock | None]] = asyncio.Queue(BLOCKS_AHEAD)

    async def read() -> None:
        while True:
            future = loop.run_in_executor(None, next, blocks, None)
            await ready.put(future)
            if await asyncio.wait({future}) and (future.exception() or future.result() is None):
                return

    reader = asyncio.create_task(read(), name="tape reader")
    try:
        while (block := await (await ready.get())) is not None:
            yield block
    finally:
        reader.cancel()
        await asyncio.wait({reader})


async def _keep_lease(writer: Writer) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        await writer.renew()


def _raise(name: str, error: BaseException) -> None:
    raise error
