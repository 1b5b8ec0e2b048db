"""Devices: list, one, its events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from core.contracts.outputs import Presence
from core.contracts.topology import DeviceFamily
from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.devices import service
from dashboard_api.devices.schemas import DeviceDetail, DeviceEvents, DevicePage
from dashboard_api.problems import READS, responses
from dashboard_api.schemas import (
    SEQUENCE_HEADER,
    IdPath,
    IdQuery,
    MsQuery,
    with_sequence,
)

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])
_READS = (*READS, HTTPStatus.NOT_FOUND)


@router.get(
    "",
    summary="List devices",
    responses=with_sequence(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def list_devices(
    services: ServicesDep,
    _: Viewer,
    response: Response,
    node: IdQuery | None = None,
    family: DeviceFamily | None = None,
    presence: Presence | None = None,
    q: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    after: IdQuery | None = None,
) -> DevicePage:
    """Return a page of devices; `node` takes what is below it too, `q` looks in id, name, model."""
    page, sequence = service.page(
        services, node=node, family=family, presence=presence, q=q, limit=limit, after=after
    )
    response.headers[SEQUENCE_HEADER] = str(sequence)
    return page


@router.get("/{device}", summary="One device with its latest values", responses=responses(*_READS))
async def read_device(services: ServicesDep, _: Viewer, device: IdPath) -> DeviceDetail:
    """Return a device, where it is, its newest event of each kind and its open alerts."""
    return await service.detail(services, device)


@router.get("/{device}/events", summary="A device's events", responses=responses(*_READS))
async def list_events(
    services: ServicesDep,
    _: Viewer,
    device: IdPath,
    start: MsQuery | None = None,
    end: MsQuery | None = None,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    before: Annotated[
        str | None,
        Query(pattern=service.MARK_PATTERN, examples=["1763000000000000000.meter.reading"]),
    ] = None,
) -> DeviceEvents:
    """Return a device's stored events in `[start, end)`, newest first (default: the last day).

    `before` is the `next` of the page before; keep `start`, `end` and `kind` the same. Events of
    one nanosecond and kind share a page, which may so be a little larger than `limit`.
    """
    return await service.events(
        services, device, start=start, end=end, kind=kind, limit=limit, before=before
    )
