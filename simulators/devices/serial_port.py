"""A serial port that is a pseudo-terminal: can be unplugged, and has the faults of a line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from pathlib import Path
from typing import cast

import structlog

from simulators.devices.faults import FaultyWriter, LineFaults
from simulators.devices.listener import Handler

_log = structlog.get_logger()


class _Writer:
    """The few things that a handler and the faults do to a writer, on the pty's own side."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def transport(self) -> _Writer:
        return self

    def write(self, chunk: bytes) -> None:
        # A full buffer means that nobody reads: the rest is lost, as on a real line.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._descriptor, chunk)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def abort(self) -> None:
        pass  # whoever aborts leaves the handler, too, and with that the port is plugged anew

    def close(self) -> None:
        pass


class SerialPort:
    """Serves a handler behind a serial port, at a path that stays the same over a replugging.

    It has the methods of :class:`simulators.devices.listener.Listener`. Pseudo-terminals know
    no parity: whoever opens the port must ask for none.
    """

    def __init__(self, handler: Handler, path: Path) -> None:
        self._handler = handler
        self.path = path
        self.faults = LineFaults()
        """What goes wrong on the line, to be set while it runs."""
        self._descriptors: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Tell whether the port is plugged in."""
        return self._descriptors is not None

    async def start(self) -> None:
        """Plug the port in."""
        if self._descriptors is not None:
            return
        own, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(own, False)
        self._descriptors = own, theirs
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(theirs))
        self._task = asyncio.create_task(self._serve(own))

    async def suspend(self) -> None:
        """Unplug the port until :meth:`start`."""
        await self.stop()

    async def drop(self) -> None:
        """Unplug the port and plug it in again."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Unplug the port."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._unplug()

    def _unplug(self) -> None:
        descriptors, self._descriptors = self._descriptors, None
        if descriptors is not None:
            self.path.unlink(missing_ok=True)
            for descriptor in descriptors:
                os.close(descriptor)

    async def _serve(self, own: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        writer = _Writer(own)

        def readable() -> None:
            with contextlib.suppress(BlockingIOError, OSError):
                reader.feed_data(os.read(own, 4096))

        loop.add_reader(own, readable)
        try:
            faulty = FaultyWriter(cast("asyncio.StreamWriter", writer), self.faults)
            await self._handler(reader, cast("asyncio.StreamWriter", faulty))
        except (ConnectionError, TimeoutError) as error:
            _log.debug("line ended", path=str(self.path), reason=type(error).__name__)
        finally:
            loop.remove_reader(own)
        self._unplug()
        await self.start()
