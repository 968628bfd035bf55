"""The command line. Each command loads the settings, opens the parts, does one thing, and prints what became of it."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import BadValue
from pipeline.instrument import IdRule, Instrument
from pipeline.minute import minute_text
from sinks.ledger.gap import GapState
from spillway import ledger_cli, setup_cli
from spillway.app import App, opened
from spillway.command import ConfigOption, DataOption, JsonOption, complain, guarded, leave, settings_of, show
from spillway.log import set_up_logging
from spillway.progress import progress
from spillway.settings import Settings

app = typer.Typer(
    name="spillway",
    help="Keeps every trade that an exchange publishes as exact minute footprints: Redis, minute files, Parquet.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(ledger_cli.app)
app.add_typer(setup_cli.app)

VenueOption = Annotated[str, typer.Option("--venue", help="The venue, such as binance.")]
SymbolOption = Annotated[str, typer.Option("--symbol", help="The venue's own symbol, such as BTCUSDT or BTC/USD.")]


class What(StrEnum):
    """What `export` writes."""

    LEVELS = "levels"
    MINUTES = "minutes"
    BARS = "bars"
    TRADES = "trades"


class Picture(StrEnum):
    """What `plot` draws."""

    FOOTPRINT = "footprint"
    BARS = "bars"
    COVERAGE = "coverage"


class Colour(StrEnum):
    """What the colour of a footprint's cells tells."""

    DELTA = "delta"
    VOLUME = "volume"


class LayoutName(StrEnum):
    """Whose columns `export` writes."""

    FREQTRADE = "freqtrade"
    BACKTESTING = "backtesting"
    BACKTRADER = "backtrader"


@app.command(epilog="Example: spillway demo")
def demo(
    data: Annotated[Path | None, typer.Option("--data", help="Keep the demo's data here; default: a temporary folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The whole job with no network: an exchange on loopback, three days by their clock, and the proof that none is lost."""
    from spillway.demo import run_demo

    leave(asyncio.run(run_demo(data, as_json)))


@app.command(epilog="Example: spillway run -c config/spillway.yaml")
def run(
    config: ConfigOption = None,
    data: DataOption = None,
    max_instruments: Annotated[
        int | None, typer.Option(min=1, help="Take at most so many; further processes with the same settings take the others.")
    ] = None,
) -> None:
    """Collects live trades until SIGTERM, which loses nothing; seals, spills and compacts meanwhile.

    A second process with the same settings stands by, and takes over within seconds. On SIGHUP, or when the settings file
    changed, what is collected is brought to what the file says by then.
    """
    from spillway.reload import SettingsFile
    from spillway.service import run_service

    source = SettingsFile(config, data)
    settings = guarded(source.load)
    set_up_logging(settings.log.format, settings.log.level)
    _with_app(settings, lambda app: run_service(app, most=max_instruments, source=source))


@app.command(epilog="Example: spillway replay trades.csv.gz --venue bitflyer --symbol BTC_JPY --data data")
def replay(
    tapes: Annotated[list[Path], typer.Argument(metavar="TAPE", help="Files of recorded trades, played in this order.")],
    venue: VenueOption,
    symbol: SymbolOption,
    columns: Annotated[
        str | None, typer.Option(help="Which csv column is what: time=timestamp,id=tradeId,price=p,size=q,side=side")
    ] = None,
    ids: Annotated[IdRule | None, typer.Option(help="What the ids prove; default: what is known of the venue.")] = None,
    price_group: Annotated[str | None, typer.Option(help="Floor prices to a multiple of this, such as 10 or 0.5.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plays tapes through the same path as live trades, by the tape's own clock. Replaying twice changes nothing."""
    from spillway import replay as job

    instrument = _instrument(venue, symbol)

    async def work(app: App) -> None:
        with progress(quiet=as_json) as report:
            summary = await job.replay(
                app,
                tapes,
                instrument,
                columns=_columns(columns),
                rule=ids,
                price_group=_decimal("--price-group", price_group),
                progress=lambda tape, done, total, rows: report(tape, done, total, f"{rows:,} trades"),
            )
        show(job.as_dict(summary), job.describe(summary), as_json)
        _report_failures(summary.failures)

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway backfill --venue binance --symbol BTCUSDT --from 2024-10-23 --to 2024-10-24")
def backfill(
    venue: VenueOption,
    symbol: SymbolOption,
    start: Annotated[str, typer.Option("--from", help="First time, UTC: 2024-10-23 or 2024-10-23T14:30.")],
    end: Annotated[str | None, typer.Option("--to", help="End time, UTC, itself left out; default: now.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetches history from the venue's REST API, as far as it lacks here. Killed and started again it goes on."""
    from spillway import backfill as job

    instrument = _instrument(venue, symbol)

    async def work(app: App) -> None:
        with progress(quiet=as_json) as report:
            summary = await job.backfill(app, instrument, start, end, progress=report)
        show(job.as_dict(summary), job.describe(summary), as_json)
        _report_failures(summary.failures)

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway spill --all --data data")
def spill(
    everything: Annotated[bool, typer.Option("--all", help="Drain the window whatever its age, open minutes too.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Moves sealed minutes older than the window from Redis to minute files, once, now."""
    from spillway.spill import spill_now

    async def work(app: App) -> None:
        with progress(quiet=as_json) as report:
            result = await spill_now(app, everything, lambda done, total: report("spill", done, total))
        show(
            {"spilled": result.written, "bytes": result.bytes, "early": result.early, "failed": len(result.failures)},
            [f"{result.written:,} minutes spilled, {result.bytes:,} bytes"],
            as_json,
        )
        _report_failures(result.failures)

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway compact --data data")
def compact(
    merge: Annotated[
        bool | None,
        typer.Option("--merge-months/--no-merge-months", help="Merge closed months, or not; default: archive.merge_months."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be compacted and merged.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Turns each finished day's minute files into Parquet, verifies it, and only then deletes the files.

    With `archive.merge_months` closed months then become one file each.
    """
    from spillway.compact import as_dict, compact_finished, describe, due_now, merge_months

    async def work(app: App) -> None:
        if dry_run:
            due = await due_now(app, months=merge)
            lines = [*map(str, due)] or ["nothing to compact or to merge"]
            return show({"dry_run": True, "due": [one.as_dict() for one in due]}, lines, as_json)
        with progress(quiet=as_json) as report:
            days = await compact_finished(app, progress=lambda done, total: report("compact", done, total, "days"))
            months = await merge_months(app, progress=lambda done, total: report("merge", done, total, "months"), wanted=merge)
        told = {"days": [as_dict(day) for day in days], "months": [month.as_dict() for month in months]}
        show(told, [*describe(days), *map(str, months)], as_json)
        complain([*(p for day in days for p in day.problems), *(month.problem for month in months if month.problem)])

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway retention --dry-run")
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Removes the oldest days beyond archive.keep_days and archive.max_bytes; without these settings nothing."""
    from spillway.retention import as_dict, describe, disk_warnings, remove_expired

    async def work(app: App) -> None:
        swept = await remove_expired(app, dry_run=dry_run)
        warnings = await disk_warnings(app)
        told = {"dry_run": dry_run, "removed": [as_dict(expiry) for expiry in swept.found], "warnings": warnings}
        show(told, [*describe(swept.found, dry_run=dry_run), *warnings], as_json)
        complain(swept.problems)

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway verify --venue binance --symbol BTCUSDT --from 2024-10-01")
def verify(
    venue: Annotated[str | None, typer.Option("--venue", help="Only of this venue.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only of this symbol.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First time, UTC: 2024-10-23 or 2024-10-23T14:30.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End time, UTC, itself left out.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Make each minute's file anew and compare its checksum.")] = False,
    files: Annotated[bool, typer.Option("--files", help="List each file, not only the damaged ones.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reads minute files and archive again, names what is damaged and what to do, and exits with 1 if anything is."""
    from spillway import verify as job

    def work() -> None:
        with progress(quiet=as_json) as report:
            what = job.What(venue, symbol, start, end, deep)
            found = job.verify(settings_of(config, data), what, lambda done, total: report("verify", done, total))
        show(job.as_dict(found, files=files), job.describe(found, files=files), as_json)
        if found.damages:
            leave(1)

    guarded(work)


@app.command(epilog="Example: spillway status --json")
def status(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """What is where, how late, and what is missing, for each instrument."""
    from spillway.status import describe, gather

    async def work(app: App) -> None:
        found = await gather(app)
        show(found, describe(found), as_json)

    _with_app(settings_of(config, data), work)


@app.command(epilog="Example: spillway watch --venue binance --symbol BTCUSDT")
def watch(
    venue: Annotated[str | None, typer.Option("--venue", help="Only of this venue.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="This one's footprint as it builds.")] = None,
    tick: Annotated[
        str | None, typer.Option(help="A footprint row's height in the price's unit, such as 10; default: what fits.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once; so it does where there is no terminal, too.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """A live view of what is in Redis, from beside the service; it changes nothing. Ctrl-C ends it."""
    from spillway.watch import job

    wanted = guarded(lambda: job.Wanted(venue, symbol, _decimal("--tick", tick)))
    once = once or as_json or not sys.stdout.isatty()
    work = job.watch_once(settings_of(config, data), wanted, as_json) if once else job.watch(settings_of(config, data), wanted)
    guarded(lambda: _run(work))


@app.command(epilog="Example: spillway gaps --venue binance --symbol BTCUSDT --state lost --minutes")
def gaps(
    venue: Annotated[str | None, typer.Option("--venue", help="Only of this venue.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only of this symbol.")] = None,
    state: Annotated[GapState | None, typer.Option(help="Only those that this became of.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First time, UTC: 2024-10-23 or 2024-10-23T14:30.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End time, UTC, itself left out.")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 50,
    minutes: Annotated[bool, typer.Option("--minutes", help="With each gap's minutes, as they are stored.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade ids that were never seen, times when nobody listened, and what became of them: repaired, lost, or open."""
    from spillway import gaps as job

    def work() -> None:
        wanted = job.Wanted(venue, symbol, state, start, end, limit)
        found = job.gather(settings_of(config, data), wanted, minutes=minutes)
        show(found, job.describe(found, _width()), as_json)

    guarded(work)


@app.command(epilog="Example: spillway export --venue binance --symbol BTCUSDT --what bars --every 5m -o bars.parquet")
def export(
    venue: VenueOption,
    symbol: SymbolOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write: .csv, .parquet, .json or .feather by its ending.")
    ],
    start: Annotated[
        str | None, typer.Option("--from", help="First time, UTC: 2024-10, 2024-10-23 or 2024-10-23T14:30.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End time, UTC, itself left out.")] = None,
    what: Annotated[What, typer.Option(help="What to export; trades are there where they were recorded.")] = What.LEVELS,
    every: Annotated[str, typer.Option(help="A bar's length: 1m, 5m, 1h, 1d.")] = "1m",
    layout: Annotated[LayoutName | None, typer.Option(help="The columns that this program reads; default: ours.")] = None,
    whole_only: Annotated[bool, typer.Option("--whole-only", help="Leave out what is not known to be whole.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Writes a time range, from Redis, minute files and Parquet together, to one file."""
    from spillway.export import Export, export_range

    instrument = _instrument(venue, symbol)
    name = layout.value if layout else None
    wanted = guarded(lambda: Export(instrument, output, what.value, start, end, every, name, whole_only))
    with progress() as report:
        done = guarded(lambda: export_range(settings_of(config, data), wanted, report))
    typer.echo("\n".join([f"{done.rows:,} rows written to {output}", *done.notes]))


@app.command(epilog="Example: spillway plot --venue binance --symbol BTCUSDT --last 2h --every 5m --tick 10 -o chart.html")
def plot(
    venue: VenueOption,
    symbol: SymbolOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .png, .svg or .html by its ending.")],
    start: Annotated[
        str | None, typer.Option("--from", help="First time, UTC: 2024-10, 2024-10-23 or 2024-10-23T14:30.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End time, UTC, itself left out.")] = None,
    last: Annotated[
        str | None, typer.Option("--last", help="Instead of --from: the last 90m, 36h, 7d before --to or now.")
    ] = None,
    what: Annotated[Picture, typer.Option(help="What to draw.")] = Picture.FOOTPRINT,
    every: Annotated[str | None, typer.Option(help="A bar's length: 1m, 5m, 1h, 1d; default: what fits.")] = None,
    tick: Annotated[
        str | None, typer.Option(help="A row's height in the price's unit, such as 10; default: what fits.")
    ] = None,
    colour: Annotated[Colour, typer.Option(help="What the cells' colour tells.")] = Colour.DELTA,
    imbalance: Annotated[str, typer.Option(help="From which ratio on a row is marked as imbalanced, in percent.")] = "300",
    size: Annotated[str | None, typer.Option(help="Width and height in pixels, such as 1600x900.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Draws a footprint chart, bars with cumulative delta, or a coverage calendar; an html file is to zoom into."""
    from spillway import plot as pictures
    from spillway.plot import job
    from spillway.store import Store

    instrument = _instrument(venue, symbol)

    def work() -> pictures.Picture:
        height, percent = _decimal("--tick", tick), _decimal("--imbalance", imbalance) or 300
        pixels = None if size is None else job.size_of(size)
        drawing = job.Drawing(
            instrument, output, what.value, start, end, last, every, height, colour.value, percent, size=pixels
        )
        with Store(settings_of(config, data)) as store:
            picture = job.draw(store, drawing)
        picture.save(output)
        return picture

    typer.echo(f"{guarded(work).view.title}: {output}")


def main() -> None:
    """The entry point of the `spillway` command."""
    set_up_logging()
    app()


# --- inside -----------------------------------------------------------------------------------------------------------------


def _instrument(venue: str, symbol: str) -> Instrument:
    return guarded(lambda: Instrument(venue, symbol))


def _columns(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and column for name, _, column in pairs):
        raise BadValue(f"--columns {text!r}: expected pairs such as time=timestamp,id=tradeId,price=p,size=q,side=side")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _decimal(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not (number.is_finite() and number > 0):
        raise BadValue(f"{option} {text!r}: expected a number above 0")
    return number


def _with_app(settings: Settings, work: Callable[[App], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        async with opened(settings) as parts:
            await work(parts)

    guarded(lambda: _run(inside()))


def _run(work: Coroutine[Any, Any, None]) -> None:
    gc.freeze()  # what is there now stays: and our many small lists are never in cycles, so that looking for some
    gc.set_threshold(100_000, 20, 100)  # seldom saves 7 % of a replay
    try:
        import uvloop
    except ImportError:  # not on every system; asyncio's own loop does as well, slower
        asyncio.run(work)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def _width() -> int | None:
    """How wide the terminal is, if there is one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _report_failures(failures: list[Any]) -> None:
    complain([f"{f.instrument} {minute_text(f.minute)}: {f.error}" for f in failures])
