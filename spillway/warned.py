"""Warnings of one kind caught as lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warned(category: type[Warning]) -> Iterator[list[str]]:
    """What the body warns of, in this category. All others pass."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield lines
    for one in caught:
        if issubclass(one.category, category):
            lines.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
