"""Errors as problem+json (RFC 9457), in one place.

A route raises; the handlers here turn what was raised into one shape, so that a client reads
``type``, ``detail`` and, where one field is at fault, ``field``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.contracts.errors import ContractError, StoreUnavailableError
from core.storage.records.errors import NotFoundError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
_URN = "urn:smart-estate:problem:"
#: Seconds after which a client may try a store again.
STORE_RETRY_S = 5


class Kind(StrEnum):
    """What went wrong; the last part of a problem's ``type``."""

    INVALID = "invalid"
    SIGN_IN_REQUIRED = "sign-in-required"
    SIGN_IN_REFUSED = "sign-in-refused"
    CSRF = "csrf"
    ORIGIN = "origin"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    WORSENED = "worsened"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many-requests"
    HOST = "unknown-host"
    STORE = "store-unavailable"
    BROKER = "broker-unavailable"
    HTTP = "http"
    INTERNAL = "internal"


_TITLES = {
    Kind.INVALID: "The request cannot be used",
    Kind.SIGN_IN_REQUIRED: "Sign in first",
    Kind.SIGN_IN_REFUSED: "The sign-in was refused",
    Kind.CSRF: "The CSRF token is missing or wrong",
    Kind.ORIGIN: "The request comes from another site",
    Kind.FORBIDDEN: "Your role does not allow this",
    Kind.NOT_FOUND: "Not found",
    Kind.CONFLICT: "The request conflicts with the present state",
    Kind.WORSENED: "The alert has worsened meanwhile",
    Kind.TOO_LARGE: "The request is too large",
    Kind.TOO_MANY: "Too many requests",
    Kind.HOST: "Unknown host name",
    Kind.STORE: "A store does not answer",
    Kind.BROKER: "The broker does not answer",
    Kind.HTTP: "The request cannot be served",
    Kind.INTERNAL: "An error of the server",
}


class ProblemBody(BaseModel):
    """A problem after RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{_URN}invalid",
                    "title": _TITLES[Kind.INVALID],
                    "status": 422,
                    "detail": "Input should be less than or equal to 500",
                    "field": "limit",
                }
            ]
        }
    )

    type: str
    """A URN whose last part names the kind of problem."""
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    """What happened, and what to do about it."""
    field: str | None = None
    """Dotted path of the parameter or field at fault."""


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """Raised by a route or a dependency; answered as problem+json."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: Kind,
        detail: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.field = field
        self.headers = headers
        super().__init__(detail)

    def response(self) -> Response:
        """Return the answer."""
        body = ProblemBody(
            type=_URN + self.kind,
            title=_TITLES[self.kind],
            status=int(self.status),
            detail=self.detail,
            field=self.field,
        )
        return JSONResponse(
            body.model_dump(exclude_none=True),
            status_code=int(self.status),
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def not_found(what: str, id: str) -> Problem:
    """Return the 404 for one thing."""
    return Problem(HTTPStatus.NOT_FOUND, Kind.NOT_FOUND, f"there is no {what} {id!r}")


def invalid(field: str, detail: str) -> Problem:
    """Return the 422 for one parameter or field."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, Kind.INVALID, detail, field=field)


def store_unavailable(detail: str) -> Problem:
    """Return the 503 for a store that does not answer."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        Kind.STORE,
        detail,
        headers={"Retry-After": str(STORE_RETRY_S)},
    )


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that a route can answer with."""
    return {int(status): openapi_response(status) for status in statuses}


#: What every question can be answered with, and what every decision.
READS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
DECIDES = (*READS, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


def openapi_response(status: HTTPStatus) -> dict[str, Any]:
    """Return OpenAPI's description of one problem."""
    return {
        "description": _WHEN.get(status, status.phrase),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }


_WHEN = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read.",
    HTTPStatus.UNAUTHORIZED: "No session, or it has expired: sign in.",
    HTTPStatus.FORBIDDEN: "The role, the CSRF token or the origin does not allow it.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or it is outside your scope.",
    HTTPStatus.CONFLICT: "The state has changed meanwhile.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than 64 KiB.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A parameter or field is refused; `field` names it.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts; `Retry-After` says when to try again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A store does not answer; `Retry-After` says when to retry.",
}


def install(app: FastAPI) -> None:
    """Register the handlers that turn what routes raise into problem+json."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(StoreUnavailableError, _on_store)
    app.add_exception_handler(ContractError, _on_contract)
    app.add_exception_handler(NotFoundError, _on_missing)


def _on_problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return error.response()


def _on_validation(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    items: Sequence[Any] = error.errors()
    if not items:
        return invalid("", "the request cannot be read").response()
    where, *path = [str(part) for part in items[0]["loc"]]
    field = ".".join(path) or where
    if items[0]["type"] == "json_invalid":
        return invalid("body", "the body is not readable as JSON").response()
    return invalid(field, str(items[0]["msg"]).removeprefix("Value error, ")).response()


def _on_http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kinds = {400: Kind.INVALID, 404: Kind.NOT_FOUND}
    return Problem(
        HTTPStatus(error.status_code),
        kinds.get(error.status_code, Kind.HTTP),
        str(error.detail),
        headers=dict(error.headers) if error.headers else None,
    ).response()


def _on_store(_: Request, error: Exception) -> Response:
    log.warning("a store does not answer", why=str(error))
    return store_unavailable("the store does not answer at present; try again shortly").response()


def _on_missing(_: Request, error: Exception) -> Response:
    if not isinstance(error, NotFoundError):
        raise error
    return not_found(error.what, error.id).response()


def _on_contract(_: Request, error: Exception) -> Response:
    if not isinstance(error, ContractError):
        raise error
    return invalid(error.field, "; ".join(t for t in (error.reason, error.remedy) if t)).response()


class LastResort:
    """ASGI: answers what no handler knew with a 500 problem that gives nothing away.

    It stands inside the middleware that sets the security headers, so that even this answer
    carries them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("a request failed", method=scope["method"], path=scope["path"])
            problem = Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                Kind.INTERNAL,
                "the request failed; the server's log says why",
            )
            await problem.response()(scope, receive, send)
