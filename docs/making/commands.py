"""Writes docs/commands.md from the commands themselves: `python -m docs.making.commands`. `make docs` does it too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from spillway.cli import app

PAGE = Path(__file__).parents[1] / "commands.md"
HEAD = """\
# Commands

<!-- Made by `python -m docs.making.commands` (`make docs`) from the commands' own help: change it there. -->

What `spillway COMMAND --help` says, of all commands. `-h` and `--help`, which each has, are left out below. Bad input ends a
command with one line and an exit code that is not 0. What settings do stands in [settings](settings.md).

A range is `--from` and `--to` (the end itself is left out), `--during 2024-10-23` or `--last 2h`, as far as a command has them;
all times are UTC. `2024-10` stands for the whole month, `2024-10-23` for the day.
"""


def page() -> str:
    """The whole page as markdown: a list of all commands, and a section of each."""
    commands = list(_commands(get_command(app), None, "spillway"))
    links = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_first_sentence(command.help)} |" for name, command, _ in commands]
    sections = [_section(*found) for found in commands]
    return "\n".join([HEAD, "| command | does |", "|---|---|", *links, "", *sections]).rstrip() + "\n"


def _commands(command: Any, parent: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Each command that does something, with its full name and its context; groups only lead to theirs."""
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent, **command.context_settings)
    if not hasattr(command, "commands"):
        yield name, command, context
        return
    for word, child in command.commands.items():
        if not child.hidden:
            yield from _commands(child, context, f"{name} {word}")


def _section(name: str, command: Any, context: Any) -> str:
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    example = " ".join((command.epilog or "").removeprefix("Example: ").split())
    records = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records if "--help" not in names]
    table = ["", "| option | is |", "|---|---|", *rows] if rows else []
    return "\n".join([f"## {name}", "", _paragraphs(command.help), "", f"    {example}", "", f"Usage: `{usage}`", *table, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _first_sentence(text: str) -> str:
    return f"{_paragraphs(text).partition('. ')[0].partition(chr(10))[0].rstrip('.')}."


if __name__ == "__main__":
    PAGE.write_text(page())
