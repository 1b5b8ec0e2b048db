"""The driver for events that cameras raise themselves, with a look at whether they are armed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from core.contracts.commands import Action
from edge.driver import CommandRefusedError, DriverContext, DriverSink, LinkError, Params, insist
from edge.drivers.isapi_camera.arming import ArmedCheck, Verdict
from edge.drivers.isapi_camera.settings import IsapiCameraSettings
from edge.drivers.isapi_camera.states import Alarm, States
from edge.drivers.isapi_camera.translate import Translator
from edge.isapi.access import Skipped
from edge.isapi.client import AnswerError
from edge.isapi.listening import Alert, ListeningDriver
from edge.isapi.memory import memory_of
from edge.isapi.values import text

_SWEEP_S = 0.5
_RETRY_S = 60.0
#: The network that finds persons is the same one for every driver that looks at pictures.
_PERSONS = ("camera", "persons")
_log = structlog.get_logger(__name__)


def create(settings: IsapiCameraSettings, context: DriverContext) -> IsapiCameraDriver:
    """Build the driver."""
    return IsapiCameraDriver(settings, context)


class IsapiCameraDriver(ListeningDriver):
    """Listens to one camera, or to a recorder with several."""

    def __init__(self, settings: IsapiCameraSettings, context: DriverContext) -> None:
        devices = settings.device_ids()
        super().__init__("isapi_camera", settings, context, devices, devices[0])
        self._settings = settings
        self._memory = memory_of(context.data, devices[0])
        self._translator = Translator(settings)
        self._states = States()
        self._armed = ArmedCheck(self.client, settings.expect, settings.seen_within_days)
        self._unarmed: dict[str, Verdict] = {}
        self._channels = {device: channel for channel, device in settings.cameras.items()}

    @property
    def gateway(self) -> str | None:
        """Return the recorder's address, where more than one camera hangs on it."""
        return self.client.address if len(self.devices) > 1 else None

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that each camera can take a picture."""
        return dict.fromkeys(self.devices, frozenset({Action.SNAPSHOT}))

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets and what is known; raise :class:`SettingsError`."""
        await super().start(sink)
        memory = await asyncio.to_thread(self._memory.load)
        self._armed.restore(memory.get("seen"))
        self._states.restore(memory.get("standing"), self.context.clock.now_ms())

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Take a picture; its id on the media lane is returned."""
        channel = self._channels.get(device)
        if action is not Action.SNAPSHOT or channel is None:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError("a snapshot takes no parameters")
        # OpenCV and the network are loaded by whoever asks for a picture; many edges never do.
        from edge.drivers.isapi_camera import still
        from edge.vision.person import PersonDetector

        first = await self._picture(channel, still.LARGEST_BYTES)
        await asyncio.sleep(still.BETWEEN_S)
        second = await self._picture(channel, still.LARGEST_BYTES)
        persons = self.context.shared.acquire(_PERSONS, PersonDetector)
        try:
            maker = still.maker(self._settings.snapshot_width, persons)
            jpeg = await asyncio.to_thread(still.blurred, maker, first, second)
        finally:
            await self.context.shared.release(_PERSONS)
        at = self.context.clock.now_ms()
        media = f"{datetime.fromtimestamp(at / 1000, UTC):%Y%m%d}-{uuid4().hex}"
        await self._sink.snapshot(device, at, media, jpeg)
        return {"media": media}

    async def _picture(self, channel: str, largest: int) -> bytes:
        """Return a still picture of the main stream; recorders have it elsewhere."""
        path = f"/channels/{channel}01/picture"
        try:
            answer = await self.client.request("GET", f"/ISAPI/Streaming{path}", largest=largest)
        except AnswerError:
            if len(self.devices) == 1:
                raise
            proxy = f"/ISAPI/ContentMgmt/StreamingProxy{path}"
            answer = await self.client.request("GET", proxy, largest=largest)
        return answer.body

    def is_heartbeat(self, alert: Alert) -> bool:
        """Tell whether an alert only says that the camera lives.

        "No video loss" is one, unless a loss of video stands: then it is its end.
        """
        if not super().is_heartbeat(alert):
            return False
        if (text(alert.get("eventType")) or "").lower() == "heartbeat":
            return True
        found = self._translator.device(alert)
        return found is None or not self._states.is_active("camera.video_loss", found[1])

    async def work(self, queue: asyncio.Queue[Alert]) -> None:
        """Deal with alerts, end what is no longer repeated, and look at what is armed."""
        self._states.heard_again(self.context.clock.now_ms())
        looking = asyncio.create_task(self._look_again_and_again(), name=f"{self.name} arming")
        try:
            while True:
                try:
                    async with asyncio.timeout(_SWEEP_S):
                        alert = await queue.get()
                except TimeoutError:
                    if looking.done():
                        looking.result()
                    await self._sweep()
                    continue
                await self._take(alert)
                queue.task_done()
                await self._sweep()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _take(self, alert: Alert) -> None:
        now = self.context.clock.now_ms()
        told = self._translator.translate(alert, self.offset_min, now)
        if isinstance(told, Skipped):
            self._sink.count(told.reason)
            return
        if not isinstance(told, Alarm):
            emit = partial(self._sink.emit, told.kind, told.device, told.data, told.at)
            await insist(emit, self._sink)
            return
        await self.finish(self._deal_with(told))

    async def _deal_with(self, alarm: Alarm) -> None:
        worth = alarm.active and self._armed.saw(alarm.device, alarm.type, alarm.heard)
        news = self._states.is_news(alarm)
        if news and not (alarm.momentary and not alarm.active):
            await self._tell(alarm, active=alarm.active, at=alarm.at)
        elif alarm.active:
            self._sink.count("repetitions")
        self._states.note(alarm)
        if news or worth:
            await self._save()

    async def _sweep(self) -> None:
        """End what has not been repeated for too long."""
        now = self.context.clock.now_ms()
        for alarm in self._states.silent(now):
            await self.finish(self._end(alarm, now))

    async def _end(self, alarm: Alarm, now: int) -> None:
        if not alarm.momentary:
            self._sink.count("timed_out")
            await self._tell(alarm, active=False, at=now)
        self._states.forget(alarm)
        await self._save()

    async def _tell(self, alarm: Alarm, *, active: bool, at: int) -> None:
        data: dict[str, Any] = {**alarm.data, "active": active}
        await insist(partial(self._sink.emit, alarm.kind, alarm.device, data, at), self._sink)

    async def _look_again_and_again(self) -> None:
        while self._settings.expect:
            try:
                await self._look()
            except LinkError as error:
                self._sink.count("armed_check_failed")
                _log.warning("armed_check_failed", driver=self.name, error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                await self.context.clock.sleep(self._settings.check_period_s)

    async def _look(self) -> None:
        for channel, device in self._settings.cameras.items():
            now = self.context.clock.now_ms()
            verdict = await self._armed.look(channel, device, now)
            if verdict is None or verdict == self._unarmed.get(device):
                continue
            known = self._unarmed.get(device)
            if known is not None and not known.events and not verdict.events:
                continue
            if known is not None and known.events and known.reason != verdict.reason:
                await self._tell_arming(device, Verdict(known.reason), now)
                if not verdict.events:
                    self._unarmed[device] = verdict
                    continue
            await self._tell_arming(device, verdict, now)
            self._unarmed[device] = verdict
        await self._save()

    async def _tell_arming(self, device: str, verdict: Verdict, now: int) -> None:
        emit = partial(self._sink.emit, "camera.unarmed", device, verdict.data(), now)
        await insist(emit, self._sink)

    async def _save(self) -> None:
        value = {"seen": self._armed.dump(), "standing": self._states.dump()}
        try:
            await asyncio.to_thread(self._memory.save, value)
        except OSError as error:
            self._sink.count("memory_not_saved")
            _log.warning("memory_not_saved", driver=self.name, error=str(error))
