"""Plain JSON values come back as they were given; what JSON can't hold is refused with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue
from pipeline.trading.plain import MAX_DEPTH, plain, plain_dict

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
leaves = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=15
)


@given(values)
def test_a_plain_value_comes_back_equal_and_as_json_has_it(value: Any) -> None:
    copied = plain(value, "parameters")
    assert json.dumps(copied) == json.dumps(value)
    assert json.loads(json.dumps(copied)) == value


def test_the_copy_shares_nothing() -> None:
    given_ = {"a": [1, {"b": 2}]}
    copied = plain_dict(given_, "parameters")
    given_["a"][1]["b"] = 3  # type: ignore[index]
    assert copied == {"a": [1, {"b": 2}]}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": float("nan")}, r"parameters\.a nan"),
        ({"a": [1, float("inf")]}, r"parameters\.a\[1\] inf"),
        ({"a": {"b": (1, 2)}}, r"parameters\.a\.b \(1, 2\)"),
        ({1: 2}, "parameters: key 1: expected text"),
        ({"a": object}, r"parameters\.a"),
        ({"a": {1}}, r"parameters\.a"),
        ({"a": b"x"}, r"parameters\.a"),
        ({"a": "\0"}, r"parameters\.a"),
        ({"a": "\ud800"}, r"parameters\.a"),
        ({"\0": 1}, "parameters: key"),
        ({"a": 1 << 1024}, r"parameters\.a"),
        ([1], r"parameters \[1\]: expected a dict"),
        (None, "parameters None: expected a dict"),
    ],
)
def test_what_json_can_not_hold_is_refused_with_its_path(value: Any, where: str) -> None:
    with pytest.raises(BadValue, match=f"^{where}"):
        plain_dict(value, "parameters")


def test_nesting_has_an_end() -> None:
    assert plain(nested(MAX_DEPTH), "p") == nested(MAX_DEPTH)
    with pytest.raises(BadValue, match="nested at most 50 deep"):
        plain(nested(MAX_DEPTH + 1), "p")
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BadValue, match="nested at most 50 deep"):
        plain(endless, "p")
