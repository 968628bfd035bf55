"""This machine's clock against the venues': which trades are late, and when a minute is over, is told by it.

Asked with the standard library and not by the collectors' client: asyncio's look-up of a name can't be given up, and would be
waited for at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

from collectors.venues.clock import CLOCKS, VenueClock
from collectors.venues.venue import VENUES
from pipeline.errors import VenueError
from pipeline.trade import NS_PER_S
from spillway.doctor.finding import Finding, Level, note, ok, warning, wrong
from spillway.doctor.looking import Look
from spillway.settings import Collect, Settings

LIMIT_S = 8.0
_ANSWER_S = 5.0
_MOST_OFF_S = 0.5
_LONGEST = 64 << 10  # bytes of an answer
_NTP = "let this machine keep time by NTP (timedatectl set-ntp true)"


def looks(settings: Settings) -> list[Look]:
    """One look for each venue that is collected."""
    return [_look(entry, settings.schedule.seal_grace_s) for entry in settings.collect]


def _look(entry: Collect, grace_s: float) -> Look:
    what = f"clock of {entry.venue}"
    todo = "see whether the network and the venue are up; --offline leaves this out"
    return Look(what, lambda: _findings(what, entry, grace_s), LIMIT_S, Level.WARNING, todo)


def _findings(what: str, entry: Collect, grace_s: float) -> Iterator[Finding]:
    clock, venue = CLOCKS.get(entry.venue), VENUES.get(entry.venue)
    if clock is None or venue is None:
        yield note(what, "this venue doesn't tell its time")
        return
    url = (entry.rest_url or venue.rest_url) + clock.path
    try:
        off_ns, unsure_ns = offset(clock, lambda: _get(url), time.time_ns)
    except VenueError as error:
        yield warning(what, f"{url}: {error}", "see whether the network and the venue are up; --offline leaves this out")
        return
    yield of_offset(what, off_ns, unsure_ns, grace_s)


def offset(clock: VenueClock, ask: Callable[[], bytes], clock_ns: Callable[[], int]) -> tuple[int, int]:
    """How far our clock is ahead of the venue's, and how sure that is, in ns. VenueError."""
    before_ns = clock_ns()
    body = ask()
    after_ns = clock_ns()
    there_ns = clock.read(body) + clock.grain_ns // 2  # cut off, not rounded
    return (before_ns + after_ns) // 2 - there_ns, (after_ns - before_ns) // 2 + clock.grain_ns // 2


def of_offset(what: str, off_ns: int, unsure_ns: int, grace_s: float) -> Finding:
    """The finding about a clock that is so far ahead. `grace_s`: how long a minute waits for late trades."""
    told = f"ours is {abs(off_ns) / NS_PER_S:.3f} s {'ahead' if off_ns > 0 else 'behind'}, +- {unsure_ns / NS_PER_S:.3f} s"
    surely_s = (abs(off_ns) - unsure_ns) / NS_PER_S
    if surely_s > max(grace_s, _MOST_OFF_S):
        return wrong(what, f"{told}: more than schedule.seal_grace_s ({grace_s:g} s)", _NTP)
    if surely_s > _MOST_OFF_S:
        return warning(what, f"{told}: the lag that is told is off by as much", _NTP)
    return ok(what, told)


def _get(url: str) -> bytes:
    opener = build_opener(ProxyHandler({}))  # as the collectors, which use none
    try:
        with opener.open(url, timeout=_ANSWER_S) as answer:
            body: bytes = answer.read(_LONGEST)
            return body
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise VenueError(str(reason) or type(error).__name__) from None
