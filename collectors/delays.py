"""When to try again, and whether at all. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_S = 3 * 86_400.0  # the longest ban that a venue documents
TEMPORARY = frozenset({408, 418, 425, 429})  # client errors by their number, but the same request may succeed later


def is_fatal(status: int) -> bool:
    """Whether an HTTP status says that the same request can't succeed later."""
    return 400 <= status < 500 and status not in TEMPORARY


def retry_after(header: str | None) -> float:
    """The seconds of a Retry-After header, three days at most; 0 where there is none (or a date, which no venue sends)."""
    told = float(header) if header and header.isascii() and header.strip().isdecimal() else 0.0
    return min(told, LONGEST_S)


@dataclass(slots=True)
class Delays:
    """Seconds to wait before each next try: random up to a bound that doubles up to `cap_s`.

    Never less than half the bound, or `floor_s`, whichever is less: a server that accepts and closes gets under one try
    a second after the first two. A try that was `useful` begins anew.
    """

    first_s: float = 0.5
    cap_s: float = 30.0
    floor_s: float = 1.0
    useful_s: float = 5.0  # a connection is useful when it gave a trade and lasted this long ...
    useful_trades: int = 1000  # ... or gave so many ...
    patient_s: float = 60.0  # ... or when it lasted this long without any
    random: Callable[[], float] = random.random
    tries: int = field(default=0, init=False)

    def next_s(self) -> float:
        """The next delay in seconds."""
        bound = min(self.cap_s, self.first_s * 2.0 ** min(self.tries, 64))
        floor = min(self.floor_s, bound / 2)
        self.tries += 1
        return floor + (bound - floor) * self.random()

    def ended(self, trades: int, lasted_s: float) -> None:
        """Tells how the last try went."""
        if lasted_s >= (self.useful_s if trades else self.patient_s) or trades >= self.useful_trades:
            self.tries = 0
