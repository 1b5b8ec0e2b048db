"""Modbus RTU on a pseudo-terminal, as on a serial port of the edge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Mapping
from pathlib import Path

from simulators.devices.faults import LineFaults
from simulators.devices.modbus import Bank, Line, Unit


class SerialModbusPeer:
    """Units on an RS-485 line; the edge's end is a pseudo-terminal behind a link at ``path``.

    The link stays the same when the adapter is unplugged and plugged in again, as the names
    under ``/dev/serial/by-id`` do.
    """

    def __init__(self, banks: Mapping[int, Bank], path: Path) -> None:
        self.units = {number: Unit(bank) for number, bank in banks.items()}
        self.path = path
        self.faults = LineFaults()
        self._master: int | None = None
        self._slave: int | None = None
        self._work: asyncio.Task[None] | None = None
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    async def start(self) -> None:
        """Plug the adapter in."""
        if self._master is not None:
            return
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        self._chunks = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self._master, self._readable, self._master)
        self._work = asyncio.create_task(self._answer())

    async def stop(self) -> None:
        """Unplug the adapter."""
        if self._master is None or self._slave is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self.path.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = None

    def write(self, chunk: bytes) -> None:
        """Put bytes on the line as they are; what a full line does not take is lost."""
        if self._master is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, chunk)

    def _readable(self, master: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._chunks.put_nowait(os.read(master, 1024))

    async def _answer(self) -> None:
        line = Line(self.units, "rtu")
        writer = _FaultyLine(self)
        while True:
            chunk = await self._chunks.get()
            with contextlib.suppress(ConnectionResetError):
                await line.feed(chunk, writer)


class _FaultyLine:
    """Writes onto the line what its faults leave of an answer."""

    def __init__(self, peer: SerialModbusPeer) -> None:
        self._peer = peer
        self._waiting: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        """Keep an answer for :meth:`drain`."""
        self._waiting.append(chunk)

    async def drain(self) -> None:
        """Let the faults act; a cut is an answer of which the second half is missing."""
        waiting, self._waiting = self._waiting, []
        faults = self._peer.faults
        for chunk in waiting:
            if faults.delay_s:
                await asyncio.sleep(faults.delay_s)
            if faults.cut:
                faults.cut = False
                self._peer.write(chunk[: len(chunk) // 2])
                return
            for piece in faults.apply(chunk):
                self._peer.write(piece)
