"""An exchange on loopback that speaks as one of the venues does: websocket and REST history of given trades, with faults.

It isn't faster than its readers, unless a rate says so, and its trades are one tape for all connections: what happens while
nobody is connected is told by REST only, as it is with a real exchange.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Self

from aiohttp import web
from picows import (
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from collectors.simulator.answers import Answers
from collectors.simulator.audience import Audience
from collectors.simulator.client import Client
from collectors.simulator.faults import Fault, Faults, Plan
from collectors.simulator.spoil import Malformed
from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Tape
from collectors.simulator.wires.wires import WIRES

_HOST = "127.0.0.1"
_BLOCK = 400  # trades to a write
_TICK_S = 0.005  # how exactly a rate is kept


class Simulator:
    """One simulated venue with ports of its own. Use it as a context; its tape starts with the first subscription.

    `rate`: trades a second, or None for as fast as the readers take them. `cut_every`: so many trades to a connection, then it
    is cut within a frame, with no close frame. `lossy`: the tape goes on while nobody listens: by the clock where there is
    a rate, else by `missed` trades after each end of a connection that it made. The last trade always waits for a reader, who
    then knows what lacks. `unsent`: ids that the stream skips. `unkept`: ids that history doesn't have. `prepared`: encodes all
    frames beforehand. `faults`: what else goes wrong; may be set anew at any time. `idle_s`: a client that says nothing for so
    long, not even a ping, is closed. `beat_s`: how often a venue sends its heartbeats. `past`: all trades have
    happened, and only history tells of them.
    """

    def __init__(
        self,
        trades: Iterable[SimTrade],
        *,
        venue: str = "binance",
        rate: float | None = None,
        cut_every: int | None = None,
        lossy: bool = True,
        missed: int = 500,
        unsent: Container[int] = (),
        unkept: Container[int] = (),
        prepared: bool = False,
        faults: Faults | None = None,
        idle_s: float = math.inf,
        beat_s: float = 1.0,
        past: bool = False,
    ) -> None:
        self.ws_url = self.rest_url = ""  # set on entering
        self.done = asyncio.Event()  # all trades have happened
        self.upgrade_answers: deque[tuple[int, dict[str, str]]] = deque()  # (status, headers) for the next upgrades
        self.befell: Counter[str] = Counter()  # how often each fault happened
        self._wire = WIRES[venue]
        self._tape = Tape(trades, unkept)
        self._tape.at = len(self._tape.trades) if past else 0
        self._rate, self._cut_every, self._lossy, self._missed = rate, cut_every, lossy, missed
        self._plan = Plan(faults or Faults())
        self._answers = Answers(self._wire, self._tape, lambda: self._plan, self.befell)
        self._audience = Audience(self._wire, self._tape, unsent, prepared=prepared)
        self._idle_s, self._beat_s = idle_s, beat_s
        self._to_cut = cut_every

    async def __aenter__(self) -> Self:
        self._server = await ws_create_server(self._on_upgrade, _HOST, 0, enable_auto_pong=False)
        self.ws_url = f"ws://{_HOST}:{self._server.sockets[0].getsockname()[1]}"
        self._runner = web.AppRunner(self._answers.app(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, 0).start()
        self.rest_url = f"http://{_HOST}:{self._runner.addresses[0][1]}"
        self._tasks = [asyncio.create_task(self._run(), name="simulator"), asyncio.create_task(self._keep(), name="beats")]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._audience.disconnect()
        self._server.close()
        await self._server.wait_closed()
        await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        return self._audience.connections

    @property
    def listeners(self) -> int:
        """Connections open now."""
        return len(self._audience)

    @property
    def requests(self) -> int:
        """REST requests so far."""
        return self._answers.requests

    @property
    def rest_answers(self) -> deque[tuple[int, dict[str, str]]]:
        """(status, headers) for the next REST requests."""
        return self._answers.next

    @property
    def happened(self) -> Sequence[SimTrade]:
        """The trades so far."""
        return self._tape.trades[: self._tape.at]

    @property
    def lost(self) -> list[SimTrade]:
        """Trades that were neither told nor kept."""
        return [self._tape.trades[place] for place in sorted(self._tape.lost)]

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on."""
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._plan = Plan(faults, self._tape.at)

    def cut(self) -> None:
        """Cuts all connections within a frame, without a close frame."""
        self._audience.cut()

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Closes all connections with a close frame."""
        self._audience.close(code, reason)

    def silence(self) -> None:
        """Sends nothing more on the connections there are."""
        self._audience.silence()

    def slow_down(self, size: int) -> None:
        """Lets the next `size` bytes of each connection trickle."""
        self._audience.slow_down(size)

    def say(self, payload: bytes) -> None:
        """Sends any text to all."""
        self._audience.say(payload)

    # --- the tape -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        present = self._audience.present
        await present.wait()
        clock = asyncio.get_running_loop().time
        began, tape = clock(), self._tape
        while tape.at < len(tape.trades):
            absent = clock()
            while self._waits_for_client() and not present.is_set():
                await present.wait()
                began += 0.0 if self._lossy else clock() - absent
            due = _BLOCK if self._rate is None else int((clock() - began) * self._rate) + 1 - tape.at
            if due <= 0:
                await asyncio.sleep(_TICK_S)
                continue
            self._happen(min(due, _BLOCK))
            await self._audience.written()
        self.done.set()

    def _waits_for_client(self) -> bool:
        return self._rate is None or not self._lossy or self._tape.at == len(self._tape.trades) - 1

    def _happen(self, count: int) -> None:
        """The next trades, up to the next fault; then that fault."""
        room = self._plan.room(self._tape.at)
        self._tell(count if room is None else min(count, room))
        for fault in self._plan.due(self._tape.at):
            self.befell[fault.value] += 1
            self._befall(fault)
        if self._plan.giant_due(self._tape.at):
            self.befell["giant"] += 1
            self._audience.pad(self._plan.faults.giant_bytes)

    def _tell(self, count: int, order: Callable[[list[int]], None] | None = None) -> None:
        """The next trades, up to the next cut, or to the last one while nobody would see it; in their order or another."""
        tape, watched = self._tape, self._audience.present.is_set()
        count = min(count, len(tape.trades) - tape.at - (not watched))
        if watched and self._to_cut is not None:
            count = min(count, self._to_cut)
        places = list(range(tape.at, tape.at + count))
        if order is not None:
            order(places)
        self._audience.tell(places)
        tape.at += count
        if watched and self._to_cut is not None:
            self._to_cut -= count
            if not self._to_cut and tape.at < len(tape.trades):
                self._to_cut = self._cut_every
                self.cut()
                self._miss()

    def _miss(self) -> None:
        """What happens between a connection and the next one."""
        if self._lossy and self._rate is None and not self._audience.present.is_set():
            self._tell(self._missed)

    def _befall(self, fault: Fault) -> None:
        faults, dice, at = self._plan.faults, self._plan.dice(fault.value), self._tape.at
        match fault:
            case Fault.CUT | Fault.CLOSE | Fault.SILENCE:
                {Fault.CUT: self.cut, Fault.CLOSE: self.close, Fault.SILENCE: self.silence}[fault]()
                self._miss()
            case Fault.SLOW:
                self.slow_down(faults.slow_bytes)
            case Fault.AGAIN:
                first = max(0, at - dice.randint(1, faults.again_back))
                last = min(at, first + dice.randint(1, faults.again_back))
                # What a new listener never heard comes as venues tell it at a subscription: without a hole up to now.
                self._audience.tell(range(first, last if first >= self._audience.since else at))
            case Fault.DISORDER:
                self._tell(faults.disorder_trades, dice.shuffle)
            case Fault.HOLE | Fault.LOSS:
                hole = range(at, min(at + dice.randint(1, faults.hole_trades), len(self._tape.trades) - 1))
                self._audience.holes.update(hole)
                self._tape.lost.update(hole if fault is Fault.LOSS else ())
            case Fault.MALFORMED:
                self._audience.spoil(dice.choice(list(Malformed)), dice)
            case Fault.HUGE:
                self._audience.pad(faults.huge_bytes)

    # --- connections ----------------------------------------------------------------------------------------------------

    def _on_upgrade(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        path = request.path.decode()
        if self._wire.paths and path.partition("?")[0] not in self._wire.paths:
            return _refused(404, {})
        if self.upgrade_answers:
            return _refused(*self.upgrade_answers.popleft())
        if self._happens("refuse"):
            retry = {"Retry-After": str(self._plan.faults.retry_after_s)}
            return _refused(*self._plan.dice("refuse").choice([(503, {}), (429, retry)]))
        return Client(self._audience, self._wire.session(self._tape, path), slam=self._happens("slam"))

    def _happens(self, fault: str) -> bool:
        happens = self._plan.chance(fault)
        self.befell[fault] += happens
        return happens

    async def _keep(self) -> None:
        """Heartbeats, and the end of those who never say anything."""
        while True:
            await asyncio.sleep(min(self._beat_s, self._idle_s / 4))
            self._audience.beat()
            self._audience.close_idle(self._idle_s)


def _refused(status: int, headers: dict[str, str]) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, b"", headers), None)
