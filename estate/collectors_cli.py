"""``estate collectors``: several collectors and their sites."""

from __future__ import annotations

from typing import Annotated

import typer

from estate.command_line import SettingsFile, opened, plainly, whoever

app = typer.Typer(
    help="Several collectors: who lives, whose each site is, moving one.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="Why; stands in the audit.")]


@app.command("list")
@plainly
def list_(settings_file: SettingsFile = None) -> None:
    """List the collectors that share these records, and whose each site is."""
    from core.storage.records import tenures

    with opened(settings_file) as records, records.reading() as session:
        collectors, sites = tenures.overview(session)
    for each in collectors:
        own = [site.site for site in sites if site.collector == each.name]
        lives = "lives" if each.left_ms > 0 else f"not heard for {-each.left_ms / 1000:.0f} s"
        typer.echo(f"{each.name}  {lives}; sites: {', '.join(own) or 'none'}")
    for site in sites:
        if site.collector is None:
            typer.echo(f"site {site.site}: nobody's")
        if site.wanted not in (None, site.collector):
            typer.echo(f"site {site.site}: to be {site.wanted}'s")
    if not collectors:
        typer.echo("Nobody shares these records: one collector has all sites.")


@app.command()
@plainly
def assign(
    site: str,
    collector: Annotated[str | None, typer.Argument(help="Its name; none: anybody.")] = None,
    reason: Reason = "",
    settings_file: SettingsFile = None,
) -> None:
    """Say whose a site is to be; where that one lives, the site moves within seconds."""
    from core.storage.records import accounts, tenures

    with opened(settings_file) as records, records.session() as session:
        tenures.assign(session, site, collector)
        who = whoever()
        detail = {"collector": collector, "reason": reason}
        accounts.audit(session, who.at, who.name, "site.assign", f"site/{site}", detail=detail)
    typer.echo(f"{site}: to be {'anybody' if collector is None else collector}'s")
