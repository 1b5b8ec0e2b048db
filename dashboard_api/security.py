"""What every request passes first: known host names, security headers, and who sent it.

The middlewares are plain ASGI, one concern each; their order stands in :mod:`dashboard_api.app`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.contracts.errors import SettingsError
from core.runtime.hosts import LOOPBACK_NAMES, is_loopback
from core.runtime.settings import ApiSettings
from dashboard_api.problems import Kind, Problem

MAX_BODY_BYTES = 64 * 1024
#: Seconds within which a body has to arrive.
_BODY_S = 15.0
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
#: ECharts writes style attributes into its tooltips; nothing else is inline.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; "
    "style-src 'self'; style-src-attr 'unsafe-inline'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_HSTS = "max-age=31536000"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def check_transport(api: ApiSettings) -> None:
    """Refuse settings that would send passwords in the clear.

    Raises:
        SettingsError: the message names the keys and the remedy.
    """
    if (api.tls_cert is None) != (api.tls_key is None):
        missing = "api.tls_key" if api.tls_key is None else "api.tls_cert"
        raise SettingsError(f"{missing}: TLS needs both api.tls_cert and api.tls_key")
    for key, path in (("api.tls_cert", api.tls_cert), ("api.tls_key", api.tls_key)):
        if path is not None and not path.is_file():
            raise SettingsError(f"{key}: {path} is not a file")
    if api.public_url is not None:
        parts = urlsplit(api.public_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"api.public_url: {api.public_url!r} is not an http(s) address")
    if api.tls_cert is None and not is_loopback(api.host) and not api.allow_plain_http:
        raise SettingsError(
            f"api.host: {api.host} is not loopback, and plain HTTP would send passwords in the "
            "clear; set api.tls_cert and api.tls_key, or api.host: 127.0.0.1, or, behind a TLS "
            "proxy only, api.allow_plain_http: true"
        )


def host_name(header: str) -> str:
    """Return the name in a Host header, in lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()


class KnownHosts:
    """ASGI: refuses requests whose Host is not ours, so that DNS cannot be rebound to us."""

    def __init__(self, app: ASGIApp, api: ApiSettings) -> None:
        self._app = app
        self._names = set(LOOPBACK_NAMES)
        self._names.add(api.host.lower())
        if api.public_url and (name := urlsplit(api.public_url).hostname):
            self._names.add(name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else ""
        if name in self._names or is_loopback(name):
            await self._app(scope, receive, send)
            return
        problem = Problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            Kind.HOST,
            "this server does not know itself by that host name; use the address that it "
            "printed at its start, or set api.public_url",
        )
        await problem.response()(scope, receive, send)


class SecurityHeaders:
    """ASGI: adds the security headers to every answer, and no-store to the API's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        private = scope["path"].startswith(("/api/", "/sign-in"))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if private:
                    headers.setdefault("Cache-Control", "no-store")
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        await self._app(scope, receive, with_headers)


class BoundedBody:
    """ASGI: reads a request's body, within a size and a time, before anything parses it."""

    def __init__(
        self, app: ASGIApp, limit: int = MAX_BODY_BYTES, patience_s: float = _BODY_S
    ) -> None:
        self._app = app
        self._limit = limit
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._patience_s):
                body = await self._read(scope, receive)
        except TimeoutError:
            problem = Problem(
                HTTPStatus.REQUEST_TIMEOUT, Kind.HTTP, "the body did not arrive in time"
            )
            await problem.response()(scope, receive, send)
            return
        except _TooLargeError:
            problem = Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                Kind.TOO_LARGE,
                f"a body holds at most {self._limit} bytes",
                headers={"Connection": "close"},
            )
            await problem.response()(scope, receive, send)
            return
        if body is None:
            return
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or None when the client has gone."""
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limit:
            raise _TooLargeError
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise _TooLargeError
            if not message.get("more_body", False):
                return bytes(body)


class _TooLargeError(Exception):
    """A body is larger than the limit."""


def address_of(request: Request) -> str:
    """Return the address that a request comes from, for throttling and the audit."""
    return request.client.host if request.client else "unknown"


def is_local(request: Request) -> bool:
    """Tell whether a request was made on this machine, and not through a proxy."""
    return (
        is_loopback(address_of(request))
        and is_loopback(host_name(request.headers.get("host", "")))
        and not any(name in request.headers for name in _FORWARDED)
    )


def is_secure(request: Request, api: ApiSettings) -> bool:
    """Tell whether cookies may be limited to TLS for this request."""
    if request.url.scheme == "https":
        return True
    behind_tls = api.public_url is not None and api.public_url.startswith("https:")
    return behind_tls and not is_loopback(host_name(request.headers.get("host", "")))


def is_own_origin(request: Request, public_url: str | None) -> bool:
    """Tell whether an unsafe request comes from our own pages.

    Browsers send Origin with every unsafe request; a client that sends neither Origin nor
    Sec-Fetch-Site is no browser, and so cannot be lured by another site.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if public_url is not None:
        parts = urlsplit(public_url)
        if origin == f"{parts.scheme}://{parts.netloc}":
            return True
    return origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
