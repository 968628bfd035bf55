"""`spillway ledger ...`: the ledger's upkeep. `--url` takes another ledger than that of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spillway.command import ConfigOption, DataOption, JsonOption, complain, guarded, leave, settings_of, show
from spillway.ledger_files import Form
from spillway.progress import progress
from spillway.settings import Settings

if TYPE_CHECKING:
    from sinks.ledger.backup_file import Backup

app = typer.Typer(
    name="ledger",
    help="The ledger's upkeep: its schema, backups, exports and imports, and whether its books agree.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The ledger, such as sqlite:///data/ledger.db or postgresql://user@host/db.")
]


@app.command(epilog="Example: spillway ledger migrate --dry-run")
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes the ledger, or brings its schema up to date, once a backup is made. A newer program's ledger is refused."""

    def work() -> None:
        from sinks.ledger.backups import Backups
        from sinks.ledger.upgrade import pending, to_read, to_write

        settings = _settings(config, data, url)
        lacks, saved = pending(settings.ledger_url), None
        if lacks.steps and not dry_run:
            if lacks.found:
                with to_read(settings.ledger_url) as database, progress(quiet=as_json) as report:
                    saved = Backups(database, settings.backup_dir).make(report)
            with to_write(settings.ledger_url):
                pass
        show(
            {"ledger": lacks.where, "from": lacks.found, "to": lacks.newest, "steps": lacks.steps, "dry_run": dry_run},
            [
                _migrated(lacks.where, lacks.found, lacks.newest, dry_run),
                *(f"  {step}" for step in lacks.steps),
                *_saved(saved),
            ],
            as_json,
        )

    guarded(work)


@app.command(epilog="Example: spillway ledger backup -o ledger.backup")
def backup(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: a new one in ledger.backup_dir.")
    ] = None,
    portable: Annotated[
        bool, typer.Option("--portable", help="As rows instead of a SQLite file: restores on either engine.")
    ] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Saves the ledger while others write it, reads the file again, and only then gives it its name."""

    def work() -> None:
        from sinks.ledger import backups
        from sinks.ledger.upgrade import to_read

        settings = _settings(config, data, url)
        with to_read(settings.ledger_url) as database, progress(quiet=as_json) as report:
            if output is None and not portable:
                made = backups.Backups(database, settings.backup_dir).make(report)
            else:
                path = output or settings.backup_dir / backups.name_of(database, portable=True)
                made = backups.write(database, path, portable=portable, told=report)
        show(_backup(made), _saved(made), as_json)

    guarded(work)


@app.command(epilog="Example: spillway ledger restore data/backups/ledger-20241023T143000.000000Z.db")
def restore(
    file: Annotated[Path, typer.Argument(metavar="BACKUP", help="A backup that `spillway ledger backup` made.")],
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Puts a backup in the place of all that the ledger holds, and first saves that, too. A damaged backup is refused."""

    def work() -> None:
        from sinks.ledger import backups
        from sinks.ledger.backup_file import opened
        from sinks.ledger.upgrade import to_write

        settings = _settings(config, data, url)
        found = opened(file)
        with to_write(settings.ledger_url) as database, progress(quiet=as_json) as report:
            saved = backups.restore(database, file, settings.backup_dir, report)
            where = database.where
        lines = [f"{where}: restored from {file}, of {found.label.made_at}", f"what was there before: {saved}"]
        show(_backup(found) | {"ledger": where, "saved": saved}, lines, as_json)

    guarded(work)


@app.command(epilog="Example: spillway ledger export --what transactions --account acc_001 -o transactions.csv")
def export(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File by its ending (.csv, .json, .parquet); a folder for all, or for decisions."),
    ],
    what: Annotated[str, typer.Option(help="Which table; or all.")] = "all",
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    form: Annotated[Form, typer.Option(help="How all tables are written.")] = Form.CSV,
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes tables, exact to the last decimal; or decisions as the JSON documents that they came as, a file each."""

    def work() -> None:
        from sinks.ledger.upgrade import to_read
        from spillway import ledger_files

        with to_read(_settings(config, data, url).ledger_url) as database, progress(quiet=as_json) as report:
            database.is_made()  # refuses another version's
            rows = ledger_files.export(database, what, output, account, form, report)
        lines = [f"{count:,} rows of {name}" for name, count in rows.items()]
        show({"output": output, "rows": rows}, [*lines, f"written to {output}"], as_json)

    guarded(work)


@app.command("import", epilog="Example: spillway ledger import data/decisions")
def take(
    source: Annotated[
        str,
        typer.Argument(help="A folder of decisions ({date}_{id}.json), a .json file of conditions, or a ledger's file or URL."),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Take the new one where another content is stored.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Takes in what the ledger lacks. Run again it goes on, and what is there isn't written twice."""

    def work() -> None:
        from sinks.ledger.upgrade import to_write
        from spillway import ledger_files

        with to_write(_settings(config, data, url).ledger_url) as database, progress(quiet=as_json) as report:
            told, lines, complaints = ledger_files.take(database, source, replace, report)
        show({"source": source} | told, lines, as_json)
        complain(complaints)

    guarded(work)


@app.command(epilog="Example: spillway ledger check --json")
def check(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where books or minutes differ.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whether the ledger is whole, whether its books agree, and which minutes that decisions saw were revised since.

    Exits with 1 if anything is damaged or can't be read. Differences are told: what was saved directly has no history to agree.
    """

    def work() -> None:
        from sinks.ledger.upgrade import to_read
        from spillway import ledger_check

        settings = _settings(config, data, url)
        with to_read(settings.ledger_url) as database, progress(quiet=as_json) as report:
            found = ledger_check.check(settings, database, report)
        show(ledger_check.as_dict(found), ledger_check.describe(found), as_json)
        if found.damages or found.unread or (strict and (found.books.differences or found.differing)):
            leave(1)

    guarded(work)


# --- inside -------------------------------------------------------------------------------------------------------------


def _settings(config: Path | None, data: Path | None, url: str | None) -> Settings:
    settings = settings_of(config, data)
    return settings if url is None else settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"url": url})})


def _migrated(where: str, found: int, newest: int, dry_run: bool) -> str:
    if found == newest:
        return f"{where}: its schema has version {found}: nothing to do"
    did = "would be" if dry_run else "was"
    return f"{where}: its schema {did} {f'brought from version {found} to {newest}' if found else f'made, version {newest}'}"


def _backup(made: Backup) -> dict[str, Any]:
    label = made.label
    return {"backup": made.path, "kind": label.kind, "schema": label.schema, "made_at": label.made_at, "rows": label.rows}


def _saved(made: Backup | None) -> list[str]:
    if made is None:
        return []
    return [f"saved and verified: {made.path}, {sum(made.label.rows.values()):,} rows, {made.path.stat().st_size:,} bytes"]
