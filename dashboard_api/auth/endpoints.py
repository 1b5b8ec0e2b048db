"""Signing in and out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from dashboard_api import pages
from dashboard_api.access import COOKIE, Viewer, check_origin
from dashboard_api.auth.schemas import NewPassword, Session, SignedUser, SignIn
from dashboard_api.auth.service import Signed
from dashboard_api.context import Services, ServicesDep
from dashboard_api.problems import responses
from dashboard_api.security import address_of, is_local, is_secure

router = APIRouter(prefix="/api/v1", tags=["session"])
link_router = APIRouter(tags=["session"])


@router.get(
    "/session",
    summary="Who is signed in",
    responses=responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
def read_session(principal: Viewer) -> Session:
    """Return the session of the cookie, with the CSRF token that unsafe requests need."""
    return _session(principal.signed)


@router.post(
    "/session",
    summary="Sign in with a password",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def open_session(
    request: Request, response: Response, services: ServicesDep, body: SignIn
) -> Session:
    """Open a session; too many failures, by account or by address, answer 429 for a while."""
    check_origin(request, services.settings.api.public_url)
    service = services.sign_in
    signed = await anyio.to_thread.run_sync(
        service.sign_in, body.name, body.password, address_of(request), limiter=service.gate
    )
    _set_cookie(request, response, services, signed)
    return _session(signed)


@router.delete(
    "/session",
    summary="Sign out",
    status_code=204,
    responses=responses(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def close_session(response: Response, services: ServicesDep, principal: Viewer) -> None:
    """End the session; its live streams end within a few seconds."""
    services.sign_in.sign_out(principal.signed, principal.address)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


@router.post(
    "/session/password",
    summary="Set one's password",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def set_password(services: ServicesDep, principal: Viewer, body: NewPassword) -> Session:
    """Set the password (at least 10 characters, not the name); other sessions end."""
    service = services.sign_in
    signed = await anyio.to_thread.run_sync(
        service.set_password,
        principal.signed,
        body.password,
        body.current,
        principal.address,
        limiter=service.gate,
    )
    return _session(signed)


@link_router.get(
    "/sign-in",
    summary="Use a one-time sign-in link",
    status_code=303,
    response_class=Response,
    responses={
        303: {"description": "Signed in: go to the console."},
        403: {"description": "Not asked from this machine; the link is not used up."},
        410: {"description": "The link is used, expired or unknown."},
    },
)
async def use_sign_in_link(
    request: Request,
    services: ServicesDep,
    token: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """Exchange the link for a session cookie at once; only from loopback, and only once."""
    if not is_local(request):
        return pages.not_local()
    if "prefetch" in request.headers.get("sec-purpose", ""):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    signed = await anyio.to_thread.run_sync(services.sign_in.use_link, token, address_of(request))
    if signed is None:
        return pages.link_refused()
    response = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
    _set_cookie(request, response, services, signed)
    return response


def _set_cookie(request: Request, response: Response, services: Services, signed: Signed) -> None:
    """Set the session's cookie; it has no age of its own, since the records end the session."""
    response.set_cookie(
        COOKIE,
        signed.token,
        path="/",
        httponly=True,
        samesite="strict",
        secure=is_secure(request, services.settings.api),
    )


def _session(signed: Signed) -> Session:
    return Session(
        user=SignedUser(
            name=signed.name, role=signed.role, must_set_password=signed.must_set_password
        ),
        csrf=signed.csrf,
        expires_at=signed.expires_at,
    )
