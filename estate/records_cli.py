"""``estate records``: the records as a whole."""

from __future__ import annotations

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from estate.command_line import FormerSettings, SettingsFile, plainly

app = typer.Typer(help="The records as a whole: copy them into PostgreSQL.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    """Let ``copy`` be a command of its own, although there is no other yet."""


@app.command()
@plainly
def copy(former: FormerSettings, settings_file: SettingsFile = None) -> None:
    """Copy the records of the former settings into those of --settings, an empty PostgreSQL.

    Alerts and their history, accounts, audit, topology, everything. Stop all parts first.
    """
    from core.storage.backup.rest import at_rest
    from core.storage.records import Records, dump

    source, target = settings.load(former), settings.load(settings_file)
    if source.records_url == target.records_url:
        raise SettingsError("records.url: both settings name the same records")
    if not source.data.is_dir():
        raise SettingsError(f"data: there is no folder {source.data}")
    with at_rest(source.data):
        records = Records(source.records_url).open(migrating=False)
        try:
            draft = source.data / ".records.copying"
            rows = dump.copy(records, target.records_url, draft=draft)
        finally:
            records.close()
    typer.echo(f"{sum(rows.values()):,} rows of {len(rows)} tables were copied.")
