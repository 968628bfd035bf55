"""What a Redis server's version tells: whether it is new enough, and whether known holes are closed in it. Pure."""

from __future__ import annotations

import re

from pipeline.window import OLDEST_REDIS
from spillway.doctor.finding import Finding, note, ok, warning, wrong

WHAT = "Redis version"
# CVE-2025-49844: a script could run any code in the server. The first release of each series in which it is fixed (Redis's
# security advisory of 2025-10-03). 7.0 gets no fixes from Redis any more, only from distributions.
FIXED = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}
_CVE = "CVE-2025-49844 (a script can run any code in the server)"
_NEWER = "use 6.2.20, 7.2.11, 7.4.6, 8.0.4, 8.2.2 or later"


def of_version(text: str, *, private: bool, name: str = "redis") -> Finding:
    """The finding about a version such as 7.2.11. `private`: only our own user's programs can reach the server."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    series = (int(found[1]), int(found[2])) if found else (0, 0)
    if series < OLDEST_REDIS:
        oldest = ".".join(map(str, OLDEST_REDIS))
        return wrong(WHAT, f"{text}: too old", f"install Redis {oldest} or later ({_NEWER})")
    if name != "redis":  # a fork's numbers are its own
        return note(WHAT, f"{name} {text}", f"look up in its release notes whether {_CVE} is fixed")
    if series > max(FIXED) or int(found[3] or 0 if found else 0) >= FIXED.get(series, 1 << 30):
        return ok(WHAT, f"{text}: has the fix of {_CVE}")
    if private:
        told = f"{text}: lacks the fix of {_CVE}; only programs of this user reach it"
        return note(WHAT, told, f"where it can be had, {_NEWER}")
    if series not in FIXED:
        return warning(
            WHAT,
            f"{text}: Redis itself gives this series no fix of {_CVE}",
            f"make sure that your distribution's package has it (Debian: 7.0.15-1~deb12u6 or later), or {_NEWER}",
        )
    return warning(WHAT, f"{text}: lacks the fix of {_CVE}", _NEWER)
