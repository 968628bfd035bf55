from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes import items
from collectors.tapes.chunks import Chunk
from collectors.tapes.items import ItemCutter, first_items, looks_like_list
from pipeline.errors import TapeError

TEXTS = st.text(st.sampled_from('a},{[]"\\ '), max_size=8)
VALUES = st.recursive(
    st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
ITEMS = st.lists(VALUES.map(lambda value: {"id": 1, "x": value}), max_size=12)


def cut(text: bytes, size: int = 10**6) -> tuple[list[Any], list[str], str]:
    """The items of a list that comes in pieces, where there was what is no json, and the error at the end."""
    found, broken = [], []
    pieces = [Chunk(text[n : n + size], n) for n in range(0, len(text), size)]
    try:
        for items in ItemCutter("tape.json").batches(iter(pieces)):
            found += [json.loads(bytes(raw)) for raw in items.raws]
            broken += [reject.where for reject in items.rejects]
            assert [items.raw(at)[1] for at in range(len(items.raws))] == [f"tape.json:item {n}" for n in items.numbers]
    except TapeError as error:
        return found, broken, str(error)
    return found, broken, ""


@given(ITEMS, st.integers(1, 60), st.sampled_from([None, 1]))
def test_a_list_is_cut_into_its_items_wherever_its_pieces_end(items: list[Any], size: int, indent: int | None) -> None:
    assert cut(json.dumps(items, indent=indent).encode(), size) == (items, [], "")


@given(ITEMS.filter(len), st.data(), st.integers(1, 60))
def test_a_cut_list_gives_the_items_before_the_cut(items: list[Any], data: st.DataObject, size: int) -> None:
    text = json.dumps(items).encode()
    at = data.draw(st.integers(1, len(text) - 1))
    found, broken, error = cut(text[:at], size)
    assert found == items[: len(found)]
    whole = sum(1 for n in range(1, len(items) + 1) if len(json.dumps(items[:n])) - 1 <= at)
    assert len(found) == whole
    assert broken == []
    assert error == f"tape.json: truncated: the json list ends after item {whole} without its ']'"


@pytest.mark.parametrize("size", [7, 10**6])
@pytest.mark.parametrize("bad", ['{"a":1,,}', '{"a":1', '{"a":nonsense}', '{"a":[1}', '{"a":"x}'])
def test_a_broken_item_is_told_by_its_number_and_costs_no_other(bad: str, size: int) -> None:
    good = [json.dumps({"n": n, "fees": [{"a": 1}, {"a": 2}]}) for n in range(40)]
    text = "[" + ",".join([*good[:20], bad, *good[20:]]) + "]"
    found, broken, error = cut(text.encode(), size)
    assert [item["n"] for item in found] == list(range(40))
    assert (broken, error) == (["tape.json:item 21"], "")


def test_an_item_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "LONGEST", 1000)
    found, broken, error = cut(b'[{"a":1},{"a":"' + b"x" * 5000, 100)
    assert found == [{"a": 1}]
    assert broken[0] == "tape.json:item 2"
    assert error.startswith("tape.json: truncated: the json list ends after item")


def test_items_after_a_broken_one_are_found_long_before_the_lists_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "LONGEST", 1000)
    text = "[" + ",".join(['{"a":[1}' if n == 50 else f'{{"a":{n}}}' for n in range(2000)]) + "]"
    pieces = [Chunk(text[n : n + 100].encode(), n) for n in range(0, len(text), 100)]
    most = max(len(items.raws) for items in ItemCutter("tape.json").batches(iter(pieces)))
    assert most < 200
    found, broken, error = cut(text.encode(), 100)
    assert [item["a"] for item in found] == [n for n in range(2000) if n != 50]
    assert (broken, error) == (["tape.json:item 51"], "")


@pytest.mark.parametrize(("text", "count"), [('[{"a":1}] x', 1), ('[{"a":1}][{"a":2}]', 1), ("[] []", 0)])
def test_what_follows_the_list_is_not_passed_over(text: str, count: int) -> None:
    found, _, error = cut(text.encode())
    assert len(found) == count
    assert error == f"tape.json: after the end of the list, at item {count}, comes something else"


def test_a_list_that_begins_with_no_object_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "LONGEST", 1000)
    assert cut(b"[{a:" + b"1" * 3000, 100)[2] == "tape.json: the json list begins with no object"


@pytest.mark.parametrize(
    ("head", "yes"),
    [(b'[{"a":1}', True), (b"\xef\xbb\xbf [ ]", True), (b"[[1,2]]", False), (b'{"a":[]}', False), (b"a,b", False)],
)
def test_a_list_of_objects_is_told_by_its_begin(head: bytes, yes: bool) -> None:
    assert looks_like_list(head) is yes


def test_the_first_items_are_those_that_the_head_has_whole() -> None:
    assert [bytes(raw) for raw in first_items(b'[{"a":1}, {"a":2},{"a":')] == [b'{"a":1}', b'{"a":2}']
    assert [bytes(raw) for raw in first_items(b'[{"a":1}]\n')] == [b'{"a":1}']
    assert first_items(b"[]") == []
