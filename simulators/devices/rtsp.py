"""A network camera that speaks RTSP 1.0 (RFC 2326) with RTP/JPEG within its connection."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from core.runtime.clock import Clock
from simulators.devices.camera import PictureFeed
from simulators.devices.http import DigestSignIn, Request
from simulators.devices.listener import Listener
from simulators.devices.peer import SocketPeer
from simulators.devices.rtp_jpeg import CLOCK_HZ, PAYLOAD_TYPE, Jpeg, packets, parse
from simulators.devices.scene import Scene

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    454: "Session Not Found", 461: "Unsupported Transport", 501: "Not Implemented",
}  # fmt: skip
_IDLE_S = 60.0
_LONGEST_HEAD = 8_192


@dataclass(slots=True)
class _Session:
    """One connection's session: interleaved channel, and what is being played."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    channel: int = 0
    set_up: bool = False
    playing: asyncio.Task[None] | None = None


class RtspPeer(SocketPeer):
    """One camera on one RTSP port; with a password it wants Digest. ``fps`` is real time."""

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
        """Half open: the session stands, and no further packet comes."""
        self.garbled = 0.0
        """Share of the RTP packets whose payload is nonsense."""
        self.lost = 0.0
        """Share of the RTP packets that are not sent."""
        self.sign_in = None if password is None else DigestSignIn("camera", username, password)
        self.plays = 0
        """Sessions that were played so far."""
        self._fps = fps
        self._random = Random(7)  # noqa: S311 (a simulation)
        super().__init__(Listener(self._serve, host=host, port=port))

    @property
    def url(self) -> str:
        """Return the address of the stream."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    async def stop(self) -> None:
        """Drop every session and stop rendering."""
        await super().stop()
        await self.feed.stop()

    async def reboot(self, seconds: float) -> None:
        """Be away for so long (real time), as after a power cut; then listen again."""
        await self.suspend()
        await asyncio.sleep(seconds)
        await self.start()

    # -- the control connection --------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session()
        try:
            while True:
                request = await _read(reader)
                if request is None:
                    return
                await self._answer(request, session, writer)
                if request.method == "TEARDOWN":
                    return
        finally:
            if session.playing is not None:
                session.playing.cancel()
                await asyncio.gather(session.playing, return_exceptions=True)

    async def _answer(
        self, request: Request, session: _Session, writer: asyncio.StreamWriter
    ) -> None:
        sequence = request.headers.get("cseq", "0")
        status, headers, body = self._respond(request, session)
        lines = [f"RTSP/1.0 {status} {_REASONS[status]}", f"CSeq: {sequence}", *headers]
        if body:
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        if request.method == "PLAY" and status == 200 and session.playing is None:
            session.playing = asyncio.ensure_future(self._play(session, writer))

    def _respond(self, request: Request, session: _Session) -> tuple[int, list[str], bytes]:
        if request.method == "OPTIONS":
            return 200, [f"Public: {_METHODS}"], b""
        if self.sign_in is not None and (challenge := self.sign_in.check(request)) is not None:
            return 401, [f"{name}: {value}" for name, value in challenge.headers], b""
        if not request.path.startswith("/live"):
            return 404, [], b""
        answer = {
            "DESCRIBE": self._describe,
            "SETUP": self._set_up,
            "PLAY": self._start_playing,
            "PAUSE": self._acknowledge,
            "TEARDOWN": self._acknowledge,
            "GET_PARAMETER": self._acknowledge,
            "SET_PARAMETER": self._acknowledge,
        }.get(request.method)
        return (501, [], b"") if answer is None else answer(request, session)

    def _describe(self, request: Request, _: _Session) -> tuple[int, list[str], bytes]:
        body = "\r\n".join(
            [
                "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0",
                "a=control:*", f"m=video 0 RTP/AVP {PAYLOAD_TYPE}", "a=control:track1",
                f"a=framerate:{self._fps:g}", "",
            ]
        )  # fmt: skip
        return 200, [f"Content-Base: {request.target.rstrip('/')}/"], body.encode()

    def _set_up(self, request: Request, session: _Session) -> tuple[int, list[str], bytes]:
        transport = request.headers.get("transport", "")
        if "RTP/AVP/TCP" not in transport:
            return 461, [], b""
        wanted = next((p[12:] for p in transport.split(";") if p.startswith("interleaved=")), "0-1")
        with contextlib.suppress(ValueError):
            session.channel = int(wanted.split("-")[0]) & 0xFE
        session.set_up = True
        pair = f"{session.channel}-{session.channel + 1}"
        return 200, [
            f"Session: {session.id};timeout=60",
            f"Transport: RTP/AVP/TCP;unicast;interleaved={pair}",
        ], b""  # fmt: skip

    def _start_playing(self, _: Request, session: _Session) -> tuple[int, list[str], bytes]:
        if not session.set_up:
            return 454, [], b""
        return 200, [f"Session: {session.id}", "Range: npt=0.000-"], b""

    def _acknowledge(self, _: Request, session: _Session) -> tuple[int, list[str], bytes]:
        return 200, [f"Session: {session.id}"], b""

    # -- the pictures ------------------------------------------------------------------------

    async def _play(self, session: _Session, writer: asyncio.StreamWriter) -> None:
        self.plays += 1
        sequence, source = secrets.randbelow(65_536), secrets.randbits(32)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            async for picture in self.feed.watch():
                if self.stalled:
                    continue
                stamp = round((time.monotonic() - began) * CLOCK_HZ)
                jpeg = parse(picture)
                sequence = await self._send(jpeg, session, writer, sequence, stamp, source)

    async def _send(
        self,
        jpeg: Jpeg,
        session: _Session,
        writer: asyncio.StreamWriter,
        sequence: int,
        stamp: int,
        source: int,
    ) -> int:
        """Send one picture; return the sequence number of the next packet."""
        chunk = bytearray()
        for packet in packets(jpeg, sequence=sequence, timestamp=stamp, source=source):
            sequence += 1
            if self._random.random() < self.lost:
                continue
            whole = packet
            if self._random.random() < self.garbled:
                whole = packet[:12] + self._random.randbytes(len(packet) - 12)
            chunk += b"$" + bytes((session.channel,)) + len(whole).to_bytes(2, "big") + whole
        writer.write(bytes(chunk))
        await writer.drain()
        return sequence


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; what the client sends in between on a channel (RTCP) is skipped."""
    try:
        async with asyncio.timeout(_IDLE_S):
            while (first := await reader.readexactly(1)) == b"$":
                length = int.from_bytes((await reader.readexactly(3))[1:], "big")
                await reader.readexactly(length)
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if len(head) > _LONGEST_HEAD:
                return None
            line, *rest = head.strip().split("\r\n")
            method, target, _ = line.split(" ")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (item.partition(":") for item in rest)
            }
            body = await reader.readexactly(min(int(headers.get("content-length", "0")), 65_536))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TimeoutError):
        return None
    return Request(method, target, urlsplit(target).path, {}, headers, body)
