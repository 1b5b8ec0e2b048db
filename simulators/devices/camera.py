"""A network camera: MJPEG over HTTP at ``/stream``, one picture at ``/snapshot.jpg``.

Pictures are rendered only while somebody watches, once for all who do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import cv2
import structlog

from core.runtime.clock import Clock
from simulators.devices.http import DigestSignIn, HttpPeer, Request, Response, Stream, Write
from simulators.devices.peer import SocketPeer
from simulators.devices.scene import Disturbance, Scene

BOUNDARY = "frame"
_QUALITY = 72
_log = structlog.get_logger()


class PictureFeed:
    """A scene's pictures as JPEG, rendered while somebody watches, once for all who do."""

    def __init__(self, clock: Clock, scene: Scene, *, fps: float) -> None:
        """``fps`` counts pictures in real seconds."""
        self.scene = scene
        self.rendered = 0
        self._clock = clock
        self._period_s = 1 / fps
        self._viewers = 0
        self._picture = b""
        self._fresh = asyncio.Condition()
        self._renderer: asyncio.Task[None] | None = None

    async def watch(self) -> AsyncIterator[bytes]:
        """Yield each new picture until nobody wants it any more."""
        # Small pictures: a pool of threads would only spin on the machine's few cores.
        cv2.setNumThreads(1)
        self._viewers += 1
        if self._renderer is None or self._renderer.done():
            self._renderer = asyncio.ensure_future(self._render_while_watched())
            self._renderer.add_done_callback(_report_end)
        try:
            while True:
                async with self._fresh:
                    await self._fresh.wait()
                    picture = self._picture
                yield picture
        finally:
            self._viewers -= 1

    async def still(self) -> bytes:
        """Return one picture."""
        if self.scene.disturbance is Disturbance.FROZEN and self._picture:
            return self._picture
        self._picture = await asyncio.to_thread(self.render)
        return self._picture

    async def stop(self) -> None:
        """Stop rendering."""
        if self._renderer is not None:
            self._renderer.cancel()
            await asyncio.gather(self._renderer, return_exceptions=True)
            self._renderer = None

    def render(self) -> bytes:
        """Render and code one picture."""
        self.rendered += 1
        picture = self.scene.render(self._clock.now_ms())
        good, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not good:
            raise RuntimeError("the picture could not be coded as JPEG")
        return coded.tobytes()

    async def _render_while_watched(self) -> None:
        due = time.monotonic()
        while self._viewers:
            if self.scene.disturbance is not Disturbance.FROZEN or not self._picture:
                self._picture = await asyncio.to_thread(self.render)
            async with self._fresh:
                self._fresh.notify_all()
            due = max(due + self._period_s, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


class CameraPeer(SocketPeer):
    """One camera on one HTTP port; with a password it wants HTTP Digest."""

    def __init__(
        self,
        clock: Clock,
        scene: Scene,
        *,
        fps: float = 5,
        host: str = "127.0.0.1",
        port: int = 0,
        username: str = "edge",
        password: str | None = None,
    ) -> None:
        self.scene = scene
        self.feed = PictureFeed(clock, scene, fps=fps)
        self.stalled = False
        """Half open: the connection stands, and no further picture comes."""
        self.sign_in = None if password is None else DigestSignIn("camera", username, password)
        super().__init__(HttpPeer(self._answer, host=host, port=port).listener)

    @property
    def rendered(self) -> int:
        """Return how many pictures were rendered."""
        return self.feed.rendered

    @property
    def url(self) -> str:
        """Return the address of the stream."""
        return f"http://127.0.0.1:{self.port}/stream"

    async def stop(self) -> None:
        """Drop every connection and stop rendering."""
        await super().stop()
        await self.feed.stop()

    async def reboot(self, seconds: float) -> None:
        """Be away for so long (real time), as after a power cut; then listen again."""
        await self.suspend()
        await asyncio.sleep(seconds)
        await self.start()

    async def _answer(self, request: Request) -> Response | Stream:
        if request.method not in ("GET", "HEAD"):
            return Response(405)
        if self.sign_in is not None and (challenge := self.sign_in.check(request)) is not None:
            return challenge
        if request.path == "/stream":
            return Stream(f"multipart/x-mixed-replace; boundary={BOUNDARY}", self._feed)
        if request.path == "/snapshot.jpg":
            return Response(200, await self.feed.still(), "image/jpeg")
        return Response(404)

    async def _feed(self, write: Write) -> None:
        async for picture in self.feed.watch():
            if self.stalled:
                continue
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(picture)}\r\n\r\n"
            )
            await write(head.encode("ascii") + picture + b"\r\n")


def _report_end(task: asyncio.Task[None]) -> None:
    """Say why rendering ended; the next viewer starts it again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("rendering stopped", error=repr(error))
