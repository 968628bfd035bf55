"""docs/commands.md is what the commands themselves say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docs.making.commands import PAGE, page
from spillway.cli import app

WIDE = 1000
PAGES = sorted(PAGE.parent.glob("*.md"))
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.read_text().split("\n## ")[1:]}


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], terminal_width=WIDE, max_content_width=WIDE)
    assert done.exit_code == 0, done.output
    return done.stdout


def listed(words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All commands, by what the groups' --help lists."""
    _, found, below = help_of(*words).partition("\nCommands:\n")
    if not found:
        yield words
    for name in re.findall(r"^  (\S+)", below.partition("\n\n")[0], re.M):
        yield from listed((*words, name))


COMMANDS = list(listed())


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "docs/commands.md is old: run python -m docs.making.commands, and commit it"


def test_every_command_that_help_lists_has_its_section_and_no_other() -> None:
    assert [f"spillway {' '.join(words)}" for words in COMMANDS] == list(SECTIONS)


@pytest.mark.parametrize("words", COMMANDS, ids="_".join)
def test_a_section_says_what_help_says(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    section = SECTIONS[f"spillway {' '.join(words)}"].replace(r"\|", "|")
    described, options, rest = text.partition("\nOptions:\n")
    rows, _, example = rest.partition("\n  Example: ")
    assert options and example
    told = dict(re.findall(r"^\| `(.+)` \| (.*) \|$", section, re.M))
    help_rows = re.findall(r"^  (\S.*?)(?:  +|\n {4,})(\S.*)$", _arguments(described) + rows, re.M)
    assert told == {names: " ".join(about.split()) for names, about in help_rows if "--help" not in names}
    assert f"\n    {' '.join(example.split())}\n" in section
    usage, _, about = described.partition("\n\n")
    assert f"`{usage.removeprefix('Usage: ').strip()}`" in section
    assert " ".join(about.partition("\nArguments:\n")[0].split()) in " ".join(section.split())


@pytest.mark.parametrize("where", [*PAGES, PAGE.parents[1] / "README.md"], ids=lambda where: where.stem)
def test_examples_use_commands_and_options_that_are_there(where: Path) -> None:
    for line in re.findall(r"^    spillway ([a-z].*)$", where.read_text(), re.M):
        given = line.partition(" #")[0].replace("[", " ").replace("]", " ").split()
        words = next((words for words in COMMANDS if tuple(given[: len(words)]) == words), None)
        assert words, f"{where.name}: spillway {line}"
        known = set(re.findall(r"(?<!\w)--?[a-z][a-z-]*", help_of(*words)))
        assert {word for word in given if re.match(r"--?[a-z]", word)} <= known, f"{where.name}: spillway {line}"


def _arguments(described: str) -> str:
    return described.partition("\nArguments:\n")[2]
