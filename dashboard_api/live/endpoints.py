"""The live push."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request

from dashboard_api.access import Viewer
from dashboard_api.context import ServicesDep
from dashboard_api.live.schemas import EVENTS
from dashboard_api.live.stream import EventStream
from dashboard_api.problems import Kind, Problem, responses

router = APIRouter(prefix="/api/v1", tags=["live"])
_MAX_SEQ = 2**53 - 1
#: Streams that one process keeps open at a time.
MAX_STREAMS = 2_000
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `hello` first, then `alert`, `colour`, `presence`, "
        "`edge`, `process`, `topology`, `deadletter` and `standstill` as they happen; "
        "`reset` when what was missed is no longer kept. `id` is the number in the live sequence.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 41\nevent: hello\ndata: {"seq":41,"time":1763000000000,'
                '"speed":1.0}\n\nid: 42\nevent: colour\ndata: {"node":"jinxiu-b1",'
                '"at":1763000000100,"colour":"red","alert_colour":"red","heard":12,'
                '"total":12}\n\n',
                "x-events": {
                    name: {"$ref": f"#/components/schemas/{model.__name__}"}
                    for name, model in EVENTS.items()
                },
            }
        },
    }
}


@router.get(
    "/live",
    summary="Follow every change",
    status_code=200,
    response_class=EventStream,
    responses={
        **_STREAM,
        **responses(
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def follow_changes(
    request: Request,
    services: ServicesDep,
    principal: Viewer,
    since: Annotated[int | None, Query(ge=0, le=_MAX_SEQ)] = None,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern=r"^\d*$")] = None,
) -> EventStream:
    """Stream every change above `since`, or above the header `Last-Event-ID`, or from now on.

    A comment comes each 15 s. The stream ends when the session does.
    """
    if services.hub.clients >= MAX_STREAMS:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            Kind.TOO_MANY,
            f"{MAX_STREAMS} streams are open already; try again later",
            headers={"Retry-After": "30"},
        )
    resumed = min(int(last_event_id), _MAX_SEQ) if last_event_id else since
    cursor, reset = await services.hub.join(resumed)
    token = principal.signed.token
    peer = request.scope.get("estate.peer", request.scope.get("client"))

    def hello(seq: int) -> dict[str, object]:
        return {"seq": seq, "time": services.clock.now_ms(), "speed": services.speed}

    async def still_allowed() -> bool:
        def check() -> bool:
            return services.sign_in.check(token, extend=False) is not None

        return await anyio.to_thread.run_sync(check)

    return EventStream(
        services.hub,
        cursor,
        reset,
        hello=hello,
        still_allowed=still_allowed,
        abort=lambda: services.abort(peer),
    )
