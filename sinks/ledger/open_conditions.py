"""Conditions by URL alone: a JSON file, SQLite or PostgreSQL. Who outgrows one changes the URL and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadValue
from sinks.ledger.conditions import Conditions
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.ledger import open_ledger

JSON = "json:///"


@contextmanager
def open_conditions(url: str) -> Iterator[Conditions | JsonConditions]:
    """`json:///data/conditions.json` (with a fourth slash: from the root), or a ledger's URL. BadValue, StorageError."""
    if url.startswith("json:"):
        with JsonConditions(json_path(url)) as conditions:
            yield conditions
    else:
        with open_ledger(url) as ledger:
            yield ledger.conditions


def json_path(url: str) -> Path:
    """The file of a `json:///` URL."""
    name = url.removeprefix(JSON)
    if not url.startswith(JSON) or not name or name.endswith("/"):
        raise BadValue(f"the conditions' URL {url}: expected such as json:///data/conditions.json")
    return Path(name)
