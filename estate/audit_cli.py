"""``estate audit``, as a command."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from core.runtime import settings
from estate.command_line import SettingsFile, check_period, moment, plainly, records_of


@plainly
def audit(
    settings_file: SettingsFile = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="From when: 2026-11-21, 2026-11-21T08:00+08:00, or ms.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", help="Up to when (not included).", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Check that journalled = stored + dead-lettered + declared dropped; exit code 1 if not."""
    from estate.audit import FOREVER
    from estate.audit import audit as compute

    loaded = settings.load(settings_file)
    start = 0 if since is None else moment(since, "--from")
    end = FOREVER if until is None else moment(until, "--to")
    check_period(start, end)
    records_of(loaded)
    found = compute(loaded, start, end)
    if as_json:
        typer.echo(json.dumps(found.document(), ensure_ascii=False, indent=2))
    else:
        for line in found.lines():
            typer.echo(line)
    if not found.exact:
        raise typer.Exit(1)
