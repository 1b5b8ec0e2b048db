"""``estate deadletters``: list what was refused, put it back mended or as it is, set it aside."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.contracts.errors import ContractError, EstateError, SettingsError
from core.contracts.letters import LetterState
from core.runtime.clock import ScaledClock
from estate.command_line import SettingsFile, opened, plainly, whoever

if TYPE_CHECKING:
    from core.storage.records import Records

app = typer.Typer(
    help="Dead letters: list them, put them back, set them aside.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="Why; stands in the audit.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters.", show_default=False)]
Field = Annotated[
    str | None,
    typer.Option(help="Only those with this field at fault (v: a newer wire).", show_default=False),
]
_PAGE = 500


@app.command("list")
@plainly
def list_letters(
    settings_file: SettingsFile = None,
    state: Annotated[
        LetterState | None, typer.Option(help="Only those.", show_default=False)
    ] = None,
    field: Field = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="How many.")] = 20,
) -> None:
    """List dead letters, newest first."""
    from core.storage.records import refusals

    with opened(settings_file) as records, records.reading() as session:
        page = refusals.list_dead_letters(session, state=state, field=field, limit=limit)
    for item in page.items:
        typer.echo(f"{item['id']}  {_time(item['at'])}  {item['state']}  {item['source']}")
        typer.echo(f"    {item['reason']}")
        if item["problem"]:
            typer.echo(f"    not replayed: {item['problem']}")
    if not page.items:
        typer.echo("There are none.")
    elif page.next is not None:
        typer.echo("There are more; --limit shows them.")


@app.command()
@plainly
def show(
    letter: str,
    settings_file: SettingsFile = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Only its bytes, as they came: mend them in a file.")
    ] = False,
) -> None:
    """Show one dead letter."""
    from core.storage.records import letters, refusals

    with opened(settings_file) as records, records.reading() as session:
        row = letters.get_letter(session, letter)
        view = refusals.dead_letter_view(row)
    if raw:
        sys.stdout.buffer.write(row.raw)
        return
    for name, value in view.items():
        if value not in (None, "") and name != "raw":
            typer.echo(f"{name:<13}{_time(value) if name.split('_')[-1] == 'at' else value}")
    typer.echo(view["raw"])


@app.command()
@plainly
def replay(
    letter: Ids = None,
    reason: Reason = "",
    file: Annotated[
        Path | None,
        typer.Option(help="What is to be in it instead (one letter).", show_default=False),
    ] = None,
    field: Field = None,
    settings_file: SettingsFile = None,
) -> None:
    """Put letters back into the log, as they came or mended; the collector does it at once.

    With --field and no id: all dead ones with this field at fault, for example after an upgrade.
    Exit code 1 when one of them is still at fault.
    """
    if file is not None and len(letter or ()) != 1:
        raise SettingsError("--file: name exactly one letter")
    _check_named(letter, field)
    mended = None if file is None else _bytes(file)
    refused = asked = 0
    with opened(settings_file) as records:
        for name in letter or _all(records, str(field)):
            try:
                events = _ask(records, name, reason, mended)
            except (ContractError, EstateError) as error:
                typer.secho(f"{name}: {error}", err=True, fg="red")
                refused += 1
            else:
                typer.echo(f"{name}: {events} event{'s' * (events != 1)} to be replayed")
                asked += 1
    typer.echo(f"{asked} asked for, {refused} refused; `estate deadletters list` tells more.")
    if refused:
        raise typer.Exit(1)


@app.command()
@plainly
def discard(
    letter: Ids = None,
    reason: Reason = "",
    field: Field = None,
    settings_file: SettingsFile = None,
) -> None:
    """Say that letters are of no use; they are kept, and still counted.

    With --field and no id: all dead ones with this field at fault.
    """
    from core.storage.records import letters

    _check_named(letter, field)
    with opened(settings_file) as records:
        for name in letter or _all(records, str(field)):
            with records.session() as session:
                letters.discard(session, name, whoever(), _now(), reason=reason)
            typer.echo(f"{name}: discarded")


def _check_named(letter: list[str] | None, field: str | None) -> None:
    if bool(letter) == (field is not None):
        raise SettingsError("name letters, or --field")


def _ask(records: Records, letter: str, reason: str, mended: bytes | None) -> int:
    from core.storage.records import letters

    with records.session() as session:
        found = letters.ask_replay(session, letter, whoever(), _now(), reason=reason, mended=mended)
    return len(found.events)


def _all(records: Records, field: str) -> list[str]:
    from core.storage.records import refusals

    found: list[str] = []
    before: str | None = None
    while True:
        with records.reading() as session:
            page = refusals.list_dead_letters(
                session, state=LetterState.DEAD, field=field, limit=_PAGE, before=before
            )
        found += [item["id"] for item in page.items]
        if (before := page.next) is None:
            # The oldest first, as they came.
            return found[::-1]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None


def _now() -> int:
    return ScaledClock.from_environment().now_ms()


def _time(at: Any) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")
