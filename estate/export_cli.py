"""``estate export``: a range of what was heard, as Parquet or CSV files."""

from __future__ import annotations

import difflib
import time
from collections.abc import Collection
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.contracts.errors import EstateError, SettingsError
from core.contracts.events import KINDS
from core.runtime import settings
from core.runtime.settings import Settings
from estate.command_line import ANOTHER_FOLDER, SettingsFile, check_period, moment, records_of

if TYPE_CHECKING:
    from core.contracts.ports import SeriesReader
    from core.storage.reservoir import Wanted

#: So many names are told where none is near.
_NAMED = 50


class Form(StrEnum):
    """What files are written."""

    PARQUET = "parquet"
    CSV = "csv"


def command(
    start: Annotated[
        str, typer.Option("--from", help="A date or time, such as 2026-11-21 or 2026-11-21T08:00.")
    ],
    end: Annotated[str, typer.Option("--to", help="Where it ends; not part of the range.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a new one.")],
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind (may be repeated).")
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Only this site (may be repeated).")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this device (may be repeated).")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="parquet or csv.")] = Form.PARQUET,
    excel: Annotated[
        bool, typer.Option("--excel", help="CSV with the mark by which Excel sees UTF-8.")
    ] = False,
    settings_file: SettingsFile = None,
) -> None:
    """Export what was heard in a range: a file for each kind, and a manifest.

    Times without an offset are UTC, as all times in the files are. Where nothing was heard nothing
    is written, and the exit code is 1.
    """
    from core.storage.reservoir import Wanted, export_range
    from core.storage.series import open_reader

    if excel and form is not Form.CSV:
        raise SettingsError("--excel: is about CSV; add --format csv")
    wanted = Wanted(
        moment(start, "--from"),
        moment(end, "--to"),
        kinds=tuple(dict.fromkeys(_known("--kind", name, KINDS) for name in kind or ())),
        sites=tuple(dict.fromkeys(site or ())),
        devices=tuple(dict.fromkeys(device or ())),
        format=form.value,
        excel=excel,
    )
    check_period(wanted.start, wanted.end)
    loaded = settings.load(settings_file)
    reader = open_reader(loaded)
    try:
        _check_store(loaded, reader)
        _check_names(loaded, reader, wanted)
        manifest = export_range(reader, wanted, out.absolute(), time.time_ns() // 1_000_000)
    finally:
        reader.close()
    for file in manifest.files:
        typer.echo(f"{out / file.path}: {file.rows} rows")
    if not manifest.files:
        typer.secho("Nothing of that was heard in that range; nothing is written.", err=True)
        raise typer.Exit(1)


def _check_store(loaded: Settings, reader: SeriesReader) -> None:
    """Raise SettingsError where no collector has ever written to the store."""
    if not reader.positions():
        is_embedded = loaded.series.kind == "embedded"
        where = loaded.data / "series" if is_embedded else loaded.series.influxdb.url
        raise SettingsError(f"{where}: there is nothing of a collector's; {ANOTHER_FOLDER}")


def _check_names(loaded: Settings, reader: SeriesReader, wanted: Wanted) -> None:
    """Raise SettingsError for a site or a device that nobody knows and that never spoke."""
    from core.storage.records import census

    if not (wanted.sites or wanted.devices):
        return
    try:
        with (
            closing(records_of(loaded).open(migrating=False)) as records,
            records.reading() as session,
        ):
            known = census.names(session)
    except EstateError as error:
        # A store may outlive its records.
        typer.secho(f"estate: sites and devices are not checked: {error}", err=True, fg="yellow")
        return
    for name in wanted.sites:
        _known("--site", name, known.sites)
    for name in wanted.devices:
        if name not in known.devices and not reader.latest([name]):
            _known("--device", name, known.devices)


def _known(option: str, name: str, names: Collection[str]) -> str:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        some = ", ".join(sorted(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        hint = f"; did you mean {near[0]}?" if near else f"; known are {some}" if names else ""
        raise SettingsError(f"{option}: {name!r} is unknown{hint}")
    return name
