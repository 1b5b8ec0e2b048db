"""The past of the colours."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from core.storage.records.devices import colour_history
from core.storage.records.tree import node_exists
from dashboard_api.access import Viewer
from dashboard_api.colours.schemas import ColourChange, ColourHistory
from dashboard_api.context import ServicesDep
from dashboard_api.problems import invalid, not_found, responses
from dashboard_api.schemas import IdQuery, MsQuery

router = APIRouter(prefix="/api/v1/colours", tags=["colours"])
#: Changes in one answer.
_LIMIT = 5_000


@router.get(
    "/history",
    summary="A node's colours in the past",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def read_colour_history(
    services: ServicesDep, _: Viewer, node: IdQuery, start: MsQuery, end: MsQuery
) -> ColourHistory:
    """Return the colour that held at `start` and every change until `end`, oldest first."""
    if end <= start:
        raise invalid("end", "the end must lie after the start")
    with services.records.reading() as session:
        if not node_exists(session, node):
            raise not_found("node", node)
        found = colour_history(session, node, start, end, limit=_LIMIT)
    changes = [ColourChange.model_validate(row) for row in found]
    within = sum(change.at >= start for change in changes)
    return ColourHistory(node=node, changes=changes, complete=within < _LIMIT)
