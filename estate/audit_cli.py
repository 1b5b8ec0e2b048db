"""``estate audit``, as a command."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from estate.command_line import SettingsFile, plainly


def _ms(text: str | None, option: str, otherwise: int) -> int:
    """Return a moment in ms; raise SettingsError that names the option."""
    if text is None:
        return otherwise
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingsError(f"{option}: {text!r} is no time; write 2026-01-31T08:00+08:00, or ms")
    return int(moment.timestamp() * 1000)


@plainly
def audit(
    settings_file: SettingsFile = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="From when; ISO 8601 with an offset.", show_default=False),
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

    found = compute(
        settings.load(settings_file), _ms(since, "--from", 0), _ms(until, "--to", FOREVER)
    )
    if as_json:
        typer.echo(json.dumps(found.document(), ensure_ascii=False, indent=2))
    else:
        for line in found.lines():
            typer.echo(line)
    if not found.exact:
        raise typer.Exit(1)
