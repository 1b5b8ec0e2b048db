"""The HTTP JSON driver: it asks a gateway, or a gateway posts to it."""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from core.contracts.errors import JournalError
from edge.driver import (
    Driver,
    DriverContext,
    DriverSink,
    LinkError,
    PollingDriver,
    ReportRule,
    StreamingDriver,
    health_rule,
    read_secret,
)
from edge.drivers.json_http.listener import PushListener
from edge.drivers.json_http.settings import JsonHttpSettings, ListenSection
from edge.drivers.settings import report_rules
from edge.mapping.mapper import RefusedError
from edge.mapping.model import Mapping as MappingFile
from edge.mapping.model import load
from edge.mapping.reception import MOST_BYTES, Reception
from edge.mapping.reports import REPORTS
from edge.mapping.silence import Silence

#: A refused password is not tried again for so long (s), doubled up to the limit.
_REFUSED_PAUSE_S, _REFUSED_LIMIT_S = 60.0, 1_800.0
#: A push waits so long (s) for a journal that is full, before it is sent away.
_HOLD_S = 10.0


def create(settings: JsonHttpSettings, context: DriverContext) -> Driver:
    """Build the driver with its mapping; raise :class:`SettingsError`."""
    mapping = load(settings.map, Path(context.base))
    if settings.listen is None:
        return JsonHttpPoll(settings, mapping, context)
    return JsonHttpPush(settings, settings.listen, mapping, context)


def _reports(settings: JsonHttpSettings) -> Mapping[str, ReportRule]:
    return report_rules(settings, REPORTS)


def _password(settings: JsonHttpSettings, context: DriverContext) -> str:
    return read_secret(
        settings.password, settings.password_file, settings.password_env, context.base, "password"
    )


class JsonHttpPoll(PollingDriver):
    """Asks one address again and again."""

    def __init__(
        self, settings: JsonHttpSettings, mapping: MappingFile, context: DriverContext
    ) -> None:
        url = urlsplit(settings.url or "")
        name = f"json_http {url.hostname}:{url.port or url.scheme}{url.path}"
        super().__init__(
            name, settings.device_ids(),
            period_s=settings.period_s, poll_timeout_s=settings.timeout_s * 2 + 2,
        )  # fmt: skip
        self._settings = settings
        self._context = context
        self._host = f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"
        self._reception = Reception(
            name, mapping, settings.devices, context, settings.pseudonym_key_file
        )
        self._client: httpx.AsyncClient | None = None
        self._auth: httpx.Auth | None = None
        self._bearer: dict[str, str] = {}
        self._refused = 0
        self._not_before = 0.0

    @property
    def gateway(self) -> str | None:
        """Return the gateway's address where several devices hang on it."""
        return self._host if len(self.devices) > 1 else None

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when statuses and readings are reported."""
        return _reports(self._settings)

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        settings = self._settings
        if settings.auth != "none":
            secret, user = _password(settings, self._context), settings.username or ""
            if settings.auth == "bearer":
                self._bearer = {"Authorization": f"Bearer {secret}"}
            else:
                kind = httpx.BasicAuth if settings.auth == "basic" else httpx.DigestAuth
                self._auth = kind(user, secret)
        self._reception.open(sink)

    async def stop(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def poll(self) -> None:
        """Ask once, and tell what is new."""
        if time.monotonic() < self._not_before:
            raise LinkError("credentials refused; waiting before the next try", "credentials")
        settings = self._settings
        try:
            async with asyncio.timeout(settings.timeout_s * 2):
                body = await self._fetch()
        except (httpx.TimeoutException, TimeoutError):
            await self.stop()
            raise LinkError(f"{self._host}: no answer", "device") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, ssl.SSLError) as error:
            await self.stop()
            raise LinkError(f"{self._host}: {error or type(error).__name__}", "network") from error
        try:
            heard = await self._reception.take(body, None, patient=False)
        except RefusedError as refused:
            raise LinkError(f"{self._host}: {refused}", "protocol") from None
        if not heard.matched:
            raise LinkError(f"{self._host}: no rule of the map fits the answer", "protocol")
        for device in self.devices:
            if device in heard.devices:
                continue
            if settings.whole:
                await self._sink.failed(device, LinkError("not in the answer", "device"))
            else:
                await self._sink.reached(device)

    async def _fetch(self) -> bytes:
        settings = self._settings
        if self._client is None:
            self._client = httpx.AsyncClient(
                # No proxy of the environment stands between an edge and its devices.
                timeout=settings.timeout_s, verify=self._tls(), trust_env=False
            )  # fmt: skip
        async with self._client.stream(
            settings.method, settings.url or "", auth=self._auth,
            headers={**settings.headers, **self._bearer},
            content=None if settings.body is None else settings.body.encode(),
        ) as response:  # fmt: skip
            self._check(response)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise LinkError(f"{self._host}: more than {MOST_BYTES} bytes", "protocol")
        return bytes(body)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            pause = min(_REFUSED_PAUSE_S * 2**self._refused, _REFUSED_LIMIT_S)
            self._refused = min(self._refused + 1, 10)
            self._not_before = time.monotonic() + pause
            raise LinkError(f"credentials refused ({response.status_code})", "credentials")
        if not response.is_success:
            raise LinkError(f"{self._host}: HTTP status {response.status_code}", "protocol")
        self._refused = 0

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self._settings
        if not settings.verify_tls or not (settings.url or "").startswith("https:"):
            return False
        ca_file = settings.ca_file
        return ssl.create_default_context(cafile=ca_file and self._context.base / ca_file)


class JsonHttpPush(StreamingDriver):
    """Takes what gateways post."""

    def __init__(
        self,
        settings: JsonHttpSettings,
        listen: ListenSection,
        mapping: MappingFile,
        context: DriverContext,
    ) -> None:
        name = f"json_http listen {listen.host}:{listen.port}{listen.path}"
        super().__init__(name, settings.device_ids())
        self._settings = settings
        self._listen = listen
        self._context = context
        self._reception = Reception(
            name, mapping, settings.devices, context, settings.pseudonym_key_file
        )
        self._silence = Silence((), listen.silence_s)
        self._token = ""

    @property
    def patience(self) -> int:
        """Return 1: ``silence_s`` is the patience."""
        return 1

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when statuses and readings are reported; health is repeated."""
        return {"device.health": health_rule(60), **_reports(self._settings)}

    async def start(self, sink: DriverSink) -> None:
        """Read the token and the keys; raise :class:`SettingsError`."""
        await super().start(sink)
        self._token = _password(self._settings, self._context)
        self._reception.open(sink)

    async def run(self) -> None:
        """Listen until stopped; raise OSError when the port is taken."""
        listen, base = self._listen, self._context.base
        tls = None
        if listen.tls_cert is not None and listen.tls_key is not None:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(base / listen.tls_cert, base / listen.tls_key)
        self._silence = Silence(self.devices, listen.silence_s)
        listener = PushListener(self._take, self._sink.count)
        await listener.start(listen.host, listen.port, tls)
        try:
            while True:
                await asyncio.sleep(self._silence.look_s)
                await self._silence.tell(self._sink)
        finally:
            await listener.stop()

    def _allowed(self, headers: Mapping[str, str]) -> bool:
        listen = self._listen
        expected = self._token
        if listen.header.lower() == "authorization":
            expected = f"Bearer {expected}"
        given = headers.get(listen.header.lower(), "")
        return hmac.compare_digest(given.encode(), expected.encode())

    async def _take(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the HTTP status of one push: 200 only when everything is committed."""
        root = self._listen.path.rstrip("/")
        if path != self._listen.path and not path.startswith(f"{root}/"):
            return 404
        if not self._allowed(headers):
            self._sink.count("pushes_without_token")
            return 401
        if method not in ("POST", "PUT"):
            return 405
        try:
            async with asyncio.timeout(_HOLD_S):
                heard = await self._reception.take(body, path[len(root) :].strip("/"), patient=True)
        except RefusedError:
            return 400
        except (JournalError, TimeoutError):
            self._sink.count("pushes_sent_away")
            return 503
        self._silence.heard(heard.devices)
        return 422 if heard.refused else 200
