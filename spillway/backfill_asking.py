"""The command's side where a running service writes the instrument: leaves a request, and follows it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import SpillwayError, WriterHeld
from pipeline.instrument import Instrument
from pipeline.patience import patiently
from spillway.app import App
from spillway.backfill_requests import Request, Requests, Told
from spillway.backfill_summary import BackfillSummary, unpacked
from spillway.backfill_walk import Progress
from spillway.owner import is_dead, people_name

POLL_S = 0.25
ANSWER_S = 15.0  # without a sign from whoever holds the lease: it is no service, or it hangs
FREE_S = 5.0  # without any writer: no other service takes over, and none is started again


@dataclass(slots=True)
class Asker:
    """One request, and what was seen of it."""

    app: App
    instrument: Instrument
    request: Request
    progress: Progress
    notice: Callable[[str], None]
    _requests: Requests = field(init=False)
    _beat: str = ""  # the last sign
    _beat_at: float = 0.0  # loop time
    _answered: bool = False
    _free_since: float | None = None

    def __post_init__(self) -> None:
        self._requests = Requests(self.app.window)

    async def ask(self, held: WriterHeld) -> BackfillSummary | None:
        """The service's summary; None once nobody writes the instrument any more. SpillwayError with what it ran into.

        WriterHeld where the writer doesn't answer: it is no service.
        """
        self._beat_at, self._free_since, self._answered = asyncio.get_running_loop().time(), None, False
        told = await self._put_and_look(new=True)
        try:
            while not told.over:
                holder = await patiently(lambda: self.app.window.holder(self.instrument), self.app.revive)
                if self._is_free(holder):
                    self.notice(f"nobody writes {self.instrument} any more: going on here")
                    return None
                await self._see(told, holder, held)
                await asyncio.sleep(POLL_S)
                told = await self._put_and_look()
        except asyncio.CancelledError:
            if self._answered:
                self.notice("the service goes on with it; run this again to see it finish")
            raise
        return await self._outcome(told)

    async def done_here(self) -> None:
        """This process fetched the range itself: it is asked for no more."""
        await patiently(lambda: self._requests.withdraw(self.instrument, self.request), self.app.revive)

    # --- inside ---------------------------------------------------------------------------------------------------------

    async def _put_and_look(self, *, new: bool = False) -> Told:
        """Again and again: a Redis that went back, or that is new, must not forget it."""
        await patiently(lambda: self._requests.put(self.instrument, self.request, new=new), self.app.revive)
        return await patiently(lambda: self._requests.told(self.instrument, self.request), self.app.revive)

    def _is_free(self, holder: str | None) -> bool:
        """Whether nobody has written it for a while: a standby takes over sooner."""
        now = asyncio.get_running_loop().time()
        if holder and not is_dead(holder):
            self._free_since = None
            return False
        self._free_since = now if self._free_since is None else self._free_since
        self._beat_at = now  # who comes next has as long to answer
        return now - self._free_since >= FREE_S

    async def _see(self, told: Told, holder: str | None, held: WriterHeld) -> None:
        now = asyncio.get_running_loop().time()
        if told.beat != self._beat:
            self._beat, self._beat_at = told.beat, now
            self._greet(holder)
        elif now - self._beat_at >= ANSWER_S:
            await self._give_up(held)
        if told.what:
            self.progress(told.what, told.done, told.total, told.note)

    def _greet(self, holder: str | None) -> None:
        if not self._answered and holder:
            self._answered = True
            self.notice(f"{self.instrument} is written by {people_name(holder)}: it fetches this beside its live trades")

    async def _give_up(self, held: WriterHeld) -> None:
        if self._answered:
            raise SpillwayError(f"{held}: it has given no sign for {ANSWER_S:g} s; it is still asked for this")
        await self.done_here()
        raise WriterHeld(f"{held} (it doesn't answer, so that it is no `spillway run` of this version)")

    async def _outcome(self, told: Told) -> BackfillSummary:
        await patiently(lambda: self._requests.read(self.instrument, self.request), self.app.revive)
        if told.state == "failed":
            raise SpillwayError(told.outcome)
        return unpacked(told.outcome.encode())
