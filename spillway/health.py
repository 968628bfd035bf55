"""Whether the service is alive, and whether it does what it is for: a reason for each thing that it isn't."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from pipeline.errors import SpillwayError
from pipeline.instrument import Instrument
from pipeline.minute import minute_text
from pipeline.trade import NS_PER_MINUTE, NS_PER_S
from pipeline.window_facts import require_writable
from spillway.app import App
from spillway.collecting import Collection
from spillway.loop_lag import LoopLag
from spillway.survey import Survey
from spillway.tally import Tally

LIMIT_S = 2.0  # for each check
ASLEEP_S = 30.0  # the event loop's own task was not woken for so long
STUCK_S = 3600.0  # a job that runs for longer than this and than ten of its intervals
SPILL_SLACK_S = 600.0  # how late a minute may leave the window
STALE_S = 60.0  # a survey that old tells nothing

Probe: TypeAlias = Callable[[], Awaitable[str]]  # what is wrong; empty: nothing


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what is wrong with it."""

    name: str
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that was looked at."""

    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For machines: `{"ok": ..., "checks": [{"name", "ok", "reason"}]}`."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


async def checked(probes: Mapping[str, Probe], limit_s: float = LIMIT_S) -> Report:
    """Makes all checks at once. One that takes longer than the limit, or fails itself, is not ok: it never hangs."""
    return Report(await asyncio.gather(*(_check(name, probe, limit_s) for name, probe in probes.items())))


async def _check(name: str, probe: Probe, limit_s: float) -> Check:
    try:
        async with asyncio.timeout(limit_s):
            reason = await probe()
    except TimeoutError:
        reason = f"no answer within {limit_s:g} s"
    except SpillwayError as error:
        reason = str(error)
    except Exception as error:  # whatever it is, the other checks are worth telling
        reason = f"{type(error).__name__}: {error}"
    return Check(name, not reason, reason)


@dataclass(frozen=True, slots=True)
class Health:
    """What the service's health is read from."""

    app: App
    collections: Sequence[Collection]
    survey: Survey
    tally: Tally
    lag: LoopLag
    parts: Mapping[str, asyncio.Task[None]]  # that run as long as the service does
    clock_ns: Callable[[], int] = time.time_ns

    async def alive(self) -> Report:
        """Whether the event loop runs and nothing died or hangs: a service of which this isn't so has to be started again."""
        return await checked({"event loop": _sync(self._loop), "parts": _sync(self._parts), "jobs": _sync(self._jobs)})

    async def ready(self) -> Report:
        """Whether all is collected, and stored safely."""
        return await checked(
            {
                "collecting": _sync(self._collecting),
                "lease": _sync(self._leases),
                "redis": self._redis,
                "spill": _sync(self._spill),
                "disk": _sync(self._disk),
            }
        )

    def lacking(self) -> str:
        """What is missing for all to be collected; empty where nothing is."""
        return "; ".join([*self._collecting(), *self._leases()])

    # --- alive ----------------------------------------------------------------------------------------------------------

    def _loop(self) -> Iterator[str]:
        late_s = asyncio.get_running_loop().time() - self.lag.woken
        if self.lag.woken and late_s > ASLEEP_S:
            yield f"was not woken for {late_s:.0f} s"

    def _parts(self) -> Iterator[str]:
        if not self.parts:
            yield "not started yet"
        yield from (f"{name} has ended" for name, task in self.parts.items() if task.done())

    def _jobs(self) -> Iterator[str]:
        for name, job in self.tally.jobs.items():
            took_s = time.monotonic() - job.began_s if job.began_s is not None else 0.0
            if took_s > max(STUCK_S, 10 * job.every_s):
                yield f"{name} has been running for {took_s:.0f} s"

    # --- ready ----------------------------------------------------------------------------------------------------------

    def _collecting(self) -> Iterator[str]:
        for collection in self.collections:
            venue = collection.entry.venue
            yield from (f"{venue}: {symbol} is refused: {reason}" for symbol, reason in collection.all_refused.items())
            yield from (f"{venue}: not connected" for each in collection.collectors if not each.connected)

    def _leases(self) -> Iterator[str]:
        for collection in self.collections:
            known = {*collection.feeds, *collection.all_refused}
            idle = [symbol for symbol in collection.entry.symbols if symbol not in known]
            if idle:
                yield f"{collection.entry.venue}: standing by for {', '.join(idle)}"

    async def _redis(self) -> str:
        await require_writable(self.app.window)
        found = self.survey.redis
        if found and not found.keeps_all:
            return "it evicts keys when it is full: expected maxmemory-policy noeviction"
        return "it doesn't append what it is told to its file: a restart would lose it" if found and not found.persists else ""

    def _spill(self) -> Iterator[str]:
        now_s, settings = self.clock_ns() / NS_PER_S, self.app.settings
        slack_s = max(SPILL_SLACK_S, 3 * settings.schedule.spill_every_s)
        if self.survey.seen_ns and now_s - self.survey.seen_ns / NS_PER_S > STALE_S:
            yield "the window could not be looked at lately"
        for instrument in self._instruments():
            fill = self.survey.fills.get(instrument)
            if fill is None or fill.oldest is None:
                continue
            late_s = now_s - fill.oldest * NS_PER_MINUTE / NS_PER_S - settings.redis.window_hours * 3600
            if late_s > slack_s:
                yield f"{instrument}: {minute_text(fill.oldest)} should have left the window {late_s / 60:.0f} minutes ago"

    def _disk(self) -> Iterator[str]:
        least = self.app.settings.archive.warn_free_bytes
        told: set[int] = set()
        for disk in self.survey.disks.values():
            if disk.free < least and disk.id not in told:
                told.add(disk.id)
                yield f"{disk.path}: {disk.free:,} bytes are free, less than the {least:,} that should be"

    def _instruments(self) -> list[Instrument]:
        return [Instrument(c.entry.venue, symbol) for c in self.collections for symbol in c.entry.symbols]


def _sync(look: Callable[[], Iterator[str]]) -> Probe:
    async def probe() -> str:
        return "; ".join(look())

    return probe
