"""A piece of network that a scenario can cut: a TCP relay between an edge and its broker."""

from __future__ import annotations

import asyncio
import contextlib

from simulators.devices.listener import Listener

_CHUNK = 65_536
_CONNECT_TIMEOUT_S = 5.0


class TcpRelay:
    """Passes bytes both ways between its port and one address.

    While it is cut, its connections are reset and new ones refused; the port stays its own.
    """

    def __init__(
        self, target_host: str, target_port: int, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._target = (target_host, target_port)
        self._listener = Listener(self._pass_on, host=host, port=port)
        self.bytes_passed = 0

    @property
    def port(self) -> int:
        """Return the port that an edge connects to."""
        return self._listener.port

    @property
    def up(self) -> bool:
        """Tell whether connections are passed on."""
        return self._listener.open

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return self._listener.clients

    async def start(self) -> None:
        """Listen; also after a cut."""
        await self._listener.start()

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        await self._listener.suspend()

    async def stop(self) -> None:
        """Reset every connection and give the port back."""
        await self._listener.stop()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        ways = (
            asyncio.ensure_future(self._copy(reader, far_writer)),
            asyncio.ensure_future(self._copy(far_reader, writer)),
        )
        try:
            # A half-closed MQTT connection is of no use: one end gone ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                writer.write(chunk)
                self.bytes_passed += len(chunk)
                await writer.drain()
