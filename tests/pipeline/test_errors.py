"""One tree of errors, and its picture is true."""

from __future__ import annotations

import inspect

from pipeline import errors
from pipeline.errors import SpillwayError, WindowMoved


def drawn(text: str) -> dict[str, str]:
    """Error -> the one above it, as the picture has them."""
    above: dict[str, str] = {}
    path: list[str] = []
    for line in text.splitlines():
        name, _, _ = line.strip("│├└─ ").partition(" ")
        if not hasattr(errors, name):
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[depth:] = [name]
        if depth:
            above[name] = path[depth - 1]
    return above


def test_the_picture_of_the_tree_shows_every_error_at_its_place() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert drawn(errors.__doc__ or "") == {c.__name__: c.__bases__[0].__name__ for c in classes if c is not SpillwayError}


def test_every_error_says_what_it_means() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert all(c.__doc__ for c in classes)


def test_a_moved_window_tells_the_stored_token() -> None:
    assert WindowMoved("it moved", "t7").stored_token == "t7"
