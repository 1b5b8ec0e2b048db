"""Commands: ask a device, ask an edge, what an edge did."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from dashboard_api.access import Administrator, Operator, Viewer
from dashboard_api.commands import service
from dashboard_api.commands.schemas import (
    CommandResult,
    DeviceCommand,
    EdgeCommand,
    ToldCommands,
)
from dashboard_api.context import ServicesDep
from dashboard_api.problems import responses
from dashboard_api.schemas import IdPath, MsQuery

router = APIRouter(prefix="/api/v1", tags=["commands"])
_ASKS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.post(
    "/devices/{device}/commands",
    summary="Ask a device to do something",
    responses=responses(*_ASKS),
)
async def command_device(
    services: ServicesDep, principal: Operator, device: IdPath, body: DeviceCommand
) -> CommandResult:
    """Send a command to the device's edge and wait for its reply, at most until it expires.

    What the edge refuses, or could not do, is an outcome and no error. 409 when the edge is not
    connected, or the device has none.
    """
    return await service.ask_device(services, principal, device, body)


@router.post(
    "/edges/{edge}/commands", summary="Ask an edge to do something", responses=responses(*_ASKS)
)
async def command_edge(
    services: ServicesDep, principal: Administrator, edge: IdPath, body: EdgeCommand
) -> CommandResult:
    """Let an edge report everything now, or read its configuration file again."""
    return await service.ask_edge(services, principal, edge, body)


@router.get(
    "/edges/{edge}/commands",
    summary="An edge's commands",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def list_commands(
    services: ServicesDep,
    _: Viewer,
    edge: IdPath,
    start: MsQuery | None = None,
    end: MsQuery | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ToldCommands:
    """Return what an edge did or refused in `[start, end)`, newest first (default: a day)."""
    return await service.told(services, edge, start=start, end=end, limit=limit)
