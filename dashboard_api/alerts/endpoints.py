"""Alerts: list, one, acknowledge, comment."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from dashboard_api.access import Operator, Viewer
from dashboard_api.alerts import service
from dashboard_api.alerts.schemas import (
    Acknowledgement,
    Alert,
    AlertColour,
    AlertFilter,
    AlertOrder,
    AlertPage,
    AlertWithSteps,
    Comment,
)
from dashboard_api.context import ServicesDep
from dashboard_api.problems import responses
from dashboard_api.schemas import SEQUENCE_HEADER, IdQuery, with_sequence

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
AlertId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
_WRITES = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.get(
    "",
    summary="List alerts",
    responses=with_sequence(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def list_alerts(
    services: ServicesDep,
    _: Viewer,
    response: Response,
    state: AlertFilter = AlertFilter.OPEN,
    colour: AlertColour | None = None,
    node: IdQuery | None = None,
    device: IdQuery | None = None,
    order: AlertOrder = AlertOrder.NOTICED,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(max_length=100)] = None,
) -> AlertPage:
    """Return a page of alerts, the last noticed first (or the most urgent first).

    `open`: standing, or over and not yet acknowledged; `standing`: not cleared;
    `unacknowledged`: waits for somebody; `history`: over and acknowledged. `node` takes what is
    below it too.
    """
    page, sequence = service.page(
        services,
        state=state,
        colour=colour,
        node=node,
        device=device,
        order=order,
        limit=limit,
        before=before,
    )
    response.headers[SEQUENCE_HEADER] = str(sequence)
    return page


@router.get(
    "/{alert}",
    summary="One alert with its timeline",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def read_alert(services: ServicesDep, _: Viewer, alert: AlertId) -> AlertWithSteps:
    """Return one alert and everything that happened to it, oldest first."""
    return service.one(services, alert)


@router.post(
    "/{alert}/acknowledge",
    summary="Acknowledge an alert",
    responses=responses(*_WRITES, HTTPStatus.CONFLICT),
)
def acknowledge_alert(
    services: ServicesDep, principal: Operator, alert: AlertId, body: Acknowledgement
) -> Alert:
    """Acknowledge the revision that one saw; 409 when the alert has worsened since."""
    return service.acknowledge(services, principal, alert, body)


@router.post(
    "/{alert}/comment",
    summary="Comment on an alert",
    responses=responses(*_WRITES),
)
def comment_alert(
    services: ServicesDep, principal: Operator, alert: AlertId, body: Comment
) -> AlertWithSteps:
    """Add a comment to the alert's timeline."""
    return service.comment(services, principal, alert, body.text)
