"""``estate devices``: unknown devices and edges, and adopting them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from core.contracts.topology import DeviceFamily
from core.runtime.clock import ScaledClock
from estate.command_line import SettingsFile, opened, plainly, whoever

app = typer.Typer(help="Unknown devices and edges: list them, adopt them.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why; stands in the audit.")]
_PAGE = 500


@app.command()
@plainly
def unknown(settings_file: SettingsFile = None) -> None:
    """List devices and edges that speak and that the topology does not name."""
    from core.storage.records import counters, quarantine

    after: str | None = None
    with opened(settings_file) as records, records.reading() as session:
        while True:
            items, after = quarantine.list_unknown(session, limit=_PAGE, after=after)
            for item in items:
                kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(item["kinds"].items()))
                what = "edge" if item["is_edge"] else "device"
                typer.echo(f"{item['id']}  ({what} on {item['source']})")
                if item["owner"] is not None:
                    typer.echo(
                        f"    is {item['owner']}'s: somebody else speaks for it, and no rule "
                        "takes that"
                    )
                typer.echo(
                    f"    {_time(item['first_seen'])} to {_time(item['last_seen'])}: {kinds}"
                )
                if item["sample"]:
                    typer.echo(f"    {json.dumps(item['sample'], ensure_ascii=False)}")
            if after is None:
                break
        unlisted = counters.read(session, counters.UNKNOWN_UNLISTED)
        typer.echo(f"{quarantine.count(session)} in all; everything that they say is stored.")
    if unlisted:
        typer.echo(f"There was no room for senders of {unlisted} events; adopt or forget some.")


@app.command()
@plainly
def adopt(
    id: str,
    node: Annotated[str, typer.Option(help="Where it is; for an edge, its site.")],
    family: Annotated[DeviceFamily, typer.Option(help="What it is.")],
    name: Annotated[str, typer.Option(help="Its name; with --name-en the Chinese one.")],
    name_en: Annotated[str, typer.Option(help="Its English name.", show_default=False)] = "",
    expect_s: Annotated[
        float | None, typer.Option(help="Seconds within which it should be heard.")
    ] = None,
    model: Annotated[str, typer.Option(help="Maker and model.", show_default=False)] = "",
    reason: Reason = "",
    settings_file: SettingsFile = None,
) -> None:
    """Give an unknown device or edge its place; again for an adopted one: correct it."""
    from core.storage.records import adoptions

    place = adoptions.Place(node, family, name, name_en or name, expect_s, model, reason)
    with opened(settings_file) as records, records.session() as session:
        now = ScaledClock.from_environment().now_ms()
        found = adoptions.adopt(session, id, place, whoever(), now)
    typer.echo(json.dumps(found["body"], ensure_ascii=False))
    typer.echo("Adopted; the collector activates it at once where it runs.")


@app.command()
@plainly
def adopted(settings_file: SettingsFile = None) -> None:
    """List what was adopted, by whom, and whether it holds."""
    from core.storage.records import adoptions

    with opened(settings_file) as records, records.reading() as session:
        items = adoptions.list_adoptions(session)
    for item in items:
        holds = item["problem"] or (
            "the topology file names it by now" if item["superseded_at"] is not None else "holds"
        )
        typer.echo(f"{item['id']}  {_time(item['at'])} by {item['by']}: {holds}")
        typer.echo(f"    {json.dumps(item['body'], ensure_ascii=False)}")
    if not items:
        typer.echo("There are none.")


@app.command()
@plainly
def withdraw(id: str, reason: Reason = "", settings_file: SettingsFile = None) -> None:
    """Take an adoption back; whoever speaks again is unknown again."""
    from core.storage.records import adoptions

    with opened(settings_file) as records, records.session() as session:
        adoptions.withdraw(session, id, whoever(), reason=reason)
    typer.echo(f"{id}: withdrawn")


@app.command()
@plainly
def forget(id: str, settings_file: SettingsFile = None) -> None:
    """Take an unknown one off the list; what it said stays stored."""
    from core.storage.records import accounts, quarantine

    with opened(settings_file) as records, records.session() as session:
        quarantine.forget(session, id)
        accounts.audit_by(session, whoever(), "device.forget", f"device/{id}")
    typer.echo(f"{id}: off the list until it speaks again")


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")
