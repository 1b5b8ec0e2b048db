"""Snapshots. Each view leaves a line in the audit trail before the picture is handed out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from core.storage.records import accounts
from dashboard_api.access import Viewer, who
from dashboard_api.context import ServicesDep
from dashboard_api.problems import not_found, responses

router = APIRouter(prefix="/api/v1/media", tags=["media"])


@router.get(
    "/{media}",
    summary="A snapshot",
    response_class=Response,
    responses={
        200: {
            "description": "The picture, blurred at the edge.",
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        },
        **responses(
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
def read_media(
    services: ServicesDep,
    principal: Viewer,
    media: Annotated[str, Path(max_length=64)],
    reason: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Return a snapshot; who saw it, when, from where and (if given) why is kept."""
    snapshot = services.media.get(media)
    if snapshot is None:
        raise not_found("snapshot", media)
    detail = {"device": snapshot.meta.get("device"), "reason": reason}
    with services.records.session() as session:
        accounts.audit_by(
            session,
            who(services, principal),
            "media.viewed",
            f"media/{media}",
            {key: value for key, value in detail.items() if value is not None},
        )
    return Response(snapshot.jpeg, media_type="image/jpeg")
