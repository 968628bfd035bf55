"""What systemd is told of the service: that it is ready, that it is alive, that it stops. Elsewhere nobody is told anything."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from spillway.collecting import pause
from spillway.health import Report

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Notices:
    """The socket that systemd listens on, and how often it wants to hear that the service is alive; 0: never."""

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notices:
        """As systemd says in the environment."""
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "0")
        return cls(environ.get("NOTIFY_SOCKET", ""), int(usec) / US_PER_S if mine and usec.isdigit() else 0.0)

    def tell(self, *lines: str) -> None:
        """Sends a notice. Where it can't be sent nothing is lost."""
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.sendto("\n".join(lines).encode(), address)

    async def run(self, stop: asyncio.Event, alive: Callable[[], Awaitable[Report]]) -> None:
        """Says that the service is ready, and until `stop` that it is alive: only while that is so."""
        self.tell("READY=1")
        while not stop.is_set():
            report = await alive()
            if report.ok:
                self.tell("WATCHDOG=1")
            else:
                self.tell("STATUS=" + "; ".join(f"{c.name}: {c.reason}" for c in report.checks if not c.ok))
            await pause(stop, self.watchdog_s / 3 if self.address and self.watchdog_s else None)
        self.tell("STOPPING=1")
