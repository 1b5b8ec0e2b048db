"""``python -m bench.vision``: what watching cameras costs, in CPU time of one core.

The figures of the parts are CPU time of the thread, so that a busy machine does not spoil them.
The last table runs real drivers in a process of their own against simulated cameras.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.parts import cost
from core.runtime.clock import ScaledClock
from edge.config import build, from_raw
from edge.drivers.camera.analyser import Analyser
from edge.drivers.camera.settings import CameraSettings
from edge.runner import Runner
from edge.vision.frame import Frame, from_jpeg
from edge.vision.motion import Motion
from edge.vision.person import ModelMissingError, PersonDetector
from edge.vision.picture import Picture
from edge.vision.snapshot import SnapshotMaker
from simulators.devices.camera import CameraPeer
from simulators.devices.rtsp import RtspPeer
from simulators.devices.scene import LAYOUTS, Scene, SceneKind

_NOON = 1_763_956_800_000
_FPS = 5
_SIZES = ((640, 360), (1920, 1080))
_KIND = SceneKind.GATE
_LAYOUT = LAYOUTS[_KIND]
_ZONES: list[dict[str, Any]] = [
    {"name": "lane", "kind": "fire_lane", "polygon": _LAYOUT.fire_lane},
    {"name": "way", "kind": "intrusion", "polygon": _LAYOUT.zone},
    {"name": "bags", "kind": "left_object", "polygon": _LAYOUT.zone},
    {"name": "people", "kind": "count", "polygon": _LAYOUT.zone},
]
_LINES: list[dict[str, Any]] = [{"name": "line", "points": _LAYOUT.line}]
_QUIET, _BUSY = 0.0, 30.0
_START_S = 8.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.vision", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each run of eight cameras")
    parser.add_argument("--edge", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.edge:
        asyncio.run(_watch(json.loads(options.edge)))
        return
    for line in [*parts(), "", *adaptive(), "", *eight(options.seconds)]:
        print(line, flush=True)


# -- the parts -----------------------------------------------------------------------------------


def parts() -> list[str]:
    """Return a table of what each part costs a picture, at both sizes."""
    rows = ["| part | 640 × 360 | 1920 × 1080 |", "|---|---|---|"]
    films = [_jpegs(size, _BUSY, 60) for size in _SIZES]
    stages: list[tuple[str, Callable[[list[bytes]], float]]] = [
        ("decode, as it is judged (reduced to 320)", _decode_reduced),
        ("decode, whole", _decode_whole),
        ("motion (MOG2)", _motion),
        ("all detectors, four zones and a line", _detectors),
        ("the whole way of a picture", _way),
        ("person detector", _persons),
        ("blurred snapshot", _snapshots),
    ]
    for name, stage in stages:
        times = [stage(film) for film in films]
        cells = [f"{1 / t:,.0f}/s ({t * 1000:.1f} ms)" if t else "not installed" for t in times]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _jpegs(size: tuple[int, int], busy: float, count: int) -> list[bytes]:
    scene = Scene(2, "bench", _KIND, "BENCH", rhythm_scale=busy)
    return [_coded(scene.render(_NOON + step * 1000 // _FPS), size) for step in range(count)]


def _coded(picture: Picture, size: tuple[int, int]) -> bytes:
    if size[0] != picture.shape[1]:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    good, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 75])
    if not good:
        raise RuntimeError("not coded")
    return coded.tobytes()


def _each(act: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the CPU seconds that each takes, after a few to get warm."""
    for item in items[:3]:
        act(item)
    began = time.thread_time()
    for item in items:
        act(item)
    return (time.thread_time() - began) / len(items)


def _frame(jpeg: bytes) -> Frame:
    frame = from_jpeg(jpeg)
    if frame is None:
        raise RuntimeError("not decoded")
    return frame


def _decode_reduced(film: list[bytes]) -> float:
    return _each(_frame, film)


def _decode_whole(film: list[bytes]) -> float:
    return _each(lambda j: cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_COLOR), film)


def _motion(film: list[bytes]) -> float:
    model = Motion()
    return _each(model.update, [_frame(jpeg).small for jpeg in film])


def _settings() -> CameraSettings:
    return CameraSettings.model_validate(
        {"driver": "camera", "url": "http://x/", "device": "c", "zones": _ZONES, "lines": _LINES}
    )


def _judge() -> Callable[[Frame], None]:
    analyser, now = Analyser(_settings()), [_NOON]

    def judge(frame: Frame) -> None:
        now[0] += 1000 // _FPS
        analyser.update(frame.small, now[0], 1 / _FPS)

    return judge


def _detectors(film: list[bytes]) -> float:
    return _each(_judge(), [_frame(jpeg) for jpeg in film])


def _way(film: list[bytes]) -> float:
    judge = _judge()
    return _each(lambda jpeg: judge(_frame(jpeg)), film)


def _persons(film: list[bytes]) -> float:
    detector = PersonDetector()
    try:
        detector.load()
    except ModelMissingError:
        return 0.0
    return _each(lambda jpeg: detector.find(_frame(jpeg).picture(640), 0.5), film[:12])


def _snapshots(film: list[bytes]) -> float:
    maker, nothing = SnapshotMaker(), np.zeros((180, 320), bool)
    return _each(lambda jpeg: maker.make(_frame(jpeg).picture(640), nothing, nothing), film[:8])


# -- fewer pictures ------------------------------------------------------------------------------


def adaptive() -> list[str]:
    """Return what a minute of film costs when every picture is judged and when few are."""
    rows = [
        "| a minute at 5 pictures/s, 640 × 360 | every picture | as needed | pictures judged |",
        "|---|---|---|---|",
    ]
    for name, busy in (
        ("nothing happens", _QUIET),
        ("now and then somebody", 3.0),
        ("busy", _BUSY),
    ):
        film = _jpegs(_SIZES[0], busy, 60 * _FPS)
        full, _ = _minute(film, idle=False)
        less, judged = _minute(film, idle=True)
        rows.append(f"| {name} | {full:.2f} s CPU | {less:.2f} s CPU | {judged} of {len(film)} |")
    return rows


def _minute(film: list[bytes], *, idle: bool) -> tuple[float, int]:
    analyser = Analyser(_settings())
    began, judged, last, due = time.thread_time(), 0, -1, 0.0
    for step, jpeg in enumerate(film):
        if step < due:
            continue
        frame = _frame(jpeg)
        analyser.update(frame.small, _NOON + step * 1000 // _FPS, (step - last) / _FPS)
        judged, last = judged + 1, step
        due = step + (_FPS / 2 if idle and not analyser.busy else 1)
    return time.thread_time() - began, judged


# -- eight cameras -------------------------------------------------------------------------------


def eight(seconds: float) -> list[str]:
    """Return what a process with eight cameras costs: CPU seconds a second, and memory."""
    rows = [
        "| eight cameras, 640 × 360, 5 pictures/s | cores | peak of memory | pictures judged |",
        "|---|---|---|---|",
    ]
    runs = (
        ("no camera at all", 0, _QUIET, CameraPeer, False),
        ("MJPEG, nothing happens", 8, _QUIET, CameraPeer, False),
        ("MJPEG, all busy", 8, _BUSY, CameraPeer, False),
        ("RTSP, all busy", 8, _BUSY, RtspPeer, False),
        ("MJPEG, all busy, persons recognised", 8, _BUSY, CameraPeer, True),
    )
    for name, count, busy, kind, persons in runs:
        cores, peak, frames = asyncio.run(_run(count, busy, kind, seconds, persons=persons))
        rows.append(f"| {name} | {cores:.2f} | {peak:.0f} MiB | {frames:.1f}/s |")
    return rows


async def _run(
    count: int,
    busy: float,
    kind: type[CameraPeer | RtspPeer],
    seconds: float,
    *,
    persons: bool,
) -> tuple[float, float, float]:
    clock = ScaledClock.starting_now(at_ms=_NOON)
    peers = [
        kind(clock, Scene(index, f"c{index}", _KIND, "BENCH", rhythm_scale=busy), fps=_FPS)
        for index in range(count)
    ]
    for peer in peers:
        await peer.start()
    more: dict[str, Any] = {"detector": {"kind": "person"}} if persons else {}
    drivers = [
        {"driver": "camera", "url": peer.url, "device": f"c{index}", "fps": _FPS,
         "zones": _ZONES, "lines": _LINES, **more}
        for index, peer in enumerate(peers)
    ]  # fmt: skip
    command = [sys.executable, "-m", "bench.vision", "--edge", json.dumps(drivers)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        await asyncio.sleep(_START_S)
        before = cost(process.pid)
        await asyncio.sleep(seconds)
        after = cost(process.pid)
    finally:
        process.terminate()
        told, _ = await process.communicate()
        for peer in peers:
            await peer.stop()
    frames, lived = json.loads(told.splitlines()[-1])
    return (after.cpu_s - before.cpu_s) / seconds, after.peak_mib, frames / lived


class _Nowhere:
    """A sink that keeps nothing."""

    async def emit(self, *_: Any) -> None:
        await asyncio.sleep(0)

    async def snapshot(self, *_: Any) -> None:
        await asyncio.sleep(0)


async def _watch(entries: list[dict[str, Any]]) -> None:
    """Run drivers until told to end; print (pictures judged, seconds)."""
    with tempfile.TemporaryDirectory() as name:
        clock = ScaledClock.starting_now(at_ms=_NOON)
        config = from_raw({"edge": "e", "site": "s", "drivers": entries}, "bench", Path(name))
        runner = Runner(build(config, clock, Path(name)), _Nowhere(), clock)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

        def frames() -> int:
            return sum(counts.get("frames", 0) for counts in runner.counters().values())

        await runner.start()
        await asyncio.sleep(_START_S - 2)
        before, began = frames(), time.monotonic()
        await ended.wait()
        judged, lived = frames() - before, time.monotonic() - began
        await runner.stop()
    print(json.dumps([judged, lived]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
