"""The ISAPI endpoint that door controllers, barriers and cameras have in common.

HTTP Digest on everything, an alert stream without end with heartbeats, ``deviceInfo``, and
requests of the device's own.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from core.runtime.clock import Clock
from simulators.devices import isapi
from simulators.devices.http import DigestSignIn, HttpPeer, Request, Response, Stream, Write
from simulators.devices.isapi import Identity
from simulators.devices.peer import SocketPeer

_XML = 'application/xml; charset="UTF-8"'
Handler = Callable[[Request], Awaitable[Response] | Response]


class AlertPeer(SocketPeer, ABC):
    """One ISAPI device on one HTTP port; ``heartbeat_s`` is real time."""

    def __init__(
        self,
        clock: Clock,
        *,
        identity: Identity,
        username: str,
        password: str,
        heartbeat_s: float = 5.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.identity = identity
        self.sign_in = DigestSignIn(identity.name, username, password)
        self.serial_number = f"SIM-{identity.name}"
        self.device_type = "IPCamera"
        self.clock = clock
        self.streams = 0
        """Alert streams that were opened so far."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of the last requests that were signed in."""
        self.heartbeat_s = heartbeat_s
        super().__init__(HttpPeer(self._answer, host=host, port=port).listener)

    async def reboot(self, seconds: float) -> None:
        """Be away for so long (real time): streams are cut, connections refused."""
        await self.suspend()
        await asyncio.sleep(seconds)
        await self.listener.start()

    @abstractmethod
    async def feed(self, write: Write) -> None:
        """Write alerts (see :meth:`tell`) until the client goes."""

    @abstractmethod
    def heartbeat(self) -> bytes:
        """Return the part that says that the device lives."""

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return what else can be asked: (method, path) -> what answers."""
        return {}

    def prefix_handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the same for paths that only begin so."""
        return {}

    async def tell(
        self, write: Write, queue: asyncio.Queue[bytes], *, first: tuple[bytes, ...] = ()
    ) -> None:
        """Write what stands first, then whatever is put into the queue, and heartbeats."""
        for item in first:
            await write(item)
        await write(self.heartbeat())
        due = time.monotonic() + self.heartbeat_s
        while True:
            try:
                async with asyncio.timeout(max(due - time.monotonic(), 0.01)):
                    item = await queue.get()
            except TimeoutError:
                due = time.monotonic() + self.heartbeat_s
                item = self.heartbeat()
            await write(item)

    async def _answer(self, request: Request) -> Response | Stream:
        if refusal := self.sign_in.check(request):
            return refusal
        self.requests = [*self.requests[-99:], (request.method, request.path)]
        if request.path == isapi.STREAM_PATH:
            if request.method != "GET":
                return Response(405)
            self.streams += 1
            return Stream(f"multipart/mixed; boundary={isapi.BOUNDARY}", self.feed)
        handler = self._handler(request)
        if handler is None:
            return self._nothing_here(request)
        answer = handler(request)
        return answer if isinstance(answer, Response) else await answer

    def _handler(self, request: Request) -> Handler | None:
        known = {("GET", "/ISAPI/System/deviceInfo"): self._device_info, **self.handlers()}
        exact = known.get((request.method, request.path))
        if exact is not None:
            return exact
        return next(
            (handler for (method, prefix), handler in self.prefix_handlers().items()
             if request.method == method and request.path.startswith(prefix)), None,
        )  # fmt: skip

    def _nothing_here(self, request: Request) -> Response:
        known = {*self.handlers(), *self.prefix_handlers()}
        if any(request.path.startswith(path) for _, path in known):
            return Response(405)
        return Response(404)

    def _device_info(self, _: Request) -> Response:
        return xml_response(
            isapi.xml("DeviceInfo", {
                "deviceName": self.identity.name, "deviceID": self.serial_number,
                "deviceType": self.device_type, "model": "SIM", "firmwareVersion": "V5.0.0",
                "serialNumber": self.serial_number, "macAddress": self.identity.mac,
            })
        )  # fmt: skip


def xml_response(body: bytes, status: int = 200) -> Response:
    """Return an answer that carries XML."""
    return Response(status, body, _XML)


def status_response(
    request: Request, code: int = 1, words: str = "OK", sub: str = "ok", status: int = 200
) -> Response:
    """Return a ``ResponseStatus``."""
    return xml_response(isapi.response_status(request.path, code, words, sub), status)


def xml_part(body: bytes) -> bytes:
    """Return an XML part of a stream."""
    return isapi.part(body, _XML)
