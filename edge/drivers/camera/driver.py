"""The camera driver: a thread reads and judges, the event loop reports."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.runtime.clock import Clock
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
from edge.drivers.camera.analyser import Analyser, Transition
from edge.drivers.camera.settings import CameraSettings
from edge.drivers.camera.sources import Source, open_source
from edge.drivers.settings import report_rules
from edge.vision.picture import Grey, Picture
from edge.vision.snapshot import SnapshotMaker

_SNAPSHOT_WIDTH = 640
_ALIVE_EVERY_S = 0.5
_SAVE_EVERY_S = 600.0
#: Reports that wait for the journal; beyond, pictures are left out (events never).
_MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class _Report:
    """What the thread hands over; ``transition`` None: only a sign of life."""

    at: int
    transition: Transition | None = None
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None


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
        self._analyser = Analyser(settings)
        self._snapshots = SnapshotMaker(settings.width or _SNAPSHOT_WIDTH)
        self._reader: _Reader | None = None
        self._source: Source | None = None
        self._last_picture: float | None = None
        self._video_lost: bool | None = None
        self._started: float | None = None

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: a yard can be still for hours, its health is repeated."""
        health = health_rule(self._settings.period_s)
        return report_rules(self._settings, {"device.health": health})

    def health(self) -> Mapping[str, int]:
        """Return how many pictures were looked at."""
        return {"frames": self._reader.frames if self._reader else 0}

    async def start(self, sink: DriverSink) -> None:
        """Read the secret and the learned background; raise :class:`SettingsError`."""
        await super().start(sink)
        settings = self._settings
        credentials = None
        if settings.username is not None:
            password = read_secret(
                settings.password, settings.password_file, settings.password_env,
                self._context.base, "password",
            )  # fmt: skip
            credentials = (settings.username, password)
        self._source = open_source(
            settings.url, credentials, self._context.base,
            fps=settings.fps, timeout_s=settings.timeout_s,
        )  # fmt: skip
        # One small picture at a time: OpenCV's own threads would only spin.
        cv2.setNumThreads(1)
        known = await asyncio.to_thread(_read_background, self._background_path)
        if known is not None:
            self._analyser.restore(known)

    async def stop(self) -> None:
        """Stop the thread; it ends by itself at the latest after the time-out for a picture."""
        if self._reader is not None:
            await self._reader.stop(2.0)

    async def run(self) -> None:
        """Watch until the stream is lost; raise :class:`LinkError`."""
        if self._source is None:
            raise RuntimeError("run() before start()")
        if self._reader is not None and not await self._reader.stop(self._settings.timeout_s):
            raise LinkError("the last connection is still stuck", "device")
        reader = _Reader(
            self._settings, self._context.clock, self._analyser, self._snapshots,
            self._background_path,
        )  # fmt: skip
        self._reader = reader
        self._started = self._started or time.monotonic()
        reader.start(asyncio.get_running_loop(), self._source)
        try:
            while True:
                item = await reader.reports.get()
                if isinstance(item, _Ended):
                    raise item.error or LinkError("the stream ended", "network")
                await self._report(item)
        except LinkError:
            await self._note_loss()
            raise
        finally:
            reader.halt()

    async def _report(self, report: _Report) -> None:
        device, sink = self._settings.device, self._sink
        if self._last_picture is None or report.transition is None:
            await insist(partial(sink.reached, device), sink)
        self._last_picture = time.monotonic()
        if self._video_lost is not False:
            await self._emit("camera.video_loss", {"active": False}, report.at)
            self._video_lost = False
        if report.transition is None:
            return
        data = dict(report.transition.data)
        if report.jpeg is None:
            await self._emit(report.transition.kind, data, report.at)
            return
        day = datetime.fromtimestamp(report.at / 1000, UTC)
        media_id = f"{day:%Y%m%d}-{uuid.uuid4().hex}"
        await self._emit(report.transition.kind, data | {"snapshot": media_id}, report.at)
        await insist(partial(sink.snapshot, device, report.at, media_id, report.jpeg), sink)

    async def _emit(self, kind: str, data: dict[str, Any], at: int) -> None:
        await insist(partial(self._sink.emit, kind, self._settings.device, data, at), self._sink)

    async def _note_loss(self) -> None:
        """Report the loss once no picture came for the time-out; a quick return is no loss."""
        since = self._started if self._last_picture is None else self._last_picture
        waited_s = time.monotonic() - since if since is not None else 0.0
        if self._video_lost is True or waited_s < self._settings.timeout_s:
            return
        await self._emit("camera.video_loss", {"active": True}, self._context.clock.now_ms())
        self._video_lost = True

    @property
    def _background_path(self) -> Path:
        return self._context.data / f"background-{self._settings.device}.npy"


class _Reader:
    """The thread of one connection. It shares the driver's analyser with no other thread."""

    def __init__(
        self,
        settings: CameraSettings,
        clock: Clock,
        analyser: Analyser,
        snapshots: SnapshotMaker,
        background: Path,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._analyser = analyser
        self._snapshots = snapshots
        self._path = background
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reports: asyncio.Queue[_Report | _Ended] = asyncio.Queue()
        self.frames = 0

    def start(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self._loop = loop
        name = f"camera-{self._settings.device}"
        self._thread = threading.Thread(target=self._run, args=(source,), name=name, daemon=True)
        self._thread.start()

    def halt(self) -> None:
        self._stop.set()

    async def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end and wait for it; tell whether it has ended."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            await asyncio.to_thread(thread.join, timeout_s)
        return thread is None or not thread.is_alive()

    def _run(self, source: Source) -> None:
        error: Exception | None = None
        try:
            self._watch(source)
        except Exception as raised:  # noqa: BLE001 (handed to the event loop, which raises it)
            error = raised
        finally:
            self._save()
            self._put(_Ended(error))

    def _watch(self, source: Source) -> None:
        last = time.monotonic()
        alive_at = saved_at = 0.0
        for picture in source.frames(self._stop):
            now, at = time.monotonic(), self._clock.now_ms()
            self.frames += 1
            transitions = self._analyser.update(picture, at, now - last)
            last = now
            if now - alive_at >= _ALIVE_EVERY_S:
                alive_at = now
                self._put(_Report(at))
            for transition in transitions:
                self._put(_Report(at, transition, self._snapshot(picture, transition)))
            if now - saved_at >= _SAVE_EVERY_S and saved_at:
                self._save()
                saved_at = now
            saved_at = saved_at or now

    def _snapshot(self, picture: Picture, transition: Transition) -> bytes | None:
        wanted = self._settings.snapshots and transition.data["active"]
        if not wanted or self.reports.qsize() >= _MOST_WAITING:
            return None
        private = self._analyser.private
        interest = transition.interest
        empty = np.zeros_like(private)
        return self._snapshots.make(picture, private, empty if interest is None else interest)

    def _put(self, item: _Report | _Ended) -> None:
        # The loop may be closed already when the edge stops: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self.reports.put_nowait, item)

    def _save(self) -> None:
        background = self._analyser.background
        if background is None:
            return
        # Losing it costs only what the next start has to learn again.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".tmp")
            with draft.open("wb") as file:
                np.save(file, background, allow_pickle=False)
            draft.replace(self._path)


def _read_background(path: Path) -> Grey | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    known: Grey = found
    return known if known.dtype == np.uint8 and known.ndim == 2 else None
