"""What all commands share: their common options, how they end, and how they print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer

from pipeline.errors import SpillwayError
from spillway.settings import Settings, load_settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file, such as config/spillway.yaml.", show_default=False)
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder; wins over the settings file.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]

T = TypeVar("T")


def settings_of(config: Path | None, data: Path | None) -> Settings:
    """The settings of a file, the environment and a data folder."""
    return guarded(lambda: load_settings(config, data))


def guarded(work: Callable[[], T]) -> T:
    """Runs `work`; an error of ours becomes one line and a non-zero exit."""
    try:
        return work()
    except SpillwayError as error:
        leave(1, str(error))
    except KeyboardInterrupt:
        leave(130, "interrupted")


def complain(lines: list[str]) -> None:
    """Ends the command where there is anything to complain of: by the first line."""
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        leave(1, lines[0] + more)


def leave(code: int, message: str = "") -> NoReturn:
    """Ends the command."""
    if message:
        print(f"spillway: {printable(message)}", file=sys.stderr)
    raise typer.Exit(code)


def printable(text: str) -> str:
    """`text` on one line, its control characters shown as escapes: a file's name must not move the cursor."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text)


def show(as_dict: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """Prints what became of it."""
    if as_json:
        typer.echo(orjson.dumps(as_dict, default=str, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo("\n".join(lines))
