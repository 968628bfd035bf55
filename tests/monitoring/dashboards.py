"""The dashboards in grafana/, and the queries in them as Prometheus gets them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana" / "dashboards"
INTERVAL = "10s"
_TOKEN = re.compile(r"[a-zA-Z_:][\w:]*(?! *\()(?![\w:])")  # no function: those stand before a bracket
_WORDS = {"by", "on", "without", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}
_WORDS |= {"sum", "min", "max", "count", "avg"}  # before `by`
_LABELS = re.compile(r"\b(by|on|without|ignoring|group_left|group_right) *\([^)]*\)")
_ELSE = re.compile(r"""\{(?:[^}"]|"[^"]*")*\}|\[[^\]]*\]|"[^"]*"|(?<![\w:])\d[\w.]*""")


def dashboards() -> dict[str, dict[str, Any]]:
    """All of them, by their files' names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels but the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where each query stands, and its text."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{dashboard['title']} / {panel['title']} {target['refId']}", target["expr"]


def variables(dashboard: dict[str, Any]) -> dict[str, str]:
    """Each variable with its query: for those of label values, what is asked for."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        query = variable["query"]
        found[variable["name"]] = query if isinstance(query, str) else query["query"]
    return found


def filled_in(expr: str, venue: str, symbol: str) -> str:
    """The query as Grafana sends it: all venues and symbols where several may be chosen, else these."""
    text = re.sub(r'=~"\$(venue|symbol)"', '=~".*"', expr)
    return text.replace("$venue", venue).replace("$symbol", symbol).replace("$__rate_interval", INTERVAL)


def selectors(expr: str) -> list[str]:
    """The series that a query reads, with their labels."""
    names = metric_names(expr)
    found = re.findall(r'([a-zA-Z_:][\w:]*)(\{(?:[^}"]|"[^"]*")*\})?', expr)
    return [name + labels for name, labels in found if name in names]


def metric_names(expr: str) -> set[str]:
    """The metrics that a query reads."""
    return set(_TOKEN.findall(_LABELS.sub(" ", _ELSE.sub(" ", expr)))) - _WORDS
