"""Where settings come from - the YAML file, the environment - and how a bad one is told in one line.

Nothing here knows what settings there are: that is `settings.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.errors import SpillwayError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "SPILLWAY_"
# Variables of ours that are not settings, by their beginnings: the tests' crash points.
_NOT_SETTINGS = ("SPILLWAY_CRASH",)
_FILE = "_FILE"
_SECRETS = ("password", "token")

_EXPECTED = {
    "path_type": "a path",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "missing": "a value",
}

Where = tuple[int | str, ...]


class SettingsError(SpillwayError):
    """A setting that can't be used: one line with its source, its dotted path, what was given and what was expected."""


@dataclass(frozen=True)
class Source:
    """What one source gave, as nested mappings; for the environment also the variable of each path."""

    name: str
    values: dict[str, Any]
    variables: dict[Where, str] = field(default_factory=dict)

    def depth(self, where: Where) -> int:
        """How many steps of the path this source has."""
        node: Any = self.values
        for steps, step in enumerate(where):
            try:
                node = node[step]
            except (LookupError, TypeError):
                return steps
        return len(where)

    def label(self, where: Where) -> str:
        """The source's name, with the variable that gave the path where there is one."""
        names = (self.variables.get(where[:steps]) for steps in range(len(where), 0, -1))
        return " ".join([self.name, *[name for name in names if name][:1]])


def masked(url: str) -> str:
    """The URL with its password, if it has one, replaced by stars: what may be logged."""
    # Greedy up to the last "@": a password that should have been percent-encoded is hidden whole all the same.
    url = re.sub(r"(//[^:@/]*:).*@", r"\1***@", url)
    return re.sub(r"(?i)([?&]password=)[^&#]*", r"\1***", url)


def from_file(path: Path) -> Source:
    """Read a YAML file; a key without a value counts as not given."""
    try:
        with path.open("rb") as file:
            values = yaml.load(file, _Loader)  # _Loader is a SafeLoader
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}, expected a YAML file of settings") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: {getattr(error, 'problem', None) or error}, expected YAML") from error
    if not isinstance(values, dict | None):
        given = "a text" if isinstance(values, str) else _shown(values, ())  # it may be a secret's file, named by mistake
        raise SettingsError(f"{path}: given {given}, expected a mapping of keys to values")
    return Source(str(path), _without_empty(values or {}))


def from_environment(environ: Mapping[str, str], prefix: str = PREFIX) -> Source:
    """Read `SPILLWAY_SECTION__KEY` variables, or those of another prefix; an empty text is none.

    A section or list may be given whole, as JSON. Of `NAME_FILE` the file's content counts: secrets are kept in files.
    """
    source = Source("environment", {})
    for name, value in sorted(environ.items()):
        if not value or not name.startswith(prefix) or name.startswith(_NOT_SETTINGS):
            continue
        where = tuple(name.removeprefix(prefix).removesuffix(_FILE).lower().split("__"))
        source.variables[where] = name
        if name.endswith(_FILE):
            node: Any = _from_secret(name, value, environ)
        else:
            node = _from_json(value, source.label(where)) if value[0] in "[{" else value
        for key in reversed(where):
            node = {key: node}
        _merge_into(source.values, node)
    return source


def passed_over(environ: Mapping[str, str], prefix: str = PREFIX) -> list[str]:
    """Variables that look like settings and are none, a line each."""
    lines = []
    for name, value in sorted(environ.items()):
        if name.startswith(_NOT_SETTINGS):
            lines.append(f"environment {name}: is no setting, it is for tests")
        elif name.startswith(prefix) and not value:
            lines.append(f"environment {name}: is empty, and counts as not given")
        elif not name.startswith(prefix) and name.upper().startswith(prefix):
            lines.append(f"environment {name}: is not read, expected {name.upper()}")
    return lines


def secret_files(environ: Mapping[str, str], prefix: str = PREFIX) -> list[Path]:
    """The files that variables such as SPILLWAY_REDIS__PASSWORD_FILE name."""
    return [Path(value) for name, value in environ.items() if value and name.startswith(prefix) and name.endswith(_FILE)]


def holds_secret(values: Any) -> bool:
    """Whether what a source gave has a password or token in it."""
    if isinstance(values, Mapping):
        return any(key in _SECRETS or holds_secret(value) for key, value in values.items())
    if isinstance(values, list):
        return any(map(holds_secret, values))
    return isinstance(values, str) and masked(values) != values


def _from_secret(name: str, path: str, environ: Mapping[str, str]) -> str:
    if environ.get(name.removesuffix(_FILE)):
        raise SettingsError(f"environment {name}: given beside {name.removesuffix(_FILE)}, expected one of the two")
    try:
        text = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingsError(f"environment {name}: {path}: {reason}, expected a file with the value") from None
    if not text:
        raise SettingsError(f"environment {name}: {path}: the file is empty, expected the value in it")
    return text


def merge(sources: Iterable[Source]) -> dict[str, Any]:
    """All sources as one; a later one wins, key by key. Lists are taken whole."""
    merged: dict[str, Any] = {}
    for source in sources:
        _merge_into(merged, source.values)
    return merged


def explain(errors: list[ErrorDetails], sources: list[Source], known_keys: Mapping[Where, Iterable[str]]) -> str:
    """One line about a validation's first error; `known_keys` has each section's keys, by its path without indices."""
    where: Where = errors[0]["loc"]
    # The last source that has the most of the path is the one whose value was taken.
    source = max(reversed(sources), key=lambda source: source.depth(where))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    label = source.label(where)
    complaint = _complaint(errors[0], known_keys, secret=label.endswith(_FILE))
    return f"{label}: {'.'.join(map(str, where))}: {complaint}{more}"


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, and keeps a number with a point as text: no binary float on the way to a Decimal."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value]
        for position, key in enumerate(keys):
            if any(key.value == earlier.value for earlier in keys[:position]):
                problem = f"given the key {key.value!r} twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: node.value)


def _from_json(text: str, label: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # JSON is YAML, and this loader keeps decimals
    except yaml.YAMLError:
        raise SettingsError(f"{label}: given what is not JSON, expected JSON") from None


def _merge_into(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge_into(target[key], value)
        else:
            target[key] = _without_empty(value) if isinstance(value, dict) else value


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value is not None}
    return {key: _without_empty(value) if isinstance(value, dict) else value for key, value in given.items()}


def _complaint(error: ErrorDetails, known_keys: Mapping[Where, Iterable[str]], secret: bool) -> str:
    where: Where = error["loc"]
    if error["type"] == "extra_forbidden":  # the value is not shown: it may be a misspelt password's
        section = tuple(step for step in where[:-1] if isinstance(step, str))
        return f"given an unknown key, expected one of {', '.join(known_keys.get(section, ()))}"
    given = "nothing" if error["type"] == "missing" else "***" if secret else _shown(error["input"], where)
    return f"given {given}, expected {_expected(error)}"


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "value_error":  # one of ours: its text is what was expected
        return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Input should be ").split(", unable")[0]
    return _EXPECTED.get(error["type"], message)


def _shown(value: Any, where: Where) -> str:
    if any(name in where for name in _SECRETS):
        return "***"
    if isinstance(value, str) and "@" in value and "://" not in value:
        return "***"  # a URL that lacks its beginning may hold a password anywhere
    if isinstance(value, dict | list):  # may hold anything, a password too
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(masked(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:77] + "..."
