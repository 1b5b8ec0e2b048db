"""The door driver: listens to a controller's alert stream and supervises it by its heartbeats."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from functools import partial

import httpx

from edge.driver import (
    DriverContext,
    DriverSink,
    LinkError,
    ReportRule,
    StreamingDriver,
    health_rule,
    insist,
    read_secret,
)
from edge.drivers.isapi_door.alert_stream import AlertStream, AlertStreamError, boundary_of
from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.drivers.isapi_door.translate import Skipped, Translator
from edge.drivers.settings import report_rules
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key

_PATH = "/ISAPI/Event/notification/alertStream"
_REPORTS = {"device.health": health_rule(period_s=60)}
#: Bytes without a whole part for so many times the allowed silence are not a stream either.
_PATIENCE_WITH_PARTS = 3
#: Controllers lock an account after a few wrong passwords: pause (real seconds) and its limit.
_REFUSED_PAUSE_S, _REFUSED_LIMIT_S = 60.0, 1800.0


def create(settings: IsapiDoorSettings, context: DriverContext) -> IsapiDoorDriver:
    """Build the driver."""
    return IsapiDoorDriver(settings, context)


class IsapiDoorDriver(StreamingDriver):
    """Listens to one door controller."""

    def __init__(self, settings: IsapiDoorSettings, context: DriverContext) -> None:
        super().__init__(f"isapi_door {settings.base_url}", settings.device_ids())
        self._settings = settings
        self._context = context
        self._password = ""
        self._translator: Translator | None = None
        self._refused = 0
        self._not_before = 0.0
        self._alive_at = 0.0

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: a door can be still all night, its health is repeated."""
        return report_rules(self._settings, _REPORTS)

    def health(self) -> Mapping[str, int]:
        """Return how many of the controller's events never came."""
        return {"missed_serials": self._translator.missed_serials if self._translator else 0}

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        settings, context = self._settings, self._context
        self._password = read_secret(
            settings.password,
            settings.password_file,
            settings.password_env,
            context.base,
            "password",
        )
        key = (
            read_or_make_key(context.data / "pseudonym.key")
            if settings.pseudonym_key_file is None
            else read_key(context.base / settings.pseudonym_key_file)
        )
        self._translator = Translator(settings.doors, Pseudonyms(key), settings.forced_grace_s)

    async def run(self) -> None:
        """Listen until the stream is lost; raise :class:`LinkError`."""
        if time.monotonic() < self._not_before:
            raise LinkError("credentials refused; waiting before the next try", "credentials")
        settings = self._settings
        timeout = httpx.Timeout(settings.connect_timeout_s, read=settings.silence_s)
        auth = httpx.DigestAuth(settings.username, self._password)
        try:
            async with (
                # No proxy of the environment stands between an edge and its devices.
                httpx.AsyncClient(
                    base_url=settings.base_url, timeout=timeout, verify=self._tls(), trust_env=False
                ) as client,
                client.stream(
                    "GET", _PATH, auth=auth, headers={"Accept-Encoding": "identity"}
                ) as response,
            ):
                self._check(response)
                await self._listen(response)
        except httpx.ReadTimeout:
            raise LinkError(f"silent for {settings.silence_s:g} s", "device") from None
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self._settings
        if not settings.verify_tls or not settings.base_url.startswith("https:"):
            return False
        ca_file = settings.ca_file
        return ssl.create_default_context(cafile=ca_file and self._context.base / ca_file)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            pause = min(_REFUSED_PAUSE_S * 2**self._refused, _REFUSED_LIMIT_S)
            self._refused = min(self._refused + 1, 10)
            self._not_before = time.monotonic() + pause
            raise LinkError(f"credentials refused ({response.status_code})", "credentials")
        if response.status_code != httpx.codes.OK:
            raise LinkError(f"HTTP status {response.status_code}", "protocol")
        self._refused = 0

    async def _listen(self, response: httpx.Response) -> None:
        try:
            stream = AlertStream(boundary_of(response.headers.get("content-type", "")))
        except AlertStreamError as error:
            raise LinkError(str(error), "protocol") from None
        self._alive_at = 0.0
        await self._alive()
        parts, last_part = 0, time.monotonic()
        async for chunk in response.aiter_raw():
            for alert in stream.feed(chunk):
                await self._take(alert)
            for name, amount in stream.counts.items():
                self._sink.count(name, amount)
            stream.counts.clear()
            if stream.parts > parts:
                parts, last_part = stream.parts, time.monotonic()
                await self._alive()
            elif time.monotonic() - last_part > self._settings.silence_s * _PATIENCE_WITH_PARTS:
                raise LinkError("bytes, but no events or heartbeats", "protocol")

    async def _alive(self) -> None:
        now = time.monotonic()
        if now - self._alive_at < 0.5:
            return
        self._alive_at = now
        for device in self.devices:
            await self._sink.reached(device)

    async def _take(self, alert: dict[str, object]) -> None:
        event_type = alert.get("eventType")
        if event_type == "heartBeat":
            self._sink.count("heartbeats")
            return
        if event_type != "AccessControllerEvent" or self._translator is None:
            self._sink.count("other_events")
            return
        outcome = self._translator.translate(alert, self._context.clock.now_ms())
        if isinstance(outcome, Skipped):
            self._sink.count(outcome.reason)
            if outcome.reason != "duplicates":
                self._translator.committed(alert, [])
            return
        for found in outcome:
            emit = partial(self._sink.emit, found.kind, found.device, found.data, found.at)
            await insist(emit, self._sink)
        self._translator.committed(alert, outcome)
