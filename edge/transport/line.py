"""A line: a stream of bytes to a gateway or out of a serial port."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod

import serial_asyncio_fast

from edge.driver import Cause
from edge.transport.settings import ChannelSettings, MeterSerialSettings

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line(ABC):
    """Where the bytes go; opening it is all that differs."""

    #: Where the fault lies when it cannot be opened or is lost.
    cause: Cause
    #: Real time of silence that it needs between an answer and the next question.
    gap_s: float = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def open(self) -> Streams:
        """Open it; raise OSError."""


class TcpLine(Line):
    """A gateway's or a device's socket."""

    cause: Cause = "gateway"

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")
        self._host = host
        self._port = port

    async def open(self) -> Streams:
        """Connect; raise OSError."""
        return await asyncio.open_connection(self._host, self._port)


class SerialLine(Line):
    """A serial port of this machine, taken for ourselves alone."""

    cause: Cause = "bus"

    def __init__(self, settings: MeterSerialSettings) -> None:
        super().__init__(settings.port)
        self.gap_s = settings.gap_s
        self._settings = settings

    async def open(self) -> Streams:
        """Open the port; raise OSError (a port that is not there, or is taken)."""
        given = self._settings
        try:
            return await serial_asyncio_fast.open_serial_connection(
                url=given.port,
                baudrate=given.baud,
                bytesize=given.data_bits,
                parity=given.parity_letter,
                stopbits=given.stop_bits,
                exclusive=True,
            )
        except OSError:
            raise
        except Exception as error:  # termios.error, for a format the port lacks, is no OSError
            raise OSError(f"the port refuses its settings: {error}") from error


def line_of(settings: ChannelSettings) -> Line:
    """Return the line that the settings name; nothing is opened."""
    if settings.serial is not None:
        return SerialLine(settings.serial)
    return TcpLine(settings.host or "", settings.port or 0)


async def close_streams(writer: asyncio.StreamWriter) -> None:
    """Close a line's stream without waiting long for it."""
    # A port that hangs would keep what is unsent, and so never be closed. One that was lost is
    # closed already, and pyserial's transport must not be told twice.
    if not writer.is_closing():
        writer.transport.abort()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
