"""What the system allows: open files, and how it manages memory where Redis runs beside us."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from pipeline.window import CONNECTIONS
from spillway.doctor.finding import Finding, note, ok, warning
from spillway.settings import Settings

LIMIT_S = 5.0
_OF_OURS = 256  # open files beside sockets: modules, threads, the parts that a compaction writes
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def look(settings: Settings) -> Iterator[Finding]:
    """Limits of this process, as a service started the same way has them; and the kernel's settings that Redis asks for."""
    symbols = sum(len(entry.symbols) for entry in settings.collect)
    yield of_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0], symbols)
    if settings.redis.embedded or settings.redis.connection_url.startswith("unix://"):
        yield of_overcommit(_read(_OVERCOMMIT))
        yield of_huge_pages(_read(_HUGE_PAGES))


def of_open_files(limit: int, symbols: int) -> Finding:
    """The finding about how many files may be open at once."""
    what, wanted = "open files", _OF_OURS + CONNECTIONS + symbols
    most = "any number" if limit == resource.RLIM_INFINITY else f"{limit:,}"
    told = f"{most} may be open, some {wanted:,} may be needed"
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return ok(what, told)
    return warning(what, told, f"ulimit -n {2 * wanted}, or LimitNOFILE= in the unit")


def of_overcommit(text: str | None) -> Finding:
    """The finding about memory that is promised: rewriting its file Redis needs as much again, on paper."""
    what = "vm.overcommit_memory"
    if text is None:
        return note(what, "not told by this system")
    if text == "1":
        return ok(what, "1, as Redis asks for")
    told = f"{text}: with little memory free, Redis can't rewrite its append-only file"
    return note(what, told, "sysctl vm.overcommit_memory=1")


def of_huge_pages(text: str | None) -> Finding:
    """The finding about transparent huge pages, which make Redis slow while it rewrites its file."""
    what = "transparent huge pages"
    if text is None:
        return note(what, "not told by this system")
    if "[always]" in text:
        return note(what, f"{text}: answers of Redis take longer while it rewrites its file", f"echo madvise > {_HUGE_PAGES}")
    return ok(what, text)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
