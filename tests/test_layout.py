"""The walls of the house: who may import whom. An import that has to go up means that the design is wrong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"spillway", "pipeline", "collectors", "sinks"}
MAY_IMPORT = {
    "pipeline": {"pipeline"},
    "collectors": {"collectors", "pipeline"},
    "sinks": {"sinks", "pipeline"},
    "spillway": OURS,
}


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """The line and the top package of each absolute import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name.split(".")[0]) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    forbidden = OURS - MAY_IMPORT[package]
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in imported_packages(path.read_text())
        if name in forbidden
    ]
    assert broken == []


def test_the_rule_sees_imports_in_functions_and_of_parts() -> None:
    source = "def f():\n    from sinks.files import write\n    import spillway.settings as s, json\n    from . import near\n"
    assert sorted(imported_packages(source)) == [(2, "sinks"), (3, "json"), (3, "spillway")]
