"""The driver of a camera's own events: what it sees, whether it is armed, a picture on demand."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import structlog

from core.contracts.commands import Action
from core.contracts.errors import DeviceRefusedError
from edge.driver import (
    CommandRefusedError,
    DriverContext,
    DriverSink,
    Params,
    ReportRule,
    health_rule,
)
from edge.drivers.onvif_camera.armed import ANY, SeenBook, ask, listed
from edge.drivers.onvif_camera.settings import OnvifCameraSettings
from edge.drivers.onvif_camera.topics import DETECTIONS, TOPICS
from edge.drivers.onvif_camera.tracker import Tracker
from edge.drivers.onvif_camera.translate import CameraTranslator, Signal
from edge.drivers.settings import report_rules
from edge.observation import Observation
from edge.onvif import names
from edge.onvif.driver import OnvifDriver
from edge.onvif.inputs import TOPICS as INPUT_TOPICS
from edge.onvif.inputs import Inputs
from edge.onvif.notification import Notification
from edge.onvif.observation import Repetitions, Skipped
from edge.onvif.soap import attribute, children, text

if TYPE_CHECKING:
    from edge.vision.snapshot import SnapshotMaker

_REPORTS = {"device.health": health_rule(period_s=60), "camera.count": ReportRule(period_s=300)}
_SAVE_EVERY_S = 300.0
_DAY_S = 86_400
_log = structlog.get_logger(__name__)


def create(settings: OnvifCameraSettings, context: DriverContext) -> OnvifCameraDriver:
    """Build the driver."""
    return OnvifCameraDriver(settings, context)


class OnvifCameraDriver(OnvifDriver):
    """Listens to one camera."""

    _look_every_s = 0.5

    def __init__(self, settings: OnvifCameraSettings, context: DriverContext) -> None:
        super().__init__("onvif_camera", settings, context)
        self._camera = settings
        self._translator = CameraTranslator(settings)
        self._tracker = Tracker(settings.device, settings.pulse_s)
        self._inputs = Inputs(settings.inputs, (settings.device,))
        self._repetitions = Repetitions()
        path = context.data / f"onvif-seen-{settings.device}.json"
        self._seen = SeenBook(path, settings.expect or (ANY,))
        self._detecting = [topic for topic, item in TOPICS.items() if item.kind in DETECTIONS]
        self._detecting += [t for t, item in settings.topics.items() if item.kind in DETECTIONS]
        self._not_armed: str | None = None
        self._told_unarmed: dict[str, Any] | None = None
        self._next_check = self._next_save = 0.0
        self._watched_at: int | None = None
        self._maker: SnapshotMaker | None = None

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that the camera can be asked for a picture."""
        return {self._camera.device: frozenset({Action.SNAPSHOT})}

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: a yard can be still for hours, its health is repeated."""
        return report_rules(self._camera, _REPORTS)

    def health(self) -> Mapping[str, int]:
        """Return the counters of events that were joined, beside those of every device."""
        return {**super().health(), "pulses_joined": self._tracker.joined}

    async def start(self, sink: DriverSink) -> None:
        """Read the secret and what was seen before; raise :class:`SettingsError`."""
        await super().start(sink)
        await asyncio.to_thread(self._seen.load)

    async def stop(self) -> None:
        """Keep what was seen, and close."""
        if self._built:
            await self._save()
        await super().stop()

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Take a picture now and send it blurred; tell its id on the media lane."""
        if device != self._camera.device or action is not Action.SNAPSHOT:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError(f"snapshot takes no {', '.join(sorted(params))}")
        if not self._client.has(names.MEDIA):
            await self._client.connect()
        inner = f"<q:ProfileToken>{escape(await self._profile())}</q:ProfileToken>"
        answer = await self._client.ask(names.MEDIA, "GetSnapshotUri", inner)
        content = await self._client.picture(text(answer, "MediaUri", "Uri"))
        at = self._context.clock.now_ms()
        jpeg = await asyncio.to_thread(self._blur, content)
        media_id = f"{datetime.fromtimestamp(at / 1000, UTC):%Y%m%d}-{uuid.uuid4().hex}"
        await self._sink.snapshot(device, at, media_id, jpeg)
        return {"media": media_id}

    async def _profile(self) -> str:
        if self._camera.profile is not None:
            return self._camera.profile
        profiles = children(await self._client.ask(names.MEDIA, "GetProfiles"), "Profiles")
        if not profiles:
            raise DeviceRefusedError("the camera has no media profile", "no_profile")
        return attribute(profiles[0], "token")

    def _blur(self, content: bytes) -> bytes:
        # OpenCV is loaded by who asks for a picture, not by who listens to events.
        from edge.drivers.onvif_camera.picture import blurred
        from edge.vision.snapshot import SnapshotMaker

        self._maker = self._maker or SnapshotMaker(self._camera.width)
        return blurred(content, self._maker)

    # -- listening ---------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await self._check_armed()
        self._watched_at = None

    async def _take(self, notification: Notification) -> None:
        at = self._moment(notification)
        if notification.topic in INPUT_TOPICS:
            await self._take_input(notification, at)
            return
        found = self._translator.translate(notification, at)
        if isinstance(found, Skipped):
            self._sink.count(found.reason)
            return
        if self._repetitions.knows(notification):
            self._sink.count("duplicates")
            return
        for signal in found:
            await self._tell(signal)
        self._repetitions.remember(notification)
        await self._end_pulses()

    async def _take_input(self, notification: Notification, at: int) -> None:
        found = self._inputs.translate(notification, at)
        if isinstance(found, Skipped):
            self._sink.count(found.reason)
            return
        for observation in found:
            await self._emit(observation)
        self._inputs.committed(notification)

    async def _tell(self, signal: Signal) -> None:
        if signal.kind == "camera.count":
            device = self._camera.device
            await self._emit(Observation("camera.count", device, signal.data, signal.at))
            return
        if not self._tracker.has_room(signal):
            self._sink.count("too_many_states")
            return
        observation = self._tracker.news(signal)
        if observation is not None:
            await self._emit(observation)
        self._tracker.committed(signal, observation)
        if signal.fresh and signal.active is not False:
            await self._saw(signal)

    async def _saw(self, signal: Signal) -> None:
        came_back = self._seen.saw(signal.topic)
        if signal.kind in DETECTIONS:
            came_back = self._seen.saw(ANY) or came_back
        if came_back and self._told_unarmed is not None and self._told_unarmed["active"]:
            await self._tell_unarmed()

    def _synchronising(self) -> None:
        self._tracker.synchronising()

    async def _synchronised(self, *, whole: bool) -> None:
        if not whole:
            return
        for key, observation, lost in self._tracker.vanished(self._context.clock.now_ms()):
            if observation is not None:
                self._sink.count("ended_unseen")
                await self._emit(observation)
            self._tracker.gone(key, observation, lost)

    async def _look(self) -> None:
        now = self._context.clock.now_ms()
        if self._watched_at is not None:
            self._seen.watched((now - self._watched_at) / 1000)
        self._watched_at = now
        await self._end_pulses()
        if time.monotonic() >= self._next_check:
            await self._check_armed()
        await self._tell_unarmed()
        if time.monotonic() >= self._next_save:
            self._next_save = time.monotonic() + _SAVE_EVERY_S
            await self._save()

    async def _end_pulses(self) -> None:
        for key, observation in self._tracker.over(self._context.clock.now_ms()):
            if observation is not None:
                await self._emit(observation)
            self._tracker.ended(key, observation)

    # -- armed -------------------------------------------------------------------------------

    async def _check_armed(self) -> None:
        self._next_check = time.monotonic() + self._camera.check_s
        offer = await ask(self._client)
        if offer.topics is None:
            self._sink.count("topics_not_told")
        self._not_armed = offer.unarmed(self._camera.expect, self._detecting)

    async def _tell_unarmed(self) -> None:
        data = self._unarmed()
        if data == self._told_unarmed:
            return
        before = self._told_unarmed
        if before is not None and not data["active"]:
            data = {**before, "active": False}
            if data == before:
                return
        now = self._context.clock.now_ms()
        await self._emit(Observation("camera.unarmed", self._camera.device, data, now))
        self._told_unarmed = data

    def _unarmed(self) -> dict[str, Any]:
        if self._not_armed is not None:
            return {"active": True, "reason": "not_armed", "events": self._not_armed}
        days = self._camera.seen_within_days
        overdue = [] if days is None else self._seen.overdue(days * _DAY_S)
        if overdue:
            data: dict[str, Any] = {"active": True, "reason": "never_seen"}
            missing = [topic for topic in overdue if topic != ANY]
            return data | ({"events": listed(missing)} if missing else {})
        return {"active": False, "reason": "not_armed"}

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(self._seen.save)
        except OSError as error:
            self._sink.count("seen_not_saved")
            _log.debug("seen_not_saved", driver=self.name, error=str(error))
