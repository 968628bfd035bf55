"""Those who are connected to the simulated exchange, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from random import Random

from collectors.simulator.client import Client, framed
from collectors.simulator.spoil import Malformed, padded, spoiled
from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Tape
from collectors.simulator.wires.wire import Wire

_BASE = 3  # trades that a spoiled frame is made of


class Audience:
    """All connections. `unsent`: ids that aren't told to anyone. `prepared`: all frames are made beforehand."""

    def __init__(self, wire: Wire, tape: Tape, unsent: Container[int], *, prepared: bool) -> None:
        self.connections = 0  # accepted so far
        self.present = asyncio.Event()  # somebody listens
        self.since = 0  # the place on the tape where the newest listener began to listen
        self.holes: set[int] = set()  # places of trades that aren't told to anyone
        self._tape = tape
        self._unsent = unsent
        self._prepared = [framed(wire.frame(trade)) for trade in tape.trades] if prepared else None
        self._clients: set[Client] = set()

    def __len__(self) -> int:
        return len(self._clients)

    # --- called by clients ----------------------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """A client's upgrade is done."""
        self.connections += 1
        self._clients.add(client)
        self.listens(client)

    def listens(self, client: Client) -> None:
        """A client may have subscribed to something."""
        if client.session.symbols and client in self._clients and not client.silent:
            self.since = self._tape.at
            self.present.set()

    def leave(self, client: Client) -> None:
        """A client is gone."""
        self._clients.discard(client)
        client.ready.set()
        if not any(other.session.symbols and not other.silent for other in self._clients):
            self.present.clear()

    # --- what it is told ------------------------------------------------------------------------------------------------

    def tell(self, places: Iterable[int]) -> None:
        """Tells each client those of the trades that it has subscribed to."""
        for client in self._clients:
            if not client.silent:
                self._tell(client, places)

    def say(self, payload: bytes) -> None:
        """Sends any text to all."""
        for client in self._clients:
            client.say([payload])

    def spoil(self, kind: Malformed, dice: Random) -> None:
        """Sends a malformed frame."""
        for client in self._clients:
            if trades := self._recent(client):
                client.say([spoiled(kind, dice, trades, client.session.tell)])

    def pad(self, size: int) -> None:
        """Sends the last trade again in a frame of that size."""
        for client in self._clients:
            if trades := self._recent(client):
                client.say([padded(next(iter(client.session.tell(trades[-1:]))), size)])

    def beat(self) -> None:
        """Sends the venue's heartbeats."""
        for client in self._clients:
            client.say(client.session.beat())

    async def written(self) -> None:
        """Waits until all take more."""
        for client in list(self._clients):
            await client.ready.wait()
        await asyncio.sleep(0)

    # --- what is done to it ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Ends all connections within a frame, with no close frame."""
        for client in list(self._clients):
            client.cut()
            self.leave(client)

    def close(self, code: int, reason: str) -> None:
        """Ends all connections with a close frame."""
        for client in list(self._clients):
            client.close(code, reason)
            self.leave(client)

    def close_idle(self, idle_s: float) -> None:
        """Ends those that haven't been heard for so long."""
        since = asyncio.get_running_loop().time() - idle_s
        for client in [client for client in self._clients if client.heard_at < since]:
            client.close(4004, f"No data received in {idle_s:g}s.")
            self.leave(client)

    def silence(self) -> None:
        """Sends nothing more on the connections there are."""
        for client in self._clients:
            client.fall_silent()
        self.present.clear()

    def slow_down(self, size: int) -> None:
        """Lets the next `size` bytes of each connection trickle."""
        for client in self._clients:
            client.slow_down(size)

    def disconnect(self) -> None:
        """Drops all sockets."""
        for client in list(self._clients):
            client.disconnect()

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _tell(self, client: Client, places: Iterable[int]) -> None:
        session, trades = client.session, self._tape.trades
        symbols, unsent, holes = session.symbols, self._unsent, self.holes
        told = [(p, t) for p in places if (t := trades[p]).symbol in symbols and t.trade_id not in unsent and p not in holes]
        if self._prepared is not None and session.plain:
            client.write(b"".join([self._prepared[place] for place, _ in told]))
        elif told:
            client.say(session.tell([trade for _, trade in told]))

    def _recent(self, client: Client) -> list[SimTrade]:
        """The last trades of one symbol that the client has been told of, or would have been."""
        trades, found = self._tape.trades, list[SimTrade]()
        for place in range(self._tape.at - 1, self.since - 1, -1):
            trade = trades[place]
            wanted = trade.symbol == found[0].symbol if found else trade.symbol in client.session.symbols
            if wanted and place not in self.holes and trade.trade_id not in self._unsent:
                found.append(trade)
            if len(found) == _BASE:
                break
        return found[::-1]
