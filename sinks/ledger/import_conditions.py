"""Conditions out of the JSON file into a ledger: those that it lacks, as they are, versions and times too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from pipeline.errors import BadValue
from pipeline.trading.condition import Condition
from sinks.ledger.conditions import Conditions
from sinks.ledger.database import Database
from sinks.ledger.json_conditions import JsonConditions
from sinks.ledger.strategies import Strategies
from sinks.ledger.trading_tables import CONDITIONS


@dataclass(slots=True)
class Taken:
    """What became of the file's conditions."""

    added: int = 0
    replaced: int = 0
    same: int = 0
    differing: list[str] = field(default_factory=list)  # ids whose stored condition is another one, and stays


def import_conditions(database: Database, path: Path, *, replace: bool = False) -> Taken:
    """Takes all in, or none; taken in again nothing changes. BadValue for a strategy that the ledger lacks, StorageError.

    A stored condition of the same id and another content stays, unless `replace`. The file is left as it is.
    """
    if not path.is_file():
        raise BadValue(f"{path}: expected a file of conditions")
    with JsonConditions(path) as file:
        found = file.find_all()
    taken = Taken()
    with database.writing() as connection:
        _require_strategies(database, path, found)
        stored = {condition.condition_id: condition for condition in Conditions(database).find_all()}
        new = [condition for condition in found if condition.condition_id not in stored]
        if new:
            connection.execute(insert(CONDITIONS), [_row(condition) for condition in new])
        taken.added = len(new)
        for condition in found:
            known = stored.get(condition.condition_id)
            if known == condition:
                taken.same += 1
            elif known is not None and not replace:
                taken.differing.append(condition.condition_id)
            elif known is not None:
                key, row = CONDITIONS.c.condition_id == condition.condition_id, _row(condition)
                later = max(known.version, condition.version) + 1  # nobody who holds either writes over it unseen
                connection.execute(CONDITIONS.update().where(key).values(row | {"version": later}))
                taken.replaced += 1
    return taken


def _require_strategies(database: Database, path: Path, found: Sequence[Condition]) -> None:
    strategies = Strategies(database)
    for condition in found:
        if condition.strategy_id is not None and not strategies.exists(condition.strategy_id):
            raise BadValue(
                f"{path}: condition {condition.condition_id!r} is of strategy {condition.strategy_id!r}, "
                "which the ledger lacks: save the strategy first"
            )


def _row(condition: Condition) -> dict[str, Any]:
    return {column.name: getattr(condition, column.name) for column in CONDITIONS.c}
