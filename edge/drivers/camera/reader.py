"""The thread that reads one camera and judges its pictures."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from core.runtime.clock import Clock
from core.storage.files import write_whole
from edge.drivers.camera.analyser import Analyser
from edge.drivers.camera.eye import Eye
from edge.drivers.camera.settings import CameraSettings
from edge.drivers.camera.sources import Source
from edge.drivers.camera.zones import Transition
from edge.vision.frame import Frame
from edge.vision.picture import Grey, Mask
from edge.vision.snapshot import SnapshotMaker
from edge.vision.studio import Studio

_SNAPSHOT_WIDTH = 640
_ALIVE_EVERY_S = 0.5
_SAVE_EVERY_S = 600.0
#: Reports that wait for the journal; beyond, pictures are left out (events never).
_MOST_WAITING = 8
#: Beyond so many (the journal has been full for long) pictures are not judged, and counted.
_MOST_REPORTS = 1_000


@dataclass(frozen=True, slots=True)
class Report:
    """What the thread hands over; ``transition`` None: only a sign of life."""

    at: int
    transition: Transition | None = None
    jpeg: Future[bytes | None] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The thread has ended, by this error where there was one."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class Kit:
    """What the threads of all cameras use together."""

    studio: Studio
    maker: SnapshotMaker
    eye: Eye | None


class Reader:
    """The thread of one connection, with an analyser that no other thread touches."""

    def __init__(
        self,
        settings: CameraSettings,
        clock: Clock,
        analyser: Analyser,
        kit: Kit,
        background: Path,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._kit = kit
        self._path = background
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abandoned = False
        self._latest: tuple[float, Frame, Mask] | None = None
        self._shot: dict[tuple[str, str | None], float] = {}
        self.analyser = analyser
        self.reports: asyncio.Queue[Report | Ended] = asyncio.Queue()
        self.counts: Counter[str] = Counter()

    def start(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        """Begin to read; reports arrive in that loop's queue."""
        self._loop = loop
        name = f"camera-{self._settings.device}"
        self._thread = threading.Thread(target=self._run, args=(source,), name=name, daemon=True)
        self._thread.start()

    def halt(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Tell whether the thread still runs."""
        return self._thread is not None and self._thread.is_alive()

    async def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end and wait for it; tell whether it has ended."""
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, timeout_s)
        return not self.alive

    def abandon(self) -> None:
        """Give the thread up: whatever it still does has no effect any more."""
        self._abandoned = True
        self._loop = None

    def shoot(self, not_older_s: float) -> Future[bytes | None] | None:
        """Have the latest picture made ready to leave; None when there is no recent one."""
        latest = self._latest
        if latest is None or time.monotonic() - latest[0] > not_older_s:
            return None
        _, frame, private = latest
        return self._kit.studio.submit(partial(self._make, frame, private, np.zeros_like(private)))

    def _run(self, source: Source) -> None:
        error: Exception | None = None
        try:
            self._watch(source)
        except Exception as raised:  # noqa: BLE001 (handed to the event loop, which raises it)
            error = raised
        finally:
            self._latest = None
            if not self._abandoned:
                self._save()
            self._put(Ended(error))

    def _watch(self, source: Source) -> None:
        eye, analyser = self._kit.eye, self.analyser
        last = saved_at = time.monotonic()
        alive_at = 0.0
        for frame in source.frames(self._stop, self._pause):
            now, at = time.monotonic(), self._clock.now_ms()
            if self.reports.qsize() >= _MOST_REPORTS:
                self.counts["frames_not_judged"] += 1
                continue
            self.counts["frames"] += 1
            words = eye.words() if eye else None
            transitions = analyser.update(frame.small, at, now - last, words)
            self._latest = (now, frame, analyser.private)
            last = now
            if eye:
                eye.look(frame, now, lively=analyser.lively, held=analyser.held)
            if now - alive_at >= _ALIVE_EVERY_S and self.reports.qsize() < _MOST_WAITING:
                alive_at = now
                self._put(Report(at))
            for transition in transitions:
                jpeg = self._snapshot(frame, transition)
                self._put(Report(at, replace(transition, interest=None), jpeg))
            if now - saved_at >= _SAVE_EVERY_S:
                self._save()
                saved_at = now

    def _pause(self) -> float:
        """Return how long (s) the next picture may take to come."""
        settings = self._settings
        busy = self.analyser.busy
        return 1 / (settings.fps if busy else min(settings.idle_fps, settings.fps))

    def _snapshot(self, frame: Frame, transition: Transition) -> Future[bytes | None] | None:
        if not self._settings.snapshots or not transition.data.get("active"):
            return None
        about, now = (transition.kind, transition.data.get("zone")), time.monotonic()
        if now - self._shot.get(about, float("-inf")) < self._settings.snapshot_every_s:
            self.counts["snapshots_spared"] += 1
            return None
        if self.reports.qsize() >= _MOST_WAITING:
            self.counts["snapshots_left_out"] += 1
            return None
        private = self.analyser.private
        interest = transition.interest
        if interest is None or interest.shape != private.shape:
            interest = np.zeros_like(private)
        future = self._kit.studio.submit(partial(self._make, frame, private, interest))
        if future is None:
            self.counts["snapshots_left_out"] += 1
        else:
            self._shot[about] = now
        return future

    def _make(self, frame: Frame, private: Mask, interest: Mask) -> bytes | None:
        width = self._settings.width or _SNAPSHOT_WIDTH
        return self._kit.maker.make(frame.picture(width), private, interest)

    def _put(self, item: Report | Ended) -> None:
        loop = self._loop
        # The loop may be closed already when the edge stops: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            if loop is not None:
                loop.call_soon_threadsafe(self.reports.put_nowait, item)

    def _save(self) -> None:
        background = self.analyser.background
        if background is None:
            return
        # Losing it costs only what the next start has to learn again.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            np.save(content, background, allow_pickle=False)
            write_whole(self._path, content.getvalue(), synced=False)


def read_background(path: Path) -> Grey | None:
    """Return the empty scene that an earlier run has saved, None without a usable one."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    known: Grey = found
    return known if known.dtype == np.uint8 and known.ndim == 2 else None
