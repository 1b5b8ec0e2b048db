"""A small HTTP/1.1 peer for devices: bounded requests, Digest sign-in, endless answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from simulators.devices.listener import Listener

_HEAD_LIMIT = 16_384
_BODY_LIMIT = 65_536
_READ_TIMEOUT_S = 30.0
_NONCE_LIFE_S = 300.0
_NONCES = 256
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names are lower-case."""

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of known length."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer without end: ``feed`` writes until the client goes or the peer stops."""

    content_type: str
    feed: Callable[[Write], Awaitable[None]]


Answer = Callable[[Request], Awaitable[Response | Stream]]


class _BadRequestError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(str(status))


class HttpPeer:
    """Serves one answer function on one port."""

    def __init__(self, answer: Answer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self.listener = Listener(self._serve, host=host, port=port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await _read_request(reader)
            except _BadRequestError as error:
                await _send(writer, Response(error.status), keep=False)
                return
            if request is None:
                return
            answer = await self._answer(request)
            if isinstance(answer, Stream):
                await self._stream(writer, reader, answer)
                return
            keep = request.headers.get("connection", "").lower() != "close"
            await _send(writer, answer, keep=keep, head_only=request.method == "HEAD")
            if not keep:
                return

    async def _stream(
        self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader, stream: Stream
    ) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: " + stream.content_type.encode()
            + b"\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )  # fmt: skip

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        feeding = asyncio.ensure_future(stream.feed(write))
        # The client says nothing more: the next read ends when it has gone.
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((feeding, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (feeding, leaving):
                task.cancel()
            await asyncio.gather(feeding, leaving, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None when the client has closed."""
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            if len(head) > _HEAD_LIMIT:
                raise _BadRequestError(413)
            method, target, headers = _parse_head(head)
            try:
                size = int(headers.get("content-length", "0"))
            except ValueError:
                raise _BadRequestError(400) from None
            if "transfer-encoding" in headers or size < 0:
                raise _BadRequestError(400)
            if size > _BODY_LIMIT:
                raise _BadRequestError(413)
            body = await reader.readexactly(size)
    except asyncio.LimitOverrunError:
        raise _BadRequestError(413) from None
    except asyncio.IncompleteReadError:
        return None
    parts = urlsplit(target)
    return Request(method, target, parts.path, dict(parse_qsl(parts.query)), headers, body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    try:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = first.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
    except ValueError:
        raise _BadRequestError(400) from None
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise _BadRequestError(400)
    return method, target, headers


async def _send(
    writer: asyncio.StreamWriter, response: Response, *, keep: bool, head_only: bool = False
) -> None:
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    if not head_only:
        writer.write(response.body)
    with contextlib.suppress(ConnectionError):
        await writer.drain()


class DigestSignIn:
    """HTTP Digest access authentication (RFC 7616, ``qop=auth``, MD5 as door controllers use)."""

    def __init__(self, realm: str, username: str, password: str) -> None:
        self._realm = realm
        self._username = username
        self._ha1 = _md5(f"{username}:{realm}:{password}")
        self._nonces: dict[str, float] = {}
        self._used: set[tuple[str, str]] = set()
        self.refused = 0

    def expire(self) -> None:
        """Let every nonce that was given out expire, as a device does after a while."""
        self._nonces.clear()

    def check(self, request: Request) -> Response | None:
        """Return None for a good sign-in, else the 401 to answer with."""
        text = request.headers.get("authorization", "")
        if not text.lower().startswith("digest "):
            return self._challenge(stale=False)
        fields = parse_keqv_list(parse_http_list(text[7:]))
        nonce = fields.get("nonce", "")
        expires = self._nonces.get(nonce)
        if expires is None or expires < time.monotonic():
            return self._challenge(stale=True)
        ha2 = _md5(f"{request.method}:{fields.get('uri', '')}")
        count, cnonce = fields.get("nc", ""), fields.get("cnonce", "")
        expected = _md5(f"{self._ha1}:{nonce}:{count}:{cnonce}:auth:{ha2}")
        good = (
            fields.get("username") == self._username
            and fields.get("uri") == request.target
            and fields.get("qop") == "auth"
            and hmac.compare_digest(expected, fields.get("response", ""))
        )
        if not good:
            self.refused += 1
            return self._challenge(stale=False)
        if (nonce, count) in self._used:
            return self._challenge(stale=True)
        self._used.add((nonce, count))
        return None

    def _challenge(self, *, stale: bool) -> Response:
        nonce = secrets.token_hex(16)
        now = time.monotonic()
        self._nonces = {n: t for n, t in self._nonces.items() if t > now}
        while len(self._nonces) >= _NONCES:
            self._nonces.pop(next(iter(self._nonces)))
        self._nonces[nonce] = now + _NONCE_LIFE_S
        self._used = {pair for pair in self._used if pair[0] in self._nonces}
        value = f'Digest qop="auth", realm="{self._realm}", nonce="{nonce}", algorithm=MD5'
        if stale:
            value += ", stale=true"
        return Response(401, headers=(("WWW-Authenticate", value),))


def _md5(text: str) -> str:
    # The protocol's own digest; no secret of ours rests on it.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
