"""All looks of `spillway doctor`, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.trade import NS_PER_S
from spillway.doctor import archive, clocks, disks, ledger, machine, redis_look, rights
from spillway.doctor.finding import Finding, Level, Report
from spillway.doctor.looking import Look, look_at
from spillway.progress import Reporter
from spillway.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How far to look. `secrets`: files with settings or secrets, which others mustn't read."""

    offline: bool = False  # ask no venue
    deep: bool = False  # read the whole archive again, however long that takes
    secrets: Sequence[Path] = ()


def examine(settings: Settings, options: Options, now_ns: int, progress: Reporter) -> Report:
    """Looks at everything; changes nothing, and starts nothing. Only a deep look has no limit of time."""
    report = look_at(_looks(settings, options, now_ns))
    read: list[Finding] = list(archive.deep(settings, progress)) if options.deep else []
    return Report([*report.findings, *read], report.late)


def _looks(settings: Settings, options: Options, now_ns: int) -> list[Look]:
    quick = Look("archive", partial(archive.look, settings), archive.LIMIT_S, Level.WARNING, "`spillway verify` takes its time")
    return [
        Look("Redis", partial(redis_look.look, settings), redis_look.LIMIT_S, todo="see whether it hangs or is paused"),
        Look("disks", partial(disks.look, settings, now_ns), disks.LIMIT_S, todo="see whether a disk or network drive hangs"),
        Look("rights", partial(rights.look, settings, options.secrets), rights.LIMIT_S),
        *([] if options.offline else clocks.looks(settings)),
        Look("ledger", partial(ledger.look, settings), ledger.LIMIT_S, Level.WARNING, "`spillway ledger check` takes its time"),
        Look("ledger backup", partial(ledger.backup, settings, now_ns), ledger.LIMIT_S),
        *([] if options.deep else [quick]),
        Look(
            "dead letters",
            partial(archive.dead_letters, settings.dead_letter_dir, now_ns / NS_PER_S),
            archive.LIMIT_S,
            Level.WARNING,
            f"look into {settings.dead_letter_dir}",
        ),
        Look("machine", partial(machine.look, settings), machine.LIMIT_S),
    ]
