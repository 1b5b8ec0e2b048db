"""The HTTP server: uvicorn, embedded, on a socket of our own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core.contracts.errors import EstateError, SettingsError
from core.runtime.settings import ApiSettings

Peer = tuple[str, int]
#: Seconds that open requests get to end when the server stops.
_GRACE_S = 2


class PortTakenError(EstateError):
    """The address cannot be listened on; the message names it and why."""


class EmbeddedServer(uvicorn.Server):
    """A uvicorn that leaves signals to its process and can cut a peer off."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone: the process decides when to stop."""
        yield

    def abort(self, peer: Peer | None) -> None:
        """Cut the connection of a peer that no longer reads, without waiting for it."""
        for connection in list(self.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            if transport is not None and _peer_of(transport) == peer:
                transport.abort()


def _peer_of(transport: asyncio.Transport) -> Peer | None:
    name = transport.get_extra_info("peername")
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


class PeerOf:
    """ASGI: keeps the connection's own peer beside the client that a proxy names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope["estate.peer"] = scope.get("client")
        await self._app(scope, receive, send)


def listen(api: ApiSettings) -> socket.socket:
    """Bind the API's address; raise :class:`PortTakenError` when that cannot be."""
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it, each answer waits
    # some 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((api.host, api.port))
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"api.host, api.port: cannot listen on {api.host}:{api.port}: {error.strerror}"
        ) from None
    listener.setblocking(False)  # noqa: FBT003 - socket's own signature
    return listener


def make_server(app: ASGIApp, api: ApiSettings) -> EmbeddedServer:
    """Return a server for an app; proxies are believed only where a public address is set."""
    if api.public_url is not None:
        # Which proxies: uvicorn's FORWARDED_ALLOW_IPS, by default 127.0.0.1.
        app = ProxyHeadersMiddleware(app)  # type: ignore[arg-type,assignment]
    config = uvicorn.Config(
        PeerOf(app),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,  # addresses hold sign-in tokens
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=16_384,
        ssl_certfile=api.tls_cert,
        ssl_keyfile=api.tls_key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"api.tls_cert, api.tls_key: cannot be used: {error.strerror or error}"
        ) from None
    return EmbeddedServer(config)
