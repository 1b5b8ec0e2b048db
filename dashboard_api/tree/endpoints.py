"""The tree with its colours now."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from core.storage.records import changes
from core.storage.records.tree import tree_view
from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.schemas import SEQUENCE_HEADER, with_sequence
from dashboard_api.system.standstill import hush_tree
from dashboard_api.tree.schemas import Tree

router = APIRouter(prefix="/api/v1", tags=["tree"])


@router.get(
    "/tree",
    summary="The whole tree with its colours",
    responses=with_sequence(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
def read_tree(services: ServicesDep, _: Viewer, response: Response) -> Tree:
    """Return every node, parents before children, with colour and coverage, and the groups.

    Where a site's rules stand still (its collector is dead or hangs) the site is grey.
    """
    still = services.health.still()
    with services.records.reading() as session:
        view = tree_view(session)
        response.headers[SEQUENCE_HEADER] = str(changes.last_seq(session))
    return Tree.model_validate({**hush_tree(view, still), "still": still})
