"""Asking edges for something, with a trail that is there before the edge hears of it."""

from __future__ import annotations

import uuid
from http import HTTPStatus

import anyio.to_thread

from core.contracts.commands import Action, Command
from core.contracts.ports import SeriesReader, StoredEvent
from core.storage.records import accounts, devices
from dashboard_api.access import Principal, who
from dashboard_api.commands.dispatch import EdgeAwayError, NotSentError
from dashboard_api.commands.schemas import (
    CommandOutcome,
    CommandResult,
    DeviceCommand,
    EdgeCommand,
    ToldCommand,
    ToldCommands,
)
from dashboard_api.context import Services
from dashboard_api.devices.service import window
from dashboard_api.problems import Kind, Problem, invalid

#: What changes something on the spot is not asked for without saying why.
_NEEDS_REASON = frozenset({Action.UNLOCK, Action.RELAY_OUTPUT})


async def ask_device(
    services: Services, principal: Principal, device: str, body: DeviceCommand
) -> CommandResult:
    """Ask a device's edge; raise a Problem where it cannot be asked."""
    action = Action(body.action)
    if action in _NEEDS_REASON and not body.reason.strip():
        raise invalid("reason", f"{action} needs a reason")
    site, edge = await anyio.to_thread.run_sync(_edge_of, services, device)
    return await _ask(services, principal, site, edge, action, body, device, dict(body.params))


async def ask_edge(
    services: Services, principal: Principal, edge: str, body: EdgeCommand
) -> CommandResult:
    """Ask an edge; raise a Problem where it cannot be asked."""
    site = await anyio.to_thread.run_sync(_site_of, services, edge)
    return await _ask(services, principal, site, edge, Action(body.action), body, None, {})


async def told(
    services: Services, edge: str, *, start: int | None, end: int | None, limit: int
) -> ToldCommands:
    """Return what an edge journalled of its commands in ``[start, end)``, newest first."""
    begin, until = window(services, start, end)
    await anyio.to_thread.run_sync(_site_of, services, edge)

    def read(reader: SeriesReader) -> list[StoredEvent]:
        return reader.events(edge, begin, until, kind="edge.command", limit=limit + 1)

    found = await services.series.run(read)
    items = [
        ToldCommand(
            at=event.at,
            command=event.data["command"],
            action=event.data["action"],
            target=event.data.get("target"),
            outcome=event.data["outcome"],
            by=event.data["by"],
            reason=event.data.get("reason"),
            local=bool(event.data.get("local")),
        )
        for event in found[:limit]
    ]
    return ToldCommands(items=items, complete=len(found) <= limit)


async def _ask(
    services: Services,
    principal: Principal,
    site: str,
    edge: str,
    action: Action,
    body: DeviceCommand | EdgeCommand,
    device: str | None,
    params: dict[str, str | int | float | bool],
) -> CommandResult:
    now = services.clock.now_ms()
    command = Command(
        id=str(uuid.uuid4()),
        action=action,
        issued_at=now,
        expires_at=now + round(body.ttl_s * 1000),
        by=principal.name[:200],
        device=device,
        params=params,
        reason=body.reason,
    )
    target = f"edge/{edge}" if device is None else f"device/{device}"
    detail = {"command": command.id, "action": action.value, "edge": edge, "reason": body.reason}

    def note(step: str, **more: str) -> None:
        with services.records.session() as session:
            accounts.audit_by(session, who(services, principal), step, target, {**detail, **more})

    await anyio.to_thread.run_sync(note, "command.asked")
    outcome = "not sent"
    try:
        reply = await services.commands.ask(site, edge, command)
        outcome = "unanswered" if reply is None else reply.outcome.value
    except EdgeAwayError as error:
        raise Problem(HTTPStatus.CONFLICT, Kind.CONFLICT, str(error)) from None
    except NotSentError as error:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, Kind.BROKER, str(error), headers={"Retry-After": "5"}
        ) from None
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: note("command.ended", outcome=outcome))
    if reply is None:
        return CommandResult(
            id=command.id, edge=edge, outcome=CommandOutcome.UNANSWERED, at=None, data={},
            reason="no reply came in time; whether it was done is not known",
        )  # fmt: skip
    return CommandResult(
        id=command.id, edge=edge, outcome=CommandOutcome(reply.outcome.value), at=reply.at,
        reason=reply.reason, data=reply.data,
    )  # fmt: skip


def _edge_of(services: Services, device: str) -> tuple[str, str]:
    with services.records.reading() as session:
        row, _ = devices.get_device(session, device)
        if row.edge is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                Kind.CONFLICT,
                f"{device} speaks for itself: there is no edge that could be asked",
            )
        return devices.edge_site(session, row.edge), row.edge


def _site_of(services: Services, edge: str) -> str:
    with services.records.reading() as session:
        return devices.edge_site(session, edge)
