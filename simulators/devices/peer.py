"""A simulated device or gateway on its socket or serial port: how it comes, goes and is found."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from simulators.devices.listener import Handler, Listener
from simulators.devices.serial_port import SerialPort

L = TypeVar("L", bound=Listener | SerialPort)


class _Peer(Generic[L]):
    def __init__(self, listener: L) -> None:
        self.listener = listener
        """What a scenario may close for a while, and whose line can go wrong."""

    async def start(self) -> None:
        """Listen, or plug the port in; also after :meth:`suspend`."""
        await self.listener.start()

    async def suspend(self) -> None:
        """Drop every connection and refuse new ones until :meth:`start`; the port is kept."""
        await self.listener.suspend()

    async def stop(self) -> None:
        """Drop every connection and give the port back."""
        await self.listener.stop()


class SocketPeer(_Peer[Listener]):
    """A peer on a TCP port."""

    @property
    def port(self) -> int:
        """Return the port; the one asked for before the start."""
        return self.listener.port


class SerialPeer(_Peer[SerialPort]):
    """A peer on a serial port."""

    def __init__(self, handler: Handler, path: Path) -> None:
        super().__init__(SerialPort(handler, path))

    @property
    def path(self) -> Path:
        """Return where the port is found."""
        return self.listener.path

    @property
    def port(self) -> str:
        """Return the port's name."""
        return str(self.path)
