"""Time series of one field of one device."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query

from core.contracts.ports import Query as SeriesQuery
from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.devices import service as devices
from dashboard_api.problems import invalid, responses
from dashboard_api.schemas import IdQuery, MsQuery
from dashboard_api.series import service
from dashboard_api.series.schemas import AggregateName, FillName, Series

router = APIRouter(prefix="/api/v1", tags=["series"])
_YEAR_MS = 366 * 86_400_000


@router.get(
    "/series",
    summary="Values of one field over time",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def read_series(
    services: ServicesDep,
    _: Viewer,
    device: IdQuery,
    kind: Annotated[str, Query(max_length=64, examples=["meter.reading"])],
    field: Annotated[str, Query(max_length=64, examples=["power_w"])],
    start: MsQuery | None = None,
    end: MsQuery | None = None,
    every_ms: Annotated[int | None, Query(ge=0, le=_YEAR_MS)] = None,
    aggregate: AggregateName | None = None,
    fill: FillName = FillName.NONE,
) -> Series:
    """Return one value a window of `every_ms`, or, with 0, the values as they came.

    By default the window is such that at most 1,000 points come back; more than 10,000 are
    refused. Windows are aligned to the epoch. Numbers are averaged by default; other fields show
    their last value. `increase` is for counters such as `energy_kwh`: the steps from value to
    value added up, a decrease counting from zero.

    Empty windows are left out (`none`), or they hold null (`null`), the value before
    (`previous`), or, for numbers, the line between their neighbours (`linear`).
    """
    devices.check_kind(kind)
    service.check_field(kind, field)
    since, until = devices.window(services, start, end)
    step = service.step_for(until - since) if every_ms is None else every_ms
    if step:
        service.check_points(until - since, step)
    how = service.aggregate_for(kind, field, aggregate)
    service.check_fill(kind, field, fill, step)
    await anyio.to_thread.run_sync(devices.require, services, device)
    query = SeriesQuery(
        device,
        kind,
        field,
        since,
        until,
        every_ms=step or None,
        aggregate=how.value,
        limit=service.MAX_POINTS + 1,  # a window more where neither end is aligned
        fill=fill.value,
    )
    samples = await services.series.run(lambda reader: reader.query(query))
    if not step and len(samples) > service.MAX_POINTS:
        raise invalid(
            "every_ms",
            f"there are more than {service.MAX_POINTS} values; ask for a shorter time, or for "
            f"every_ms of at least {service.step_for(until - since)}",
        )
    return Series(
        device=device,
        kind=kind,
        field=field,
        start=since,
        end=until,
        every_ms=step,
        aggregate=how,
        fill=fill,
        samples=[(sample.at, sample.value) for sample in samples],
    )
