"""docs/settings.md has every setting, with its default and its environment variable, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from spillway.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
ROW = re.compile(r"^\| `([\w.]+)` \| `(.+?)` \| `(\w+)` \| (.+) \|$", re.M)


def settings(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Each setting by its dotted path; of a list of sections those of one entry."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        if of := [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]:
            yield from settings(of[0], f"{name}.")
        else:
            yield section + name, field


def shown(default: Any) -> str:
    if default is None:
        return "-"
    if isinstance(default, bool):
        return str(default).lower()
    return str(int(default)) if isinstance(default, float) and default.is_integer() else str(default)


def variable(key: str) -> str:
    return "SPILLWAY_COLLECT" if key.startswith("collect.") else f"SPILLWAY_{key.replace('.', '__').upper()}"


def test_the_page_has_each_setting_with_its_default_and_its_variable_and_no_other() -> None:
    told = {key: (default, name) for key, default, name, _ in ROW.findall(PAGE)}
    known = {
        key: ("required" if field.is_required() else shown(field.default), variable(key)) for key, field in settings(Settings)
    }
    assert told == known


def test_a_variable_of_the_page_sets_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "a_file"
    file.write_text("x")
    fitting = {
        "redis.url": "redis://h", "ledger.url": "sqlite:///l", "redis.tls": "true", "http.token": "t", "log.format": "json",
        "log.level": "error", "archive.merge_months": "true", "data_dir": "d", "http.host": "h", "archive.dir": "a",
    }  # fmt: skip
    together = {"SPILLWAY_REDIS__HOST": "h", "SPILLWAY_REDIS__TLS": "true"}
    for key, _, name, _ in ROW.findall(PAGE):
        if key.startswith("collect."):
            continue
        number = "1" if key.startswith(("schedule.", "archive.", "ledger.", "redis.")) else "12"
        environ = {name: str(file) if "tls_" in key else fitting.get(key, number)}
        if "tls" in key:
            environ = together | environ
        if key in ("redis.tls_cert", "redis.tls_key"):
            environ |= {"SPILLWAY_REDIS__TLS_CERT": str(file), "SPILLWAY_REDIS__TLS_KEY": str(file)}
        assert key.rpartition(".")[2] in _given(load_settings(environ=environ), key), key


def test_the_page_and_the_default_file_agree_on_what_is_there() -> None:
    in_file = yaml.safe_load((ROOT / "config" / "spillway.yaml").read_text())
    told = {key: default for key, default, _, _ in ROW.findall(PAGE)}
    for section, values in in_file.items():
        for key, value in values.items() if isinstance(values, dict) else []:
            assert told[f"{section}.{key}"] == shown(value), f"{section}.{key}"


def _given(settings: Settings, key: str) -> set[str]:
    """What was set of the setting's section."""
    section = key.rpartition(".")[0]
    of: BaseModel = getattr(settings, section) if section else settings
    return of.model_fields_set
