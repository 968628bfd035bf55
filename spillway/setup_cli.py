"""The commands that look at the set-up: `doctor`, `config check` and `plan`. They change nothing and start nothing."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from pipeline.errors import BadValue
from spillway.command import ConfigOption, DataOption, JsonOption, guarded, leave, settings_of, show
from spillway.progress import progress

app = typer.Typer()
config_app = typer.Typer(
    name="config",
    help="The settings: whether they can be used, what they come to, and where each comes from.",
    epilog="Example: spillway config check -c config/spillway.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config_app)


@config_app.callback()
def _group() -> None:
    """The settings: whether they can be used, what they come to, and where each comes from."""


@app.command(epilog="Example: spillway doctor -c config/spillway.yaml --offline")
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Don't ask the venues for their time.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read the whole archive again, as `verify --deep` does.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Looks whether Redis, disks, clocks, rights, ledger and archive are as they should be, and says what to do.

    It changes nothing, and needs no running service. Exits with 1 where something is wrong; warnings alone are no error.
    """
    from spillway.config_check import files_with_secrets
    from spillway.doctor import Options, examine

    settings = settings_of(config, data)
    options = Options(offline, deep, files_with_secrets(config))
    with progress(quiet=as_json) as report:
        found = guarded(lambda: examine(settings, options, time.time_ns(), report))
    show(found.as_dict(), found.lines(), as_json)
    if found.late:  # what hangs would be waited for at a common end
        sys.stdout.flush()
        os._exit(0 if found.ok else 1)
    if not found.ok:
        leave(1)


@config_app.command(epilog="Example: spillway config check -c config/spillway.yaml --json")
def check(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Shows every setting, where it comes from, and all that is wrong with them; exits with 1 where they can't be used."""
    from spillway import config_check

    found = config_check.check(config, data)
    show(found.as_dict(), found.lines(), as_json)
    if found.problems:
        leave(1)


@app.command(epilog="Example: spillway plan --symbols 50 --trades-per-second 20")
def plan(
    symbols: Annotated[int | None, typer.Option(help="How many symbols; with --data as many as are kept there.")] = None,
    trades_per_second: Annotated[float | None, typer.Option(help="Of each symbol, in the mean; with --data as there.")] = None,
    levels_per_minute: Annotated[
        float | None, typer.Option(help="Prices that trade in a minute; default: 20 a trade/s.")
    ] = None,
    window_hours: Annotated[float | None, typer.Option(help="Hours in Redis; default: redis.window_hours.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimates memory, disk and CPU from what was measured: docs/benchmarks.md, and with --data what is kept there."""
    from spillway import plan as model
    from spillway.plan_measured import load_of, measure

    def work() -> None:
        settings = settings_of(config, data)
        measured = measure(settings) if data else None
        if measured is None and (symbols is None or trades_per_second is None):
            raise BadValue("expected --symbols and --trades-per-second, or --data with a folder that holds some minutes")
        load = load_of(settings, measured, symbols, trades_per_second, levels_per_minute, window_hours)
        found = model.planned(load, measured.correction if measured else model.Correction())
        based_on = measured.lines() if measured else ["from docs/benchmarks.md; with --data also from what is kept there"]
        show({**found.as_dict(), "based_on": based_on}, model.describe(found, based_on), as_json)

    guarded(work)
