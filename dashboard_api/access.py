"""Who may do what: the principal of a request, and what each route declares that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request
from fastapi.security import APIKeyCookie

from core.storage.records.accounts import Who
from dashboard_api.auth.schemas import Role
from dashboard_api.auth.service import Signed
from dashboard_api.context import Services, ServicesDep
from dashboard_api.problems import Kind, Problem
from dashboard_api.security import address_of, is_own_origin

COOKIE = "estate_session"
CSRF_HEADER = "X-Estate-CSRF"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

session_cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="session",
    description="Set by signing in.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and how far they may see; ``scope`` is node ids, None for everything."""

    signed: Signed
    address: str
    scope: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """Return the account's name."""
        return self.signed.name


@dataclass(frozen=True, slots=True)
class Needs:
    """A dependency: a session of at least this role, and for unsafe methods our own page."""

    role: Role

    async def __call__(
        self,
        request: Request,
        services: ServicesDep,
        token: Annotated[str | None, Depends(session_cookie)],
    ) -> Principal:
        """Return the principal.

        Raises:
            Problem: 401 without a session, 403 for another origin, a missing CSRF token or a
                role that is too low.
        """
        signed = await anyio.to_thread.run_sync(services.sign_in.check, token)
        if signed is None:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                Kind.SIGN_IN_REQUIRED,
                "there is no session, or it has expired: sign in",
            )
        if request.method not in SAFE_METHODS:
            check_origin(request, services.settings.api.public_url)
            if not signed.has_csrf(request.headers.get(CSRF_HEADER, "")):
                raise Problem(
                    HTTPStatus.FORBIDDEN,
                    Kind.CSRF,
                    f"send the session's csrf token in the header {CSRF_HEADER}",
                )
        if signed.role.rank < self.role.rank:
            raise Problem(HTTPStatus.FORBIDDEN, Kind.FORBIDDEN, f"this needs the role {self.role}")
        return Principal(signed, address_of(request))


def who(services: Services, principal: Principal) -> Who:
    """Return who decides, for the audit: by the wall clock, whatever the run's clock does."""
    return Who(principal.name, services.wall.now_ms(), principal.address)


def check_origin(request: Request, public_url: str | None) -> None:
    """Refuse an unsafe request that another site's page has sent."""
    if not is_own_origin(request, public_url):
        raise Problem(
            HTTPStatus.FORBIDDEN, Kind.ORIGIN, "the request was sent by a page of another site"
        )


Viewer = Annotated[Principal, Depends(Needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Needs(Role.OPERATOR))]
Administrator = Annotated[Principal, Depends(Needs(Role.ADMINISTRATOR))]
