"""``estate collectors``: several collectors and their sites."""

from __future__ import annotations

from typing import Annotated

import typer

from core.contracts.errors import SettingsError
from core.runtime import settings
from estate.command_line import FormerSettings, SettingsFile, opened, plainly, prepare, whoever

app = typer.Typer(
    help="Several collectors: who lives, whose each site is, moving one; from one to several.",
    no_args_is_help=True,
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
    names = {each.name for each in collectors}
    for site in sites:
        if site.collector not in names:
            typer.echo(f"site {site.site}: nobody's")
        if site.wanted not in (None, site.collector):
            typer.echo(f"site {site.site}: to be {site.wanted}'s")
    if not collectors and not sites:
        typer.echo("Nobody shares these records: one collector has all sites.")


@app.command()
@plainly
def assign(
    site: str,
    collector: Annotated[str | None, typer.Argument(help="Its name; none: anybody.")] = None,
    reason: Reason = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also to a collector that nobody has heard of yet.")
    ] = False,
    settings_file: SettingsFile = None,
) -> None:
    """Say whose a site is to be; where that one lives, the site moves within seconds."""
    from core.storage.records import accounts, tenures

    with opened(settings_file) as records, records.session() as session:
        sites, names = tenures.known_sites(session), tenures.known_collectors(session)
        if site not in sites:
            raise SettingsError(f"there is no site {site!r}; {_there_are(sites)}")
        if collector is not None and collector not in names and not force:
            raise SettingsError(
                f"nobody has heard of a collector {collector!r}; {_there_are(names)}; for one that "
                "is still to come say --force"
            )
        tenures.assign(session, site, collector)
        who = whoever()
        detail = {"collector": collector, "reason": reason}
        accounts.audit(session, who.at, who.name, "site.assign", f"site/{site}", detail=detail)
    typer.echo(f"{site}: to be {'anybody' if collector is None else collector}'s")


def _there_are(names: set[str]) -> str:
    return f"there are {', '.join(sorted(names))}" if names else "there are none yet"


@app.command()
@plainly
def take_over(
    former: FormerSettings, reason: Reason = "", settings_file: SettingsFile = None
) -> None:
    """Leave the sites of the one collector of the former settings to several.

    It has to have stopped, and its records to be those of --settings, which is one of the several;
    its stores and the broker have to run. Each site then moves as if by plan: nothing is lost, and
    what stands goes on.
    """
    from collector.finishing import finish
    from collector.take_over import take_over as leave

    shared, clock = prepare(settings_file, "take-over")
    one = settings.load(former)
    finish(one, shared, clock)
    found = leave(one, shared, whoever(), reason)
    for site, lanes in sorted(found.sites.items()):
        typer.echo(f"{site}: goes on behind what is stored of {lanes} lanes")
    if not found.is_same_store:
        typer.echo(
            "The series store is another: what was stored before stays where it is, and the "
            "accounts compare the store's contents from the second day on."
        )
    typer.echo("Start the several collectors; the one does not start on its log any more.")
