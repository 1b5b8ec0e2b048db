"""The line under an OSDP bus, serial or TCP; nothing here waits for bytes."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Protocol

import serial

from edge.drivers.osdp.settings import OsdpSettings

_CHUNK = 4096


class Line(Protocol):
    """Bytes to and from the bus; every method raises OSError when the line is gone."""

    def wait(self, seconds: float) -> None:
        """Wait until there are bytes, at most for so long."""
        ...

    def read(self) -> bytes:
        """Return the bytes that are there, perhaps none."""
        ...

    def write(self, data: bytes) -> int:
        """Take bytes and return how many were taken."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class TcpLine:
    """A converter that passes bytes between TCP and RS-485."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.settimeout(0)
        # A packet is one small write, and its answer is due within 200 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait(self, seconds: float) -> None:
        """Wait until there are bytes, at most for so long."""
        _wait(self._socket.fileno(), seconds)

    def read(self) -> bytes:
        """Return the bytes that are there, perhaps none."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError("the converter closed the connection")
        return data

    def write(self, data: bytes) -> int:
        """Take bytes and return how many were taken: none where the connection is stuck."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._socket.close()


class SerialLine:
    """A serial port with an RS-485 transceiver that turns round by itself."""

    def __init__(self, port: str, baud: int) -> None:
        # SerialException is an OSError.
        self._port = serial.Serial(port, baud, timeout=0, write_timeout=0, exclusive=True)
        self._port.reset_input_buffer()

    def wait(self, seconds: float) -> None:
        """Wait until there are bytes, at most for so long."""
        _wait(self._port.fileno(), seconds)

    def read(self) -> bytes:
        """Return the bytes that are there, perhaps none."""
        return bytes(self._port.read(_CHUNK))

    def write(self, data: bytes) -> int:
        """Take bytes and return how many were taken."""
        try:
            return self._port.write(data) or 0
        except serial.SerialTimeoutException:
            return 0

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._port.close()


def _wait(descriptor: int, seconds: float) -> None:
    # poll, not select: an edge with many devices has descriptors above 1,023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll(round(seconds * 1000))


def open_line(settings: OsdpSettings) -> Line:
    """Open the line of a bus; raise OSError."""
    if settings.serial is not None:
        return SerialLine(settings.serial, settings.baud)
    return TcpLine(settings.host or "", settings.port or 0, settings.connect_timeout_s)
