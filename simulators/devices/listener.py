"""A TCP listener that keeps its port, can go away and come back, and stops at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import structlog

from simulators.devices.faults import FaultyWriter, LineFaults

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_BACKLOG = 100
_log = structlog.get_logger()


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP socket without listening; an occupied port gives way to a free one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            if port == 0:
                raise
            sock.bind((host, 0))
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """Serves a handler on one TCP port.

    While it is suspended, connections are refused but the port stays reserved: its socket is
    bound and does not listen.
    """

    def __init__(self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        """Connections accepted so far."""
        self.faults = LineFaults()
        """What goes wrong on its connections, to be set while it runs."""

    @property
    def port(self) -> int:
        """Return the port; the one asked for before the start."""
        return self._port

    @property
    def open(self) -> bool:
        """Tell whether connections are accepted."""
        return self._server is not None

    @property
    def clients(self) -> int:
        """Return the number of open connections."""
        return len(self._tasks)

    async def start(self) -> None:
        """Listen on the port, or on another one when it is taken."""
        if self._server is not None:
            return
        sock = self._reserved or bind(self._host, self._port)
        self._reserved = None
        self._server = await asyncio.start_server(self._accept, sock=sock, backlog=_BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]

    async def suspend(self) -> None:
        """Drop every connection and refuse new ones until :meth:`start`."""
        if self._server is None:
            return
        await self._close()
        self._reserved = bind(self._host, self._port)

    async def stop(self) -> None:
        """Drop every connection and give the port back."""
        await self._close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    async def drop(self) -> None:
        """Drop every connection; new ones are accepted."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._server is None:
            writer.transport.abort()
            return
        self.connections += 1
        self._tasks.add(task)
        try:
            await self._handler(
                reader, cast("asyncio.StreamWriter", FaultyWriter(writer, self.faults))
            )
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError) as error:
            _log.debug("connection ended", port=self._port, reason=type(error).__name__)
        except asyncio.CancelledError:
            # We drop the connection ourselves; nobody awaits this task's cancellation.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(RuntimeError):
                writer.close()
