"""Edges, and what did not get through."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from core.storage.records import changes, devices, refusals
from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.edges.schemas import Edge, LossPage
from dashboard_api.problems import READS, responses
from dashboard_api.schemas import SEQUENCE_HEADER, BeforeQuery, IdQuery, LimitQuery, with_sequence

router = APIRouter(prefix="/api/v1", tags=["edges"])


@router.get(
    "/edges",
    summary="All edges",
    responses=with_sequence(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
def list_edges(services: ServicesDep, _: Viewer, response: Response) -> list[Edge]:
    """Return every edge of the topology with its state, in the order of the ids."""
    still = services.health.still()
    with services.records.reading() as session:
        found = devices.list_edges(session)
        response.headers[SEQUENCE_HEADER] = str(changes.last_seq(session))
    return [Edge.model_validate({**edge, "known": edge["site"] not in still}) for edge in found]


@router.get("/losses", summary="Declared losses", responses=responses(*READS))
def list_losses(
    services: ServicesDep,
    _: Viewer,
    edge: IdQuery | None = None,
    limit: LimitQuery = 100,
    before: BeforeQuery = None,
) -> LossPage:
    """Return a page of declared losses, newest first; what is lost is never lost silently."""
    with services.records.reading() as session:
        page = refusals.list_losses(session, edge=edge, limit=limit, before=before)
    return LossPage.model_validate({"items": page.items, "next": page.next})
