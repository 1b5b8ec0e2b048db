"""``estate edge``: start an edge agent, check its file against its devices, find devices."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from typer.core import TyperGroup

from core.runtime.clock import ScaledClock
from core.runtime.lifecycle import end_process
from estate.command_line import SettingsFile, plainly, prepare, serve


class _EdgeGroup(TyperGroup):
    """``estate edge FILE`` is what ``estate edge run FILE`` is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front where the first word is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_EdgeGroup,
    help="Start one edge agent (`estate edge FILE`), check its file, find devices.",
    no_args_is_help=True,
)
File = Annotated[Path, typer.Argument(help="The edge's configuration (YAML).")]
_OK, _BAD = "green", "red"


@app.command("run")
@plainly
def run_edge(file: File, settings_file: SettingsFile = None) -> None:
    """Start one edge agent; SIGHUP makes it read its file again."""
    from edge.app import EdgeApp

    loaded, clock = prepare(settings_file, f"edge-{file.stem}")
    part = EdgeApp(loaded, clock, file, on_failure=end_process)

    def heed_hangup() -> None:
        if hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, part.request_reload)

    serve(part, loaded, f"edge-{part.edge}", f"The edge {part.edge} runs.", also=heed_hangup)


@app.command("check")
@plainly
def check_edge(
    file: File,
    timeout: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds that each driver may take.")
    ] = 15.0,
) -> None:
    """Read the file, reach every device once, and show a reading or what is wrong.

    Nothing is stored and nothing is switched. Exit code 1 when a device was not reached.
    """
    from edge import config
    from edge.check import Finding, check
    from edge.local_rules.service import prepare as prepare_rules

    loaded = config.load(file)
    rules = prepare_rules(loaded).rules
    typer.echo(
        f"{file}: edge {loaded.edge} of site {loaded.site}, "
        f"{len(loaded.drivers)} drivers, {len(loaded.device_ids())} devices"
    )
    if rules:
        typer.echo(f"{len(rules)} files of local rules are in order")

    async def look() -> list[Finding]:
        found = []
        async for finding in check(loaded, ScaledClock(), timeout):
            found.append(finding)
            _show(finding)
        return found

    found = asyncio.run(look())
    bad = sum(not finding.ok for finding in found)
    typer.echo(f"{len(found) - bad} of {len(found)} devices were reached")
    if bad:
        raise typer.Exit(1)


def _show(finding: Any) -> None:
    if finding.ok:
        took = "" if finding.latency_ms is None else f"{finding.latency_ms:.0f} ms"
        reading = finding.reading or "connected; it said nothing yet"
        typer.secho(f"ok   {finding.device:<28} {took:>8}  {reading}", fg=_OK)
        return
    cause = finding.cause or "unknown"
    typer.secho(f"BAD  {finding.device:<28} {cause:>8}  {finding.error}", fg=_BAD)
    typer.echo(f"     {'':<28} {'':>8}  {finding.driver}: {finding.remedy}")


@app.command("discover")
@plainly
def discover_devices(
    protocol: Annotated[str, typer.Argument(help="bacnet, cjt188, dlt645, modbus or onvif.")],
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            help="An address, a name, 192.168.10.10-40 or 192.168.10.0/28; several with commas.",
            show_default=False,
        ),
    ] = None,
    ports: Annotated[
        str, typer.Option(help="Such as 502,8001 or 8001-8004.", show_default=False)
    ] = "",
    units: Annotated[
        str,
        typer.Option(
            help="Units on a bus, such as 1-16; the last digits of meters.", show_default=False
        ),
    ] = "",
    serial: Annotated[
        list[str] | None, typer.Option(help="A serial port, such as /dev/ttyS1.")
    ] = None,
    baud: Annotated[
        int | None, typer.Option(help="Of the serial ports.", show_default=False)
    ] = None,
    interface: Annotated[
        str, typer.Option(help="IPv4 address of the interface to ask from.", show_default=False)
    ] = "",
    wait: Annotated[
        float | None,
        typer.Option(min=0.05, max=60, help="Seconds for each answer.", show_default=False),
    ] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print entries to paste.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Scan a wide range, too.")] = False,
) -> None:
    """Find devices within a range. Only questions are sent, but a busy bus is disturbed."""
    from estate.discovery import Wanted, scan

    wanted = Wanted.of(
        protocol, hosts or [], ports, units, serial or [],
        baud=baud, interface=interface, wait_s=wait, wide=yes,
    )  # fmt: skip
    count = asyncio.run(_print_found(scan(wanted), as_yaml=as_yaml))
    typer.echo(f"# {count} found" if as_yaml else f"{count} found")


async def _print_found(scanning: Any, *, as_yaml: bool) -> int:
    from edge.discovery.found import entries

    everything = []
    try:
        async for found in scanning:
            everything.append(found)
            if as_yaml:
                typer.echo(f"# {found.address}: {found.what}")
            else:
                typer.echo(f"{found.protocol:<10} {found.address:<36} {found.what}")
    finally:
        if as_yaml and everything:  # also what an interrupted scan had found
            text = yaml.safe_dump(entries(everything), allow_unicode=True, sort_keys=False)
            typer.echo(text.rstrip())
    return len(everything)
