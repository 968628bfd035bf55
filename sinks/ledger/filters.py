"""What queries of the repositories are put together from: filters that say nothing where no value is given, and orders."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, literal

from pipeline.trading import exact
from pipeline.trading.exact import Number
from pipeline.trading.moments import utc
from sinks.ledger.types import Exact, ordered

E = TypeVar("E", bound=StrEnum)
Where = list[ColumnElement[bool]]


def equal(table: Table, **wanted: Any) -> Where:
    """Columns that have these values; None: any."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def within(column: ColumnElement[Any], start: datetime | None, end: datetime | None) -> Where:
    """Moments from `start` up to, and without, `end`. BadValue for a naive one."""
    where: Where = []
    if start is not None:
        where.append(column >= utc(start, "start"))
    if end is not None:
        where.append(column < utc(end, "end"))
    return where


def on_day(column: ColumnElement[Any], day: date) -> Where:
    """Moments of a UTC day."""
    start = datetime.combine(day, time(), UTC)
    return within(column, start, start + timedelta(days=1))


def between(value: ColumnElement[Any], least: Number | None, most: Number | None) -> Where:
    """Decimals from `least` to `most`, both included."""
    where: Where = []
    if least is not None:
        where.append(ordered(value) >= _bound(least))
    if most is not None:
        where.append(ordered(value) <= _bound(most))
    return where


def among(column: ColumnElement[Any], enum: type[E], wanted: E | str | None) -> Where:
    """A column that has this value of an enum; None: any. BadValue for one that the enum doesn't know."""
    return [] if wanted is None else [column == enum(wanted)]


def by_time(when: ColumnElement[Any], key: ColumnElement[Any], newest_first: bool = True) -> tuple[ColumnElement[Any], ...]:
    """The order of time; where that is the same, of keys."""
    return (when.desc(), key.desc()) if newest_first else (when, key)


def _bound(value: Number) -> ColumnElement[Any]:
    return ordered(literal(exact.number(value, "bound"), Exact))
