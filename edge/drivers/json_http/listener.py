"""A small HTTP/1.1 listener for gateways that post; the parsing is h11's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import structlog

from edge.mapping.reception import MOST_BYTES

_log = structlog.get_logger(__name__)

#: A request, or the pause before the next one, may take so long (s).
_READ_S = 60.0
_MOST_CONNECTIONS = 100
_CHUNK = 65_536
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found",
    405: b"Method Not Allowed", 413: b"Content Too Large", 422: b"Unprocessable Content",
    503: b"Service Unavailable",
}  # fmt: skip

#: (method, path, headers by lower-case name, body) -> status
Take = Callable[[str, str, Mapping[str, str], bytes], Awaitable[int]]


class PushListener:
    """Serves one ``take``."""

    def __init__(self, take: Take, count: Callable[[str], None]) -> None:
        self._take = take
        self._count = count
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raise OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, ssl=tls)

    async def stop(self) -> None:
        """Drop every connection and give the port back."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None or len(self._tasks) >= _MOST_CONNECTIONS:
            self._count("connections_refused")
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            self._count("connections_broken")
            _log.debug("push_connection_ended", error=str(error))
        except asyncio.CancelledError:
            # Stopped by ourselves; nobody awaits this task.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(RuntimeError):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            try:
                request, body = await self._request(connection, reader, writer)
                if request is None:
                    return
                status = await self._answer(request, body)
            except h11.RemoteProtocolError as error:
                self._count("requests_refused")
                status = error.error_status_hint
            if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return
            await self._reply(connection, writer, status)
            if {connection.our_state, connection.their_state} != {h11.DONE}:
                return
            connection.start_next_cycle()

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: Any
    ) -> tuple[h11.Request | None, bytes]:
        """Return one request and its body; None when the client has closed."""
        request: h11.Request | None = None
        body = bytearray()
        async with asyncio.timeout(_READ_S):
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        proceed = h11.InformationalResponse(status_code=100, headers=[])
                        writer.write(connection.send(proceed))
                    connection.receive_data(await reader.read(_CHUNK))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > MOST_BYTES:
                        raise h11.RemoteProtocolError("the body is too long", 413)
                elif isinstance(event, h11.EndOfMessage):
                    return request, bytes(body)
                else:
                    return None, b""

    async def _answer(self, request: h11.Request, body: bytes) -> int:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        path = unquote(urlsplit(request.target.decode("latin-1")).path)
        return await self._take(request.method.decode("latin-1"), path, headers, body)

    async def _reply(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, status: int
    ) -> None:
        headers = [("Content-Length", "0")]
        if status == 503:
            headers.append(("Retry-After", "5"))
        if status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        response = h11.Response(
            status_code=status, headers=headers, reason=_REASONS.get(status, b"Error")
        )
        writer.write(connection.send(response) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
