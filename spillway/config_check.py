"""`spillway config check`: whether the settings can be used, what they come to, and where each comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, SecretStr, ValidationError

from collectors.ccxt_exchange import PREFIX as CCXT
from collectors.ccxt_exchange import require_exchange
from collectors.venues.symbols import doubt
from collectors.venues.venue import VENUES
from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from spillway.settings import Collect, Settings, SettingsError, known_keys, sources_of
from spillway.settings_sources import Source, Where, explain, from_file, holds_secret, masked, merge, passed_over, secret_files

_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as it counts: its dotted key, its value with secrets hidden, and who gave it."""

    key: str
    value: Any
    source: str

    def __str__(self) -> str:
        return f"{self.key}: {_told(self.value)}    ({self.source})"


@dataclass(slots=True)
class Checked:
    """What was found: problems stop every command; warnings are for the reader to judge."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: list[Effective] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"ok": not self.problems, **asdict(self)}

    def lines(self) -> list[str]:
        """For people."""
        verdict = f"{len(self.problems)} problems" if self.problems else "the settings can be used"
        return [
            *map(str, self.settings),
            *(f"warning: {line}" for line in self.warnings),
            *(f"problem: {line}" for line in self.problems),
            f"{verdict}, {len(self.warnings)} warnings" if self.warnings else verdict,
        ]


def check(config: Path | None, data: Path | None, environ: Mapping[str, str] = os.environ) -> Checked:
    """Looks at all of them. It raises nothing: what can't be read is a problem."""
    try:
        sources = sources_of(config, data, environ)
    except SettingsError as error:
        return Checked([str(error)], passed_over(environ))
    found = Checked(warnings=[*passed_over(environ), *_without_effect(sources)])
    try:
        settings = Settings.model_validate(merge(sources))
    except ValidationError as error:
        found.problems = [explain([one], sources, known_keys()) for one in error.errors(include_url=False)]
        return found
    found.settings = list(_effective(settings, sources))
    found.problems += _impossible(settings)
    found.warnings += [told for entry in settings.collect for symbol in entry.symbols if (told := doubt(entry.venue, symbol))]
    return found


def files_with_secrets(config: Path | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files that others mustn't read: those that variables name, and a settings file with a password in it."""
    named = [path for path in secret_files(environ) if path.exists()]
    return [*named, config] if config and holds_secret(from_file(config).values) else named


# --- what is collected --------------------------------------------------------------------------------------------------


def _impossible(settings: Settings) -> Iterator[str]:
    for number, entry in enumerate(settings.collect):
        where = f"collect.{number}"
        if entry.venue.startswith(CCXT):
            yield from (f"{where}: {told}" for told in _of_ccxt(entry))
        elif entry.venue not in VENUES:
            known = ", ".join(sorted(VENUES))
            yield f"{where}.venue: given {entry.venue!r}, expected one of {known}, or {CCXT}<exchange> for any that ccxt knows"
        for symbol in entry.symbols:
            try:
                Instrument(entry.venue, symbol)
            except BadValue as error:
                yield f"{where}.symbols: {error}"


def _of_ccxt(entry: Collect) -> Iterator[str]:
    if entry.ws_url or entry.rest_url or entry.record:
        yield f"{entry.venue}: ws_url, rest_url and record can't be had with ccxt"
    try:
        require_exchange(entry.venue.removeprefix(CCXT))
    except BadValue as error:
        yield str(error)


# --- what they come to --------------------------------------------------------------------------------------------------


def _effective(settings: Settings, sources: list[Source]) -> Iterator[Effective]:
    derived: dict[Where, object] = {
        ("redis", "storage_dir"): settings.storage_dir,
        ("archive", "dir"): settings.archive_dir,
        ("ledger", "url"): settings.ledger_url,
        ("ledger", "backup_dir"): settings.backup_dir,
    }
    for where, value in _leaves(settings, ()):
        label = _label(sources, where)
        shown = derived.get(where, value) if value is None else value
        yield Effective(".".join(map(str, where)), _shown(shown, label), label)


def _leaves(node: object, where: Where) -> Iterator[tuple[Where, object]]:
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _leaves(getattr(node, name), (*where, name))
    elif isinstance(node, tuple) and node and isinstance(node[0], BaseModel):
        for number, each in enumerate(node):
            yield from _leaves(each, (*where, number))
    else:
        yield where, node


def _label(sources: list[Source], where: Where) -> str:
    """The last source that has all of the path: a list is taken whole from one."""
    giving = [source for source in sources if source.depth(where) == len(where)]
    return giving[-1].label(where) if giving else sources[0].name


def _shown(value: object, label: str) -> Any:
    if isinstance(value, SecretStr) or (value is not None and label.endswith("_FILE")):
        return _HIDDEN
    if isinstance(value, str | Path):
        return masked(str(value))
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return {key: str(each) for key, each in value.items()} if isinstance(value, dict) else value


def _told(value: Any) -> str:
    """A value as YAML would have it."""
    if value is None or value == _HIDDEN:
        return value or "not set"
    return f"{value:g}" if isinstance(value, float) else orjson.dumps(value).decode() if not isinstance(value, str) else value


def _without_effect(sources: list[Source]) -> Iterator[str]:
    for at, source in enumerate(sources):
        for where, name in source.variables.items():
            later = [other.name for other in sources[at + 1 :] if other.depth(where) == len(where)]
            if later:
                yield f"environment {name}: has no effect, for the {later[0]} say otherwise"
