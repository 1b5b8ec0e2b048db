"""HTTP to one ISAPI device: Digest, TLS, bounded answers, and a pause after a refused password."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from edge.driver import LinkError
from edge.isapi.settings import IsapiSettings
from edge.isapi.values import ValueUnreadableError, branch, from_xml, text, whole

#: Devices lock an account after a few wrong passwords: pause (real seconds) and its limit.
_REFUSED_PAUSE_S, _REFUSED_LIMIT_S = 60.0, 1800.0
_LARGEST_ANSWER = 1 << 20
_UNSUPPORTED = frozenset({404, 405, 501})
_XML = "application/xml; charset=utf-8"


class AnswerError(LinkError):
    """The device answered, and not with what was asked for.

    ``unsupported``: it will not do so the next time either.
    """

    def __init__(self, message: str, *, unsupported: bool = False) -> None:
        self.unsupported = unsupported
        super().__init__(message, "protocol")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with status 200."""

    content_type: str
    body: bytes

    def content(self) -> Any:
        """Return the JSON, or the root element's content of the XML; raise AnswerError."""
        try:
            if self.body.lstrip()[:1] in (b"{", b"["):
                return msgspec.json.decode(self.body)
            return from_xml(self.body)[1]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueUnreadableError):
            raise AnswerError("an answer that is neither JSON nor XML") from None


class IsapiClient:
    """Talks to one device; every error is a :class:`LinkError`."""

    def __init__(self, settings: IsapiSettings, base: Path) -> None:
        self._settings = settings
        self._base = base
        self._client: httpx.AsyncClient | None = None
        self._auth: httpx.DigestAuth | None = None
        self._refused = 0
        self._not_before = 0.0

    @property
    def address(self) -> str:
        """Return host and port, as far as they are given: a short name for the device."""
        return urlsplit(self._settings.base_url).netloc[:64]

    def open(self, password: str) -> None:
        """Get ready with a password; nothing is connected yet."""
        settings = self._settings
        try:
            verify = self._tls()
        except (ssl.SSLError, OSError) as error:
            raise LinkError(f"ca_file: {error}", "credentials") from error
        self._auth = httpx.DigestAuth(settings.username, password)
        self._client = httpx.AsyncClient(
            base_url=settings.base_url,
            verify=verify,
            # No proxy of the environment stands between an edge and its devices.
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close every connection; safe to call twice and without :meth:`open`."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[httpx.Response]:
        """Open an answer without end; a pause of ``silence_s`` between two bytes ends it."""
        settings = self._settings
        timeout = httpx.Timeout(settings.connect_timeout_s, read=settings.silence_s)
        client, auth = self._ready()
        try:
            async with client.stream("GET", path, auth=auth, timeout=timeout) as response:
                await self._check(response, forbidden_is_password=True)
                yield response
        except httpx.ReadTimeout:
            raise LinkError(f"silent for {settings.silence_s:g} s", "device") from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        kind: str = _XML,
        largest: int = _LARGEST_ANSWER,
    ) -> Answer:
        """Return the answer to one request.

        Raises :class:`AnswerError` for any other status than 200, else :class:`LinkError`.
        """
        settings = self._settings
        timeout = httpx.Timeout(settings.request_timeout_s, connect=settings.connect_timeout_s)
        client, auth = self._ready()
        headers = {} if body is None else {"Content-Type": kind}
        try:
            async with client.stream(
                method, path, content=body, headers=headers, auth=auth, timeout=timeout
            ) as response:
                await self._check(response)
                return Answer(
                    response.headers.get("content-type", ""), await _read(response, largest)
                )
        except httpx.TimeoutException:
            raise LinkError(f"no answer to {method} {path} in time", "device") from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    def _ready(self) -> tuple[httpx.AsyncClient, httpx.DigestAuth]:
        if time.monotonic() < self._not_before:
            raise LinkError("credentials refused; waiting before the next try", "credentials")
        if self._client is None or self._auth is None:
            raise LinkError("the driver is stopped", "network")
        return self._client, self._auth

    async def _check(
        self, response: httpx.Response, *, forbidden_is_password: bool = False
    ) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            self._refused = 0
            return
        said = await _said(response)
        # A 403 to a request may only mean that this account may not do this one thing.
        if status == 401 or (status == 403 and forbidden_is_password and not said):
            pause = min(_REFUSED_PAUSE_S * 2**self._refused, _REFUSED_LIMIT_S)
            self._refused = min(self._refused + 1, 10)
            self._not_before = time.monotonic() + pause
            raise LinkError(f"credentials refused ({status})", "credentials")
        unsupported = status in _UNSUPPORTED or said.endswith("upport")
        more = f", {said}" if said else ""
        raise AnswerError(f"HTTP status {status}{more}", unsupported=unsupported)

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self._settings
        if not settings.verify_tls or not settings.base_url.startswith("https:"):
            return False
        ca_file = settings.ca_file
        return ssl.create_default_context(cafile=ca_file and self._base / ca_file)


def judge(answer: Answer) -> None:
    """Raise :class:`AnswerError` unless a ``ResponseStatus`` says OK (statusCode 1)."""
    content = answer.content()
    status = branch(content, "ResponseStatus") or content
    code = whole(branch(status, "statusCode"))
    if code != 1:
        words = text(branch(status, "subStatusCode")) or text(branch(status, "statusString"))
        raise AnswerError(f"the device answered {code}: {(words or 'no reason')[:100]}")


async def _said(response: httpx.Response) -> str:
    """Return the subStatusCode of an error's ResponseStatus, empty without one."""
    try:
        answer = Answer("", await _read(response, 16 * 1024))
        content = answer.content()
    except (AnswerError, httpx.HTTPError, httpx.StreamError):
        return ""
    status = branch(content, "ResponseStatus") or content
    return (text(branch(status, "subStatusCode")) or "")[:100]


async def _read(response: httpx.Response, largest: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > largest:
            raise AnswerError(f"an answer of more than {largest} bytes")
    return bytes(body)
