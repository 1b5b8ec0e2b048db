"""``estate export``: a range of what was heard, as Parquet or CSV files."""

from __future__ import annotations

import difflib
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.contracts.events import KINDS
from core.runtime import settings
from estate.command_line import SettingsFile


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

    Times without an offset are UTC, as all times in the files are.
    """
    from core.storage.reservoir import Wanted, export_range
    from core.storage.series import open_reader

    wanted = Wanted(
        moment(start, "--from"),
        moment(end, "--to"),
        kinds=tuple(_known(name) for name in kind or ()),
        sites=tuple(dict.fromkeys(site or ())),
        devices=tuple(dict.fromkeys(device or ())),
        format=form.value,
        excel=excel,
    )
    reader = open_reader(settings.load(settings_file))
    try:
        manifest = export_range(reader, wanted, out.absolute(), time.time_ns() // 1_000_000)
    finally:
        reader.close()
    for file in manifest.files:
        typer.echo(f"{out / file.path}: {file.rows} rows")
    if not manifest.files:
        typer.echo("Nothing was heard in that range.")


def moment(text: str, option: str) -> int:
    """Return a date or time (ISO 8601; UTC where it has no offset) in ms."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option}: {text!r} is no time; write 2026-11-21 or 2026-11-21T08:00+08:00"
        ) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp() * 1000)


def _known(kind: str) -> str:
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(KINDS))}"
        raise SettingsError(f"--kind: {kind!r} is unknown{hint}")
    return kind
