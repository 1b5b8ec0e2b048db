"""The camera driver: a thread reads and judges, the event loop reports."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import Any

import cv2
import structlog

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from edge.driver import (
    CommandRefusedError,
    DriverContext,
    DriverSink,
    LinkError,
    Params,
    ReportRule,
    StreamingDriver,
    health_rule,
    insist,
    read_secret,
)
from edge.drivers.camera.analyser import Analyser
from edge.drivers.camera.eye import Eye
from edge.drivers.camera.reader import Ended, Kit, Reader, Report, read_background
from edge.drivers.camera.settings import CameraSettings, DetectorSettings
from edge.drivers.camera.sources import Source, open_source
from edge.drivers.settings import report_rules
from edge.vision.detection import Box, Detector
from edge.vision.person import ModelMissingError, PersonDetector
from edge.vision.picture import Picture
from edge.vision.snapshot import SnapshotMaker
from edge.vision.studio import Studio
from edge.vision.yolo import YoloDetector

_log = structlog.get_logger(__name__)

_SNAPSHOT_WIDTH = 640
#: Real time that an event waits for its picture.
_PICTURE_S = 10.0
#: Threads of one camera that may hang in a read at the same time; then it is not tried again.
_MOST_ABANDONED = 3
#: A refused password is tried again after so long, doubled each time: cameras lock accounts.
_REFUSED_PAUSE_S, _REFUSED_LIMIT_S = 60.0, 1800.0
#: Persons are blurred in snapshots from this confidence on: better one too many.
_PERSON_CONFIDENCE = 0.3


def create(settings: CameraSettings, context: DriverContext) -> CameraDriver:
    """Build the driver."""
    return CameraDriver(settings, context)


class CameraDriver(StreamingDriver):
    """Watches one camera."""

    def __init__(self, settings: CameraSettings, context: DriverContext) -> None:
        # The settings refuse addresses with credentials, so the name holds no secret.
        super().__init__(f"camera {settings.url}", settings.device_ids())
        self._settings = settings
        self._context = context
        self._kit: Kit | None = None
        self._held: list[Hashable] = []
        self._unarmed: str | None = None
        self._told_arming = False
        self._reader: Reader | None = None
        self._abandoned: list[Reader] = []
        self._before: Counter[str] = Counter()
        self._source: Source | None = None
        self._last_picture: float | None = None
        self._video_lost: bool | None = None
        self._started: float | None = None
        self._not_before = 0.0
        self._refused = 0

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that a picture can be asked for."""
        return {self._settings.device: frozenset({Action.SNAPSHOT})}

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: a yard can be still for hours, its health is repeated."""
        health = health_rule(self._settings.period_s)
        return report_rules(self._settings, {"device.health": health})

    def health(self) -> Mapping[str, int]:
        """Return how many pictures were looked at, and what was passed over."""
        counts = self._before.copy()
        if self._reader is not None:
            counts.update(self._reader.counts)
        if self._source is not None:
            counts.update(self._source.counts)
        if self._kit is not None and self._kit.eye is not None:
            counts.update(self._kit.eye.counts)
        stuck = sum(reader.alive for reader in self._abandoned)
        return {"frames": 0, **counts, **({"stuck_threads": stuck} if stuck else {})}

    async def start(self, sink: DriverSink) -> None:
        """Read secret and detector; raise :class:`SettingsError` for one that cannot be used."""
        await super().start(sink)
        settings = self._settings
        credentials = None
        if settings.username is not None:
            password = read_secret(
                settings.password, settings.password_file, settings.password_env,
                self._context.base, "password",
            )  # fmt: skip
            credentials = (settings.username, password)
        self._source = open_source(settings, credentials, self._context.base)
        # One small picture at a time: OpenCV's own threads would only spin.
        cv2.setNumThreads(1)
        # Its warnings repeat what the driver tells.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        studio = self._acquire("studio", Studio)
        persons = self._acquire("persons", PersonDetector)
        maker = SnapshotMaker(settings.width or _SNAPSHOT_WIDTH, persons=partial(_persons, persons))
        eye = None
        if settings.detector is not None:
            detector = await self._detector(settings.detector, persons)
            eye = None if detector is None else Eye(detector, studio, settings.detector)
        self._kit = Kit(studio, maker, eye)

    async def stop(self) -> None:
        """Stop the thread; it ends by itself at the latest after the time-out for a picture."""
        if self._reader is not None:
            await self._reader.stop(2.0)
        held, self._held = self._held, []
        for key in held:
            await self._context.shared.release(key)

    async def run(self) -> None:
        """Watch until the stream is lost; raise :class:`LinkError`."""
        if self._source is None or self._kit is None:
            raise RuntimeError("run() before start()")
        self._started = self._started or time.monotonic()
        try:
            reader = await self._next_reader(self._kit)
            reader.start(asyncio.get_running_loop(), self._source)
            try:
                await self._follow(reader)
            finally:
                reader.halt()
        except LinkError as error:
            self._note_refusal(error)
            await self._note_loss()
            raise

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Take a picture now; its id on the media lane is returned."""
        if action is not Action.SNAPSHOT:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError(f"a snapshot takes no parameters, not {', '.join(params)}")
        settings = self._settings
        oldest_s = settings.timeout_s + (settings.poll_s or 1 / settings.idle_fps)
        future = self._reader.shoot(oldest_s) if self._reader is not None else None
        jpeg = await _made(future)
        if jpeg is None:
            raise LinkError("there is no picture to send", "device")
        at = self._context.clock.now_ms()
        media_id = _media_id(at)
        await self._sink.snapshot(device, at, media_id, jpeg)
        return {"media": media_id}

    # -- getting ready -----------------------------------------------------------------------

    def _acquire(self, name: str, make: Any) -> Any:
        key = ("camera", name)
        thing = self._context.shared.acquire(key, make)
        self._held.append(key)
        return thing

    async def _detector(self, wanted: DetectorSettings, persons: PersonDetector) -> Detector | None:
        """Return the detector, loaded; None where it is not installed, which is told."""
        if wanted.kind == "person":
            try:
                await asyncio.to_thread(persons.load)
            except ModelMissingError as error:
                self._unarmed = str(error)
                _log.warning("detector_missing", device=self._settings.device, error=str(error))
                return None
            return persons
        file = self._context.base / (wanted.file or "")
        classes = {number: str(target) for number, target in wanted.classes.items()}
        name = f"{file} {sorted(classes.items())} {wanted.size} {wanted.head}"
        detector: YoloDetector = self._acquire(
            name, lambda: YoloDetector(file, classes, size=wanted.size, head=wanted.head)
        )
        try:
            await asyncio.to_thread(detector.load, wanted.sha256)
        except ModelMissingError as error:
            raise SettingsError(f"detector.file: {error}") from None
        return detector

    async def _next_reader(self, kit: Kit) -> Reader:
        """Return a reader; one that hangs is left behind, with its analyser.

        Raises :class:`LinkError` while it is too early, or too much hangs already.
        """
        if time.monotonic() < self._not_before:
            raise LinkError("credentials refused; waiting before the next try", "credentials")
        path = self._context.data / f"background-{self._settings.device}.npy"
        last, self._reader = self._reader, None
        analyser = None
        if last is not None:
            self._before.update(last.counts)
            if await last.stop(self._settings.timeout_s):
                analyser = last.analyser
            else:
                last.abandon()
                self._abandoned.append(last)
                self._sink.count("threads_abandoned")
        self._abandoned = [reader for reader in self._abandoned if reader.alive]
        if len(self._abandoned) >= _MOST_ABANDONED:
            raise LinkError(f"{len(self._abandoned)} connections hang in a read", "device")
        if analyser is None:
            analyser = Analyser(self._settings)
            known = await asyncio.to_thread(read_background, path)
            if known is not None:
                analyser.restore(known)
        self._reader = Reader(self._settings, self._context.clock, analyser, kit, path)
        return self._reader

    # -- reporting ---------------------------------------------------------------------------

    async def _follow(self, reader: Reader) -> None:
        """Report what the thread hands over; raise :class:`LinkError` when it ends or hangs."""
        settings = self._settings
        # The thread's own time-outs come first; this one is for a read that ignores them.
        patience_s = 3 * settings.timeout_s + 5 + (settings.poll_s or 1 / settings.idle_fps)
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    item = await reader.reports.get()
            except TimeoutError:
                raise LinkError("the read hangs", "device") from None
            if isinstance(item, Ended):
                raise item.error or LinkError("the stream ended", "network")
            await self._report(item)

    async def _report(self, report: Report) -> None:
        device, sink = self._settings.device, self._sink
        if self._last_picture is None or report.transition is None:
            await insist(partial(sink.reached, device), sink)
        self._last_picture = time.monotonic()
        self._refused = 0
        if self._video_lost is not False:
            await self._emit("camera.video_loss", {"active": False}, report.at)
            self._video_lost = False
        if self._settings.detector is not None and not self._told_arming:
            await self._tell_arming(report.at)
        if report.transition is None:
            return
        data = dict(report.transition.data)
        jpeg = await _made(report.jpeg)
        if report.jpeg is not None and jpeg is None:
            sink.count("snapshots_failed")
        if jpeg is None:
            await self._emit(report.transition.kind, data, report.at)
            return
        media_id = _media_id(report.at)
        await self._emit(report.transition.kind, data | {"snapshot": media_id}, report.at)
        await insist(partial(sink.snapshot, device, report.at, media_id, jpeg), sink)

    async def _tell_arming(self, at: int) -> None:
        """Tell once whether the detector that the settings ask for is there."""
        missing = self._unarmed
        data: dict[str, Any] = {"active": missing is not None, "reason": "not_armed"}
        await self._emit(
            "camera.unarmed", data if missing is None else {**data, "events": missing[:200]}, at
        )
        self._told_arming = True

    async def _emit(self, kind: str, data: dict[str, Any], at: int) -> None:
        await insist(partial(self._sink.emit, kind, self._settings.device, data, at), self._sink)

    def _note_refusal(self, error: LinkError) -> None:
        now = time.monotonic()
        if error.cause == "credentials" and now >= self._not_before:
            self._not_before = now + min(_REFUSED_PAUSE_S * 2**self._refused, _REFUSED_LIMIT_S)
            self._refused = min(self._refused + 1, 10)

    async def _note_loss(self) -> None:
        """Report the loss once no picture came for the time-out; a quick return is no loss."""
        since = self._started if self._last_picture is None else self._last_picture
        waited_s = time.monotonic() - since if since is not None else 0.0
        if self._video_lost is True or waited_s < self._settings.timeout_s:
            return
        await self._emit("camera.video_loss", {"active": True}, self._context.clock.now_ms())
        self._video_lost = True


async def _made(future: Future[bytes | None] | None) -> bytes | None:
    """Wait for a picture; None when there is none, it failed, or it takes too long."""
    if future is None:
        return None
    waiting = asyncio.wrap_future(future)
    await asyncio.wait({waiting}, timeout=_PICTURE_S)
    if not waiting.done():
        waiting.cancel()
        return None
    if waiting.cancelled():
        return None
    if (error := waiting.exception()) is not None:
        _log.warning("snapshot_failed", error=repr(error))
        return None
    return waiting.result()


def _media_id(at: int) -> str:
    day = datetime.fromtimestamp(at / 1000, UTC)
    return f"{day:%Y%m%d}-{uuid.uuid4().hex}"


def _persons(detector: PersonDetector, picture: Picture) -> list[Box]:
    """Return where persons are, nothing where the detector is not installed."""
    try:
        found = detector.find(picture, _PERSON_CONFIDENCE)
    except ModelMissingError:
        return []
    return [item.box for item in found]
