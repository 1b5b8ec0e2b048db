"""The driver that listens to an alert stream, and supervises the device by its heartbeats.

Two tasks live as long as the stream: one reads (so that heartbeats are heard whatever else goes
on), one works through what was read. Between them stands a short queue; when it is full, the
stream is not read, and the back-pressure reaches the device.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any

import httpx

from edge.driver import (
    DriverContext,
    DriverSink,
    LinkError,
    ReportRule,
    StreamingDriver,
    health_rule,
    read_secret,
)
from edge.drivers.settings import report_rules
from edge.isapi import times
from edge.isapi.alert_stream import AlertStream, AlertStreamError, boundary_of
from edge.isapi.client import IsapiClient
from edge.isapi.clock_watch import ClockWatch
from edge.isapi.settings import IsapiSettings
from edge.isapi.values import text

STREAM_PATH = "/ISAPI/Event/notification/alertStream"
_REPORTS = {"device.health": health_rule(period_s=60)}
#: Bytes without a whole part for so many times the allowed silence are not a stream either.
_PATIENCE_WITH_PARTS = 3
_QUEUE = 256
#: What was read when a stream is lost has so long (real seconds) to be dealt with.
_FINISH_S = 2.0
#: What is under way when a driver stops has so long (real seconds) to be committed.
_COMMIT_S = 1.0

Alert = dict[str, Any]


class ListeningDriver(StreamingDriver):
    """Listens to one ISAPI device; what its alerts mean is the subclass's business."""

    def __init__(
        self,
        kind: str,
        settings: IsapiSettings,
        context: DriverContext,
        devices: tuple[str, ...],
        speaker: str,
    ) -> None:
        """``speaker`` is the device that stands for the whole (its clock, its power)."""
        super().__init__(f"{kind} {settings.base_url}", devices)
        self.base_settings = settings
        self.context = context
        self.client = IsapiClient(settings, context.base)
        self.offset_min = settings.offset_min
        self._speaker = speaker
        self._clock_watch = ClockWatch()
        self._alive_at = 0.0

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: what can be still all night repeats its health."""
        return report_rules(self.base_settings, _REPORTS)

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets; raise :class:`SettingsError` when one cannot be read."""
        await super().start(sink)
        settings = self.base_settings
        self.client.open(
            read_secret(
                settings.password,
                settings.password_file,
                settings.password_env,
                self.context.base,
                "password",
            )
        )

    async def stop(self) -> None:
        """Close every connection."""
        await self.client.close()

    async def run(self) -> None:
        """Listen until the stream is lost; raise :class:`LinkError`."""
        async with self.client.stream(STREAM_PATH) as response:
            queue: asyncio.Queue[Alert] = asyncio.Queue(_QUEUE)
            tasks = [
                asyncio.create_task(self._read(response, queue), name=f"{self.name} reads"),
                asyncio.create_task(self.work(queue), name=f"{self.name} works"),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await self._finish(queue, *tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()

    async def _finish(
        self, queue: asyncio.Queue[Alert], reading: asyncio.Task[None], working: asyncio.Task[None]
    ) -> None:
        """Let what was read before the stream was lost still be dealt with."""
        if not reading.done() or working.done():
            return
        rest = asyncio.create_task(queue.join())
        await asyncio.wait((rest, working), timeout=_FINISH_S, return_when=asyncio.FIRST_COMPLETED)
        rest.cancel()

    @abstractmethod
    async def work(self, queue: asyncio.Queue[Alert]) -> None:
        """Deal with the alerts of one stream, in their order, until it is cancelled.

        ``task_done`` of the queue says that an alert has been dealt with.
        """

    @staticmethod
    async def finish(work: Coroutine[Any, Any, None]) -> None:
        """Do what must not be broken off half-way; a stop waits for it, but not for long.

        An event that the journal has taken and nobody remembers would be told twice.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,), timeout=_COMMIT_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    def is_heartbeat(self, alert: Alert) -> bool:
        """Tell whether an alert only says that the device lives."""
        kind = (text(alert.get("eventType")) or "").lower()
        # Many devices have no heartbeat of their own and say "no video loss" again and again.
        return kind == "heartbeat" or (
            kind == "videoloss" and (text(alert.get("eventState")) or "").lower() == "inactive"
        )

    async def _read(self, response: httpx.Response, queue: asyncio.Queue[Alert]) -> None:
        try:
            stream = AlertStream(boundary_of(response.headers.get("content-type", "")))
        except AlertStreamError as error:
            raise LinkError(str(error), "protocol") from None
        self._alive_at = 0.0
        await self._alive()
        parts, last_part = 0, time.monotonic()
        async for chunk in response.aiter_raw():
            for alert in stream.feed(chunk):
                if self.is_heartbeat(alert):
                    self._sink.count("heartbeats")
                    await self._compare_clocks(alert)
                else:
                    await queue.put(alert)
            for name, amount in stream.counts.items():
                self._sink.count(name, amount)
            stream.counts.clear()
            if stream.parts > parts:
                parts, last_part = stream.parts, time.monotonic()
                await self._alive()
            elif time.monotonic() - last_part > self.base_settings.silence_s * _PATIENCE_WITH_PARTS:
                raise LinkError("bytes, but no events or heartbeats", "protocol")

    async def _alive(self) -> None:
        now = time.monotonic()
        if now - self._alive_at < 0.5:
            return
        self._alive_at = now
        for device in self.devices:
            await self._sink.reached(device)

    async def _compare_clocks(self, alert: Alert) -> None:
        moment = times.parse(alert.get("dateTime"), self.offset_min)
        if moment is None:
            return
        if moment.offset_min is not None:
            self.offset_min = moment.offset_min
        change = self._clock_watch.see((moment.at - self.context.clock.now_ms()) / 1000)
        if change is not None:
            await self._sink.emit("device.fault", self._speaker, change)
            self._clock_watch.told(change)
