"""``estate influx``: making an InfluxDB ready."""

from __future__ import annotations

from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from core.storage.series import initialise
from estate.command_line import SettingsFile, plainly

app = typer.Typer(help="Prepare an InfluxDB.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``init`` a command of its own: typer folds a single one into its group."""


@app.command("init")
@plainly
def init(
    settings_file: SettingsFile = None,
    shorten: Annotated[
        bool, typer.Option(help="Let the server delete what is older than series.retention_days.")
    ] = False,
) -> None:
    """Create database or bucket, retention and (2.x) InfluxQL's mapping; safe to repeat."""
    series = settings.load(settings_file).series
    if series.kind != "influxdb":
        raise SettingsError("series.kind is embedded: set it to influxdb first")
    for line in initialise(series.influxdb, series.retention_days, shorten=shorten):
        typer.echo(line)
