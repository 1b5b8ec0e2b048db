"""``estate command``: ask a device or an edge for something, straight over the broker."""

from __future__ import annotations

import getpass
import json
import math
import threading
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from core.contracts import topics
from core.contracts.batch import decode_struct
from core.contracts.codec import encode
from core.contracts.commands import LONGEST_LIFE_S, REPLY, Action, Command, Reply
from core.contracts.errors import ContractError, EstateError, RetryableError, SettingsError
from core.contracts.topology import Topology
from core.contracts.topology import load as load_topology
from core.runtime import settings
from core.runtime.clock import ScaledClock
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import Settings, read_yaml
from estate.command_line import SettingsFile

_CONNECT_S, _GRACE_S = 5.0, 3.0
_NOBODY = 0x10


def command(
    target: Annotated[str, typer.Argument(help="A device, or an edge.")],
    action: Annotated[
        str, typer.Argument(help="unlock, relay_output, snapshot, report or reload.")
    ],
    param: Annotated[
        list[str] | None,
        typer.Option(help="name=value, such as on=true; several times.", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; stands in the audit.")] = "",
    ttl: Annotated[
        float, typer.Option(min=1, max=LONGEST_LIFE_S, help="Seconds within which to do it.")
    ] = 15.0,
    settings_file: SettingsFile = None,
    topology: Annotated[
        Path | None, typer.Option(help="The topology file.", show_default=False)
    ] = None,
) -> None:
    """Ask a device or an edge to do something now, and say what came of it.

    Exit code 1 when it was not done. The edge's own file says what may be asked of it.
    """
    loaded = settings.load(settings_file)
    wanted = _action(action)
    site, edge, device = place(_topology(loaded, topology), target)
    if device is None and wanted not in (Action.REPORT, Action.RELOAD):
        raise SettingsError(f"{target} is an edge, which can only report and reload")
    clock = ScaledClock.from_environment()
    now = clock.now_ms()
    order = Command(
        id=str(uuid.uuid4()),
        action=wanted,
        issued_at=now,
        expires_at=now + round(ttl * 1000),
        by=f"{getpass.getuser()} at the command line",
        device=device,
        params=dict(_param(text) for text in param or []),
        reason=reason[:200],
    )
    reply = _ask(loaded, site, edge, order, ttl / clock.speed)
    told = f"; {json.dumps(reply.data)}" if reply.data else ""
    typer.echo(f"{edge}: {reply.outcome}{': ' + reply.reason if reply.reason else ''}{told}")
    if reply.outcome != "done":
        raise typer.Exit(1)


def place(tree: Topology, target: str) -> tuple[str, str, str | None]:
    """Return the site, the edge and the device of a name; raise :class:`SettingsError`."""
    if (edge := tree.edge_by_id.get(target)) is not None:
        return edge.site, edge.id, None
    device = tree.device_by_id.get(target)
    if device is None:
        raise SettingsError(f"the topology has no device and no edge {target}")
    if device.edge is None:
        raise SettingsError(f"{target} speaks for itself: there is no edge that could be asked")
    return tree.edge_by_id[device.edge].site, device.edge, device.id


def _topology(loaded: Settings, file: Path | None) -> Topology:
    path = file or loaded.topology
    if path is None:
        folder = loaded.data / "simulation"
        try:
            named = json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise SettingsError("topology: no file is named; name one with --topology") from None
        path = folder / named["topology"]
    try:
        return load_topology(read_yaml(path))
    except ContractError as error:
        raise SettingsError(f"{path}: {error}") from None


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no action; known are {', '.join(Action)}") from None


def _param(text: str) -> tuple[str, str | int | float | bool]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise SettingsError(f"--param {text!r}: write name=value")
    found: Any = yaml.safe_load(value) if value else ""
    return name, found if isinstance(found, (str, int, float, bool)) else value


def _ask(loaded: Settings, site: str, edge: str, order: Command, life_s: float) -> Reply:
    answered = threading.Event()
    replies: list[Reply] = []

    def heard(message: Message) -> None:
        try:
            reply = decode_struct(message.payload, REPLY)
        except ContractError:
            return
        if reply.id == order.id and reply.edge == edge and not message.retained:
            replies.append(reply)
            answered.set()

    link = Link(loaded.broker, LinkOptions(client_id=f"estate-command-{order.id[:8]}"))
    link.subscribe(topics.reply(site, edge), heard)
    link.start()
    try:
        if not link.wait_connected(_CONNECT_S):
            where = f"{loaded.broker.host}:{loaded.broker.port}"
            raise EstateError(f"the broker at {where} does not answer; see `estate doctor`")
        sent = link.publish(
            topics.command(site, edge), encode(order), expiry_s=math.ceil(life_s),
            content_type="application/json",
        )  # fmt: skip
        try:
            code = sent.result(_CONNECT_S)
        except (RetryableError, TimeoutError) as error:
            raise EstateError(f"the command did not leave: {error}") from None
        if code == _NOBODY:
            raise EstateError(f"{edge} is not connected to this broker")
        if not answered.wait(life_s + _GRACE_S):
            raise EstateError(f"{edge} did not reply; whether it was done is not known")
        return replies[0]
    finally:
        link.stop()
