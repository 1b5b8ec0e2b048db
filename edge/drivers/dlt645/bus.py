"""One TCP connection to a bus of meters: one request at a time, replies matched strictly."""

from __future__ import annotations

import asyncio
import contextlib
import time

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.drivers.dlt645.codec import READ, Decoder, Frame, error_text, read_request

_CHUNK = 1024


class NoSuchDataError(DeviceRefusedError):
    """The meter does not have the data identifier that was asked."""


class Bus:
    """Asks meters behind one socket; not for use by two tasks at once."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._decoder = Decoder()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.unmatched = 0
        """Valid frames that did not answer the request at hand (late, or another meter's)."""

    @property
    def skipped_bytes(self) -> int:
        """Return how many bytes belonged to no valid frame."""
        return self._decoder.skipped

    async def connect(self) -> None:
        """Connect unless connected; raise :class:`LinkError`."""
        if self._writer is not None and not self._writer.is_closing():
            return
        await self.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            text = str(error) or "no connection in time"
            raise LinkError(f"gateway {self._host}:{self._port}: {text}", "gateway") from error

    async def close(self) -> None:
        """Close the connection."""
        writer, self._reader, self._writer = self._writer, None, None
        self._decoder.clear()
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def read(self, address: str, identifier: int) -> tuple[bytes, float]:
        """Read one identifier; return its value's bytes and the latency in ms.

        Raises :class:`NoSuchDataError`, :class:`DeviceRefusedError` (an error reply) and
        :class:`LinkError` (no answer in time, connection lost).
        """
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise LinkError("not connected", "gateway")
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._drain(reader)
                writer.write(read_request(address, identifier))
                await writer.drain()
                frame = await self._await_reply(reader, address, identifier)
        except TimeoutError:
            raise LinkError(f"meter {address}: no answer to {identifier:08X}", "device") from None
        except OSError as error:
            await self.close()
            raise LinkError(f"gateway {self._host}:{self._port}: {error}", "gateway") from error
        latency_ms = (time.monotonic() - began) * 1000
        if frame.is_error:
            code = frame.data[0] if frame.data else 0
            kind = NoSuchDataError if code & 0x02 else DeviceRefusedError
            raise kind(f"meter {address}: {identifier:08X}: {error_text(code)}", f"{code:02X}")
        return frame.data[4:], latency_ms

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        """Throw away what came unasked, so that a late reply is not taken for this one."""
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0):
                    stale = await reader.read(_CHUNK)
                if not stale:
                    raise ConnectionResetError("closed by the other side")
                self.unmatched += len(self._decoder.feed(stale))
        self._decoder.clear()

    async def _await_reply(
        self, reader: asyncio.StreamReader, address: str, identifier: int
    ) -> Frame:
        wanted = identifier.to_bytes(4, "little")
        while True:
            chunk = await reader.read(_CHUNK)
            if not chunk:
                raise ConnectionResetError("closed by the other side")
            for frame in self._decoder.feed(chunk):
                answers = frame.is_reply and frame.function == READ and frame.address == address
                if answers and (frame.is_error or frame.data[:4] == wanted):
                    return frame
                self.unmatched += 1
