"""Tables held in memory: the same again without reading, never more than so many bytes."""

from __future__ import annotations

import pyarrow as pa

from sinks.held import HeldTables


def table(rows: int) -> pa.Table:
    return pa.table({"n": list(range(rows))})


def refused() -> pa.Table:
    raise AssertionError("it is held")


def test_what_was_read_is_not_read_again() -> None:
    held = HeldTables()
    first = held.get("a", lambda: table(3))
    assert held.get("a", refused) is first
    assert len(held.get("b", lambda: table(4))) == 4


def test_the_oldest_go_when_there_are_too_many_bytes() -> None:
    held, read = HeldTables(3 * table(10).get_total_buffer_size()), []

    def reading(key: int) -> pa.Table:
        read.append(key)
        return table(10)

    for key in (1, 2, 3, 4, 4, 3, 2, 1):
        held.get(key, lambda key=key: reading(key))  # type: ignore[misc]
    assert read == [1, 2, 3, 4, 1]


def test_what_is_larger_than_all_room_is_given_but_not_held() -> None:
    held = HeldTables(10)
    assert len(held.get("a", lambda: table(100))) == 100
    assert len(held.get("a", lambda: table(50))) == 50
