"""Logs, on standard error: for people or as JSON. No secret gets into them, and what repeats itself is told with a count."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET_S = 30.0  # after a message was told: its repetitions are only counted
FREE = {"info": 20, "debug": 20}  # so many are told first; of warnings and errors one
MOST_KEPT = 1000  # different messages
_WHOSE = ("venue", "symbol", "instrument", "job", "part", "reason", "error")
_NUMBERS = re.compile(r"\d+")

_SECRET_NAMES = re.compile(r"pass(word|wd)?$|secret|token|api_?key|authorization|signature", re.IGNORECASE)
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@]*@", re.IGNORECASE)
_IN_QUERY = re.compile(r"([?&](?:password|token|secret|signature|api_?key|listen_?key)=)[^&\s\"']*", re.IGNORECASE)


def set_up_logging(form: str = "auto", level: str = "info") -> None:
    """Sets all logs up; may be done again. `form`: json, human, or auto: for people on a terminal and JSON elsewhere."""
    human = sys.stderr.isatty() if form == "auto" else form == "human"
    lowest = logging.getLevelNamesMapping()[level.upper()]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    told: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    last: Processor = renderer if human else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*told, Repeats(), last],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _take_over_others(structlog.stdlib.ProcessorFormatter(last, foreign_pre_chain=told), max(lowest, logging.WARNING))


def without_secrets(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """What is told, without passwords, tokens and keys: whatever carries such a name, or stands in a URL."""
    return {key: "***" if _SECRET_NAMES.search(key) else _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _IN_QUERY.sub(r"\1***", _IN_URL.sub(r"\1:***@", value))
    if isinstance(value, Mapping):
        return {key: "***" if _SECRET_NAMES.search(str(key)) else _masked(each) for key, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(slots=True)
class _Told:
    since_s: float
    count: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Repeats:
    """Drops what was told a moment ago, but for other numbers; the next time it is told says how often it was meanwhile."""

    clock_s: Callable[[], float] = time.monotonic
    _told: dict[tuple[str, ...], _Told] = field(default_factory=dict)

    def __call__(self, logger: WrappedLogger, name: str, event: MutableMapping[str, Any]) -> EventDict:
        """A processor of structlog's."""
        now_s, level = self.clock_s(), str(event.get("level", name))
        key = (level, _NUMBERS.sub("#", str(event.get("event"))), *(_NUMBERS.sub("#", str(event.get(k))) for k in _WHOSE))
        told = self._told.get(key)
        if told is None or now_s - told.since_s >= QUIET_S:
            self._forget(now_s)
            dropped = told.dropped if told else 0
            told = self._told[key] = _Told(now_s)
            if dropped:
                event["repeated"] = dropped
        told.count += 1
        if told.count > FREE.get(level, 1):
            told.dropped += 1
            raise structlog.DropEvent
        return event

    def _forget(self, now_s: float) -> None:
        if len(self._told) >= MOST_KEPT:
            self._told = {key: told for key, told in self._told.items() if now_s - told.since_s < QUIET_S}
        if len(self._told) >= MOST_KEPT:
            self._told.clear()


class _OtherLogs(logging.StreamHandler[TextIO]):
    """What libraries log, told as our own. It looks for standard error each time: tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _take_over_others(formatter: logging.Formatter, level: int) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _OtherLogs)]:
        root.removeHandler(handler)
    handler = _OtherLogs()
    handler.setFormatter(formatter)
    handler.setLevel(level)
    root.addHandler(handler)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a run that was skipped is counted
