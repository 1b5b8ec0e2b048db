"""One client's stream of server-sent events.

It ends when the client goes, when its session does, when the server stops, or when the client
has not read for so long that what it holds back is worth more than the connection. A client
that was dropped resumes with the number of the last event that it got.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.contracts.errors import RetryableError
from dashboard_api.live.hub import Frame, LiveHub, Reset, encode_event

HEARTBEAT = b": heartbeat\n\n"
#: Seconds without a change after which a comment says that all is well.
HEARTBEAT_S = 15.0
#: Seconds between two looks at the session.
RECHECK_S = 2.0
#: Bytes after which a page is sent in several pieces, each with a patience of its own.
_SEND_BYTES = 64 * 1024
#: Seconds that a client may leave what was sent to it unread.
PATIENCE_S = 20.0
#: Milliseconds after which a browser reconnects.
_RETRY_MS = 2_000
#: Seconds that the end of a stream may take to send.
_FAREWELL_S = 1.0
#: Checks of the session that may fail in a row for want of the records before a stream ends.
_BLIND_CHECKS = 2


class EventStream(Response):
    """Sends ``hello`` and then every change above ``cursor``."""

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: LiveHub,
        cursor: int,
        reset: Reset | None,
        *,
        hello: Callable[[int], dict[str, object]],
        still_allowed: Callable[[], Awaitable[bool]],
        abort: Callable[[], None],
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._cursor = cursor
        self._reset = reset
        self._hello = hello
        self._still_allowed = still_allowed
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Stream until one of the ends is reached."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        self._hub.clients += 1
        parts = [
            asyncio.create_task(self._pump(send)),
            asyncio.create_task(_gone(receive)),
            asyncio.create_task(self._watch_session()),
            asyncio.create_task(self._hub.closing.wait()),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.clients -= 1
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        if parts[1] in done:
            return
        try:
            for part in done:
                with contextlib.suppress(RetryableError):  # the client resumes
                    part.result()
            async with asyncio.timeout(_FAREWELL_S):
                await self._send(send, b"", last=True)
        except TimeoutError:
            self._hub.dropped += 1
            self._abort()
            await asyncio.sleep(0)  # lets the server notice that the connection is gone
        except (OSError, ClientDisconnect):
            return

    async def _pump(self, send: Send) -> None:
        hello = encode_event("hello", self._hello(self._cursor), self._cursor)
        await self._send(send, b"retry: %d\n" % _RETRY_MS + hello)
        if self._reset is not None:
            await self._send(send, _reset_event(self._reset))
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    taken = await self._hub.take(self._cursor)
            except TimeoutError:
                await self._send(send, HEARTBEAT)
                continue
            if isinstance(taken, Reset):
                await self._send(send, _reset_event(taken))
                self._cursor = taken.seq
            elif taken:
                await self._send_frames(send, taken)
            else:
                return

    async def _send_frames(self, send: Send, frames: list[Frame]) -> None:
        body = bytearray()
        for frame in frames:
            body += frame.body
            if len(body) >= _SEND_BYTES:
                await self._send(send, bytes(body))
                body.clear()
        if body:
            await self._send(send, bytes(body))
        self._cursor = frames[-1].seq

    async def _send(self, send: Send, body: bytes, *, last: bool = False) -> None:
        """Send; raise TimeoutError when the client does not read for too long."""
        async with asyncio.timeout(PATIENCE_S):
            await send({"type": "http.response.body", "body": body, "more_body": not last})

    async def _watch_session(self) -> None:
        failures = 0
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if not await self._still_allowed():
                    return
                failures = 0
            except RetryableError:
                failures += 1
                if failures == _BLIND_CHECKS:
                    return


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed its side."""
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass


def _reset_event(reset: Reset) -> bytes:
    return encode_event("reset", {"seq": reset.seq}, reset.seq)
