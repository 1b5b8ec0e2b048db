"""``estate broker-config``: what is typed, and what is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.contracts import topology
from core.contracts.errors import ContractError, EstateError, SettingsError
from core.runtime import settings
from core.runtime.settings import read_yaml
from estate.broker_config.authority import checked_host
from estate.broker_config.folder import ALL, SERVER, ConfigFolder, Holding
from estate.broker_config.identities import (
    PARTS,
    Identity,
    Role,
    free,
    merged,
    of_edge_file,
    of_topology,
    placed,
)
from estate.broker_config.state import State
from estate.command_line import SettingsFile

_SHOWN = 25
Names = list[str] | None


def broker_config(
    folder: Annotated[Path, typer.Argument(help="Where to write; kept from run to run.")],
    settings_file: SettingsFile = None,
    topology_file: Annotated[
        Path | None,
        typer.Option("--topology", help="Its edges, and devices without one, get access.",
                     show_default=False),
    ] = None,
    host: Annotated[
        Names, typer.Option(help="A name or address of the broker; the first is what the parts "
                            "connect to. Several times.", show_default=False),
    ] = None,
    port: Annotated[int | None, typer.Option(
        min=1, max=65_535, show_default=False, help="For edges and devices (8883).")] = None,
    house_port: Annotated[int | None, typer.Option(
        min=1, max=65_535, show_default=False, help="For the system's own parts (8884).")] = None,
    bind: Annotated[str | None, typer.Option(
        show_default=False, help="Listen for edges and devices on this address only.")] = None,
    house_bind: Annotated[str | None, typer.Option(
        show_default=False, help="Listen for the system's own parts on this address only.")] = None,
    installed: Annotated[str | None, typer.Option(
        show_default=False, help="Where the folder `broker` will stand on the broker's machine, "
        "for example /etc/mosquitto/estate; without it, where it is.")] = None,
    days: Annotated[int | None, typer.Option(
        min=1, max=3650, show_default=False, help="How long certificates are good (825).")] = None,
    edge: Annotated[Names, typer.Option(
        show_default=False, help="site/edge that no topology names. Several times.")] = None,
    device: Annotated[Names, typer.Option(
        show_default=False, help="site/device that publishes plain events. Several times.")] = None,
    observer: Annotated[Names, typer.Option(
        show_default=False, help="Somebody who hears alerts and colours. Several times.")] = None,
    simulator: Annotated[Names, typer.Option(
        show_default=False, help="May speak as EVERY edge: for trials only.")] = None,
    forget: Annotated[Names, typer.Option(
        show_default=False, help="Take back an earlier --edge, --device … by its name.")] = None,
    renew: Annotated[Names, typer.Option(
        show_default=False, help=f"Make this holder's certificate anew ('{ALL}', '{SERVER}'), and "
        "admit it again after a --revoke. Several times.")] = None,
    revoke: Annotated[Names, typer.Option(
        show_default=False, help="Shut this holder out. Several times.")] = None,
) -> None:  # fmt: skip
    """Write mosquitto's configuration, certificates and access list.

    Run it again whenever an edge was added: it keeps what is good and adds what is missing.
    """
    try:
        kept = ConfigFolder(folder, datetime.now(UTC))
        _choose(
            kept.state, host=host, port=port, house_port=house_port, bind=bind,
            house_bind=house_bind, installed=installed, days=days,
        )  # fmt: skip
        kept.forget(forget or [])
        _add(kept.state, edge, device, observer, simulator)
        if (named := _named(settings_file, topology_file)) is not None:
            kept.state.named = named
        wanted = merged(PARTS, kept.state.named, kept.state.extra)
        shut_out = kept.revoke(revoke or [], wanted)
        held = kept.write(wanted.values(), renew or [])
    except OSError as error:
        where = error.filename or folder
        raise EstateError(f"{where}: {error.strerror or error}; choose another folder") from None
    _tell(kept, held, shut_out, frozenset(wanted))


def _choose(state: State, **options: str | int | list[str] | None) -> None:
    """Put what was given in place of what was kept; raise :class:`SettingsError`."""
    hosts = options.pop("host")
    if isinstance(hosts, list):
        state.hosts = list(dict.fromkeys(checked_host(name, "--host") for name in hosts))
    if not state.hosts:
        raise SettingsError("--host: name the broker's machine as the edges reach it")
    for option, value in options.items():
        if value is not None:
            if isinstance(value, str):
                _check_line(value, f"--{option.replace('_', '-')}")
            setattr(state, option, value)
    if state.port == state.house_port:
        raise SettingsError("--house-port: must be another than --port")


def _check_line(text: str, option: str) -> None:
    """Refuse what would begin a line of its own in mosquitto.conf."""
    if not text or not text.isprintable() or text != text.strip():
        raise SettingsError(f"{option} {text!r}: write one line without spaces around it")


def _add(state: State, edge: Names, device: Names, observer: Names, simulator: Names) -> None:
    given = [placed(Role.EDGE, text, "--edge") for text in edge or []]
    given += [placed(Role.DEVICE, text, "--device") for text in device or []]
    given += [free(Role.OBSERVER, text, "--observer") for text in observer or []]
    given += [free(Role.SIMULATOR, text, "--simulator") for text in simulator or []]
    state.extra += [one for one in dict.fromkeys(given) if one not in state.extra]


def _named(settings_file: Path | None, topology_file: Path | None) -> list[Identity] | None:
    """Return what topology and edges' files name; None when there are no such files."""
    loaded = settings.load(settings_file)
    path = topology_file or loaded.topology
    if path is None and not loaded.edges:
        return None
    found: list[Identity] = []
    if path is not None:
        try:
            found += of_topology(topology.load(read_yaml(path)))
        except ContractError as error:
            raise SettingsError(f"{path}: {error}") from None
    found += [of_edge_file(read_yaml(file), str(file)) for file in loaded.edges]
    return list(merged(found).values())


def _tell(
    kept: ConfigFolder, held: list[Holding], shut_out: dict[str, int], wanted: frozenset[str]
) -> None:
    state, root = kept.state, kept.root
    for name, count in shut_out.items():
        typer.echo(f"{name} is shut out; certificates revoked: {count}")
    first = sorted(held, key=lambda one: (not one.is_new, one.until, one.name))[:_SHOWN]
    width = max(len(one.name) for one in first)
    for one in first:
        what = "new " if one.is_new else "kept"
        typer.echo(f"  {what}  {one.name:<{width}}  {one.role:<9}  until {one.until:%Y-%m-%d}"
                   f"  {one.folder}")  # fmt: skip
    if len(held) > len(first):
        soonest = min(one.until for one in held)
        typer.echo(f"  … and {len(held) - len(first)} more; the first ends on {soonest:%Y-%m-%d}")
    gone = sorted(set(state.issued) - wanted - {SERVER} - set(state.shut_out))
    if gone:
        typer.secho(f"In no topology and no option any more, so without rights: "
                    f"{', '.join(gone[:_SHOWN])}", fg="yellow")  # fmt: skip
    simulators = [one.name for one in state.extra if one.role is Role.SIMULATOR]
    if simulators:
        typer.secho(f"May speak as every edge: {', '.join(simulators)}; --forget takes it back "
                    "before real edges come", fg="yellow")  # fmt: skip
    typer.echo(
        f"\nBroker: bring {root / 'broker'} to its machine"
        + (f" as {state.installed}" if state.installed else "")
        + ", readable by mosquitto's account only;\n"
        "        start `mosquitto -c …/mosquitto.conf`; after changes send it SIGHUP, after other "
        "ports or addresses start it anew.\n"
        f"Edges and devices: {state.hosts[0]}:{state.port}. "
        f"The system's own parts: {state.hosts[0]}:{state.house_port}.\n"
        "Each part: bring its folder to its machine and put the section of broker.yaml into its "
        "settings.\n"
        f"Keep {root / 'ca'} from the broker's machine, and back it up: whoever has it can be "
        "anybody."
    )
