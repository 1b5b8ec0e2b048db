"""The camera driver against simulated cameras: RTSP, polled pictures, files, actions, detectors."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError, LinkError
from edge.drivers.camera import driver as module
from edge.drivers.camera.driver import CameraDriver
from edge.drivers.camera.settings import CameraSettings
from edge.vision import person
from edge.vision.frame import Frame
from simulators.devices.camera import CameraPeer
from simulators.devices.rtp_jpeg import UnfitJpegError, packets, parse
from simulators.devices.rtsp import RtspPeer
from simulators.devices.scene import Disturbance, Scene, SceneKind

from . import tiny_onnx
from .photos import clip
from .support import Recorder, Streaming, context, listen, run

FPS = 12


def scene(kind: SceneKind = SceneKind.GATE) -> Scene:
    return Scene(3, "stream", kind, "STREAM", rhythm_scale=0)


def driver_for(url: str, folder: Path, **more: object) -> CameraDriver:
    raw = {
        "driver": "camera", "url": url, "device": "cam", "fps": FPS, "idle_fps": FPS,
        "timeout_s": 1.0, "warm_up_s": 0.3,
    }  # fmt: skip
    return CameraDriver(CameraSettings.model_validate(raw | more), context(folder))


async def once(driver: CameraDriver) -> LinkError:
    """Let a started driver run into its error."""
    with pytest.raises(LinkError) as raised:
        await driver.run()
    return raised.value


# -- RTSP ----------------------------------------------------------------------------------------


def test_rtsp_with_digest_is_read_and_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = RtspPeer(ScaledClock(), scene(), fps=FPS, password="p@ss/word"), Recorder()
        await peer.start()
        driver = driver_for(peer.url, tmp_path, username="edge", password="p@ss/word")
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: sink.of("camera.tamper"))
            peer.scene.disturbance = Disturbance.COVERED
            await sink.until(lambda: len(sink.of("camera.tamper")) == 2)
            assert streaming.errors == []
        assert [e["active"] for e in sink.of("camera.tamper")] == [False, True]
        assert "p@ss" not in driver.name
        await peer.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("password", "path", "cause"),
    [("wrong", "/live", "credentials"), (None, "/live", "credentials"),
     ("right", "/other", "protocol")],
)  # fmt: skip
def test_why_rtsp_cannot_be_opened(
    password: str | None, path: str, cause: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        peer = RtspPeer(ScaledClock(), scene(), password="right")
        await peer.start()
        secret = {} if password is None else {"username": "edge", "password": password}
        url = peer.url.replace("/live", path)
        driver = driver_for(url, tmp_path, **secret)
        await driver.start(Recorder())
        error = await once(driver)
        assert error.cause == cause
        connections = peer.listener.connections
        again = await once(driver)
        if cause == "credentials":
            assert "waiting before the next try" in str(again)
            assert peer.listener.connections == connections, "the account is not locked by us"
        await driver.stop()
        await peer.stop()

    run(scenario())


def test_rtsp_that_is_away_dumb_or_something_else(tmp_path: Path) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"SSH-2.0-x\r\n\r\n")

    async def dumb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            continue

    async def scenario() -> None:
        for handler, cause in ((other, "protocol"), (dumb, "device"), (None, "network")):
            server, port = await listen(handler or dumb)
            if handler is None:
                server.close()
            driver = driver_for(f"rtsp://127.0.0.1:{port}/1", tmp_path, timeout_s=0.5)
            await driver.start(Recorder())
            assert (await once(driver)).cause == cause
            await driver.stop()
            server.close()

    run(scenario(), 40)


def test_a_half_open_rtsp_stream_a_reboot_and_garbage(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = RtspPeer(ScaledClock(), scene(), fps=FPS), Recorder()
        await peer.start()
        driver = driver_for(peer.url, tmp_path)
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: driver.health()["frames"] > 5)
            peer.garbled = 0.03
            before = driver.health()["frames"]
            await sink.until(lambda: driver.health()["frames"] > before + 10)
            peer.garbled = 0.0
            peer.stalled = True
            await sink.until(
                lambda: [e["active"] for e in sink.of("camera.video_loss")] == [False, True]
            )
            assert any(
                error.cause == "device"
                for error in streaming.errors
                if isinstance(error, LinkError)
            )
            peer.stalled = False
            await sink.until(lambda: len(sink.of("camera.video_loss")) == 3)
            await peer.reboot(2.5)
            await sink.until(lambda: len(sink.of("camera.video_loss")) == 5, 15)
            assert not any(isinstance(error, AssertionError) for error in streaming.errors)
        assert [e["active"] for e in sink.of("camera.video_loss")] == [
            False,
            True,
            False,
            True,
            False,
        ]
        await peer.stop()

    run(scenario(), 40)


def test_a_frozen_rtsp_picture(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = RtspPeer(ScaledClock(), scene(), fps=FPS), Recorder()
        await peer.start()
        driver = driver_for(peer.url, tmp_path, frozen_s=1.5)
        async with Streaming(driver, sink):
            await sink.until(lambda: driver.health()["frames"] > 5)
            peer.scene.disturbance = Disturbance.FROZEN
            await sink.until(lambda: {"active": True} in [
                {"active": e["active"]} for e in sink.of("camera.frozen")
            ])  # fmt: skip
        await peer.stop()

    run(scenario())


def test_rtp_packets_hold_the_picture() -> None:
    good, coded = cv2.imencode(".jpg", scene().render(0), [cv2.IMWRITE_JPEG_QUALITY, 72])
    assert good
    jpeg = parse(coded.tobytes())
    assert (jpeg.width, jpeg.height, len(jpeg.tables)) == (640, 360, 128)
    sent = list(packets(jpeg, sequence=65_535, timestamp=90_000, source=7))
    assert len(sent) > 5
    assert all(len(packet) <= 1_412 for packet in sent)
    assert [int.from_bytes(p[2:4], "big") for p in sent[:3]] == [65_535, 0, 1]
    assert [bool(p[1] & 0x80) for p in sent] == [False] * (len(sent) - 1) + [True]
    scan = b"".join(p[12 + 8 + (132 if i == 0 else 0) :] for i, p in enumerate(sent))
    assert scan == jpeg.scan
    for bad in (b"\xff\xd8", coded.tobytes().replace(b"\xff\xc0", b"\xff\xc2")):
        with pytest.raises(UnfitJpegError):
            parse(bad)


# -- HTTP and files ------------------------------------------------------------------------------


def test_single_pictures_are_polled(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = CameraPeer(ScaledClock(), scene(), password="geheim"), Recorder()
        await peer.start()
        url = peer.url.replace("/stream", "/snapshot.jpg")
        driver = driver_for(url, tmp_path, poll_s=0.1, username="edge", password="geheim")
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: driver.health()["frames"] > 8)
            assert streaming.errors == []
            await peer.listener.suspend()
            await sink.until(lambda: {"active": True} in sink.of("camera.video_loss"))
            await peer.listener.start()
            await sink.until(lambda: sink.of("camera.video_loss")[-1] == {"active": False})
        await peer.stop()

    run(scenario())


def test_a_half_open_mjpeg_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = CameraPeer(ScaledClock(), scene(), fps=FPS), Recorder()
        await peer.start()
        async with Streaming(driver_for(peer.url, tmp_path), sink):
            await sink.until(lambda: sink.of("camera.video_loss"))
            peer.stalled = True
            await sink.until(lambda: {"active": True} in sink.of("camera.video_loss"))
        await peer.stop()

    run(scenario())


def test_a_clip_that_is_played_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (640, 360))
    for step in range(12):
        writer.write(scene().render(step * 50))
    writer.release()

    async def scenario() -> None:
        sink = Recorder()
        driver = driver_for("clip.avi", tmp_path, fps=20, idle_fps=20, loop=False, timeout_s=0.5)
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: {"active": True} in sink.of("camera.video_loss"))
            assert 3 <= driver.health()["frames"] <= 12
            assert {str(error) for error in streaming.errors} == {"the file has been played"}

    run(scenario())


def test_a_real_street_moves(tmp_path: Path) -> None:
    """A clip with cuts, taxis and cyclists: nothing is known of it but that it moves."""
    everything = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    zone = {"name": "street", "kind": "motion", "polygon": everything, "share": 0.01}

    async def scenario() -> None:
        sink = Recorder()
        driver = driver_for(
            str(clip()),
            tmp_path,
            zones=[zone],
            tamper=False,
            detector={"kind": "person", "every_s": 0.2},
        )
        async with Streaming(driver, sink) as streaming:
            await sink.until(
                lambda: sink.of("camera.motion") and driver.health().get("looks", 0) > 2, 15
            )
            assert streaming.errors == []

    run(scenario())


# -- threads -------------------------------------------------------------------------------------


class Stuck:
    """A source whose read never returns, whatever it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.release = threading.Event()
        self.opened = 0

    def frames(self, stop: threading.Event, pause: Any) -> Iterator[Frame]:
        self.opened += 1
        self.release.wait(30)
        yield from ()


def test_reads_that_hang_are_left_behind_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Stuck()
    monkeypatch.setattr(module, "open_source", lambda *_: stuck)

    async def scenario() -> None:
        sink = Recorder()
        driver = driver_for("http://x/", tmp_path, timeout_s=0.5)

        async def hang() -> LinkError:
            try:
                async with asyncio.timeout(0.3):
                    return await once(driver)
            except TimeoutError:
                return LinkError("hangs", "device")

        await driver.start(sink)
        errors = []
        for _ in range(6):
            driver._reader and driver._reader.halt()
            errors.append(str(await asyncio.wait_for(_until_error(driver, hang), 5)))
        assert stuck.opened == 3
        assert sink.counts["threads_abandoned"] == 3
        assert driver.health()["stuck_threads"] == 3
        assert errors[-1] == "3 connections hang in a read"
        stuck.release.set()
        await sink.until(lambda: "stuck_threads" not in driver.health())
        await driver.stop()

    async def _until_error(driver: CameraDriver, hang: Any) -> LinkError:
        async def run_it() -> LinkError:
            try:
                await driver.run()
            except LinkError as error:
                return error
            raise AssertionError

        task = asyncio.create_task(run_it())
        done, _ = await asyncio.wait({task}, timeout=0.8)
        if not done:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return LinkError("hangs", "device")
        return task.result()

    run(scenario(), 40)


# -- actions and detectors -----------------------------------------------------------------------


def test_a_snapshot_on_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        peer, sink = CameraPeer(ScaledClock(), scene(), fps=FPS), Recorder()
        await peer.start()
        driver = driver_for(peer.url, tmp_path)
        assert driver.actions == {"cam": frozenset({Action.SNAPSHOT})}
        async with Streaming(driver, sink):
            with pytest.raises(LinkError):
                await driver.act("cam", Action.SNAPSHOT, {})
            await sink.until(lambda: driver.health()["frames"] > 5)
            told = await driver.act("cam", Action.SNAPSHOT, {})
            (device, media, jpeg), *_ = sink.pictures
            assert told == {"media": media}
            assert device == "cam"
            shot = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert shot.shape == (360, 640, 3)
            for action, params in ((Action.UNLOCK, {}), (Action.SNAPSHOT, {"width": 9000})):
                with pytest.raises(CommandRefusedError):
                    await driver.act("cam", action, params)
            await peer.listener.suspend()
            await sink.until(lambda: {"active": True} in sink.of("camera.video_loss"))
            with pytest.raises(LinkError, match="no picture"):
                await driver.act("cam", Action.SNAPSHOT, {})
        await peer.stop()

    run(scenario())


def test_a_detector_of_ones_own_from_the_stream_to_the_event(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.model("columns"))
    frames = []
    for step in range(60):
        picture = np.random.default_rng(step).integers(90, 110, (360, 640, 3)).astype(np.uint8)
        if 20 <= step < 40:
            cv2.rectangle(picture, (160, 20), (319, 179), (0, 0, 255), cv2.FILLED)
        frames.append(picture)
    writer = cv2.VideoWriter(
        str(tmp_path / "car.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360)
    )
    for picture in frames:
        writer.write(picture)
    writer.release()
    zone = {
        "name": "car", "kind": "object", "target": "e_bike", "dwell_s": 0.2, "clear_s": 0.5,
        "polygon": [[0.2, 0.0], [0.6, 0.0], [0.6, 0.6], [0.2, 0.6]],
    }  # fmt: skip
    detector = {
        "kind": "onnx", "file": "tiny.onnx", "classes": {"0": "e_bike"}, "size": tiny_onnx.SIZE,
        "every_s": 0.1, "confidence": 0.4,
    }  # fmt: skip

    async def scenario() -> None:
        sink = Recorder()
        driver = driver_for("car.avi", tmp_path, zones=[zone], detector=detector, tamper=False)
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: len([e for e in sink.of("camera.object") if e["active"]]) >= 1)
            await sink.until(lambda: sink.of("camera.object")[-1]["active"] is False)
            assert streaming.errors == []
        found = next(e for e in sink.of("camera.object") if e["active"])
        assert (found["target"], found["zone"], found["count"]) == ("e_bike", "car", 1)
        assert found["snapshot"] in {media for _, media, _ in sink.pictures}
        assert sink.of("camera.unarmed") == [{"active": False, "reason": "not_armed"}]
        assert driver.health()["looks"] > 3

    run(scenario(), 30)


def test_a_detector_that_is_not_installed_is_told_and_one_that_does_not_fit_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person, "PACKAGE", "no-such-package-at-all")

    async def scenario() -> None:
        peer, sink = CameraPeer(ScaledClock(), scene(), fps=FPS), Recorder()
        await peer.start()
        driver = driver_for(peer.url, tmp_path, detector={"kind": "person"})
        async with Streaming(driver, sink):
            await sink.until(lambda: sink.of("camera.unarmed"))
        (told,) = sink.of("camera.unarmed")
        assert told["active"] is True
        assert "pip install" in told["events"]
        onnx = {"kind": "onnx", "file": "none.onnx", "classes": {"0": "person"}}
        with pytest.raises(SettingsError, match=r"none\.onnx"):
            await driver_for(peer.url, tmp_path, detector=onnx).start(Recorder())
        await peer.stop()

    run(scenario())


def test_pictures_are_left_undecoded_while_nothing_moves(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = ScaledClock()
        peer, sink = CameraPeer(clock, scene(), fps=20), Recorder()
        peer.scene.overlay = False
        await peer.start()
        driver = driver_for(peer.url, tmp_path, fps=20, idle_fps=2, timeout_s=4)
        async with Streaming(driver, sink):
            await sink.until(lambda: sink.of("camera.tamper"))
            await asyncio.sleep(2.5)
            before, rendered = driver.health()["frames"], peer.rendered
            await asyncio.sleep(2)
            assert driver.health()["frames"] - before <= 7
            assert peer.rendered - rendered > 20
            peer.scene.enter(clock.now_ms() - 4_000, seconds=12)
            await asyncio.sleep(1)
            before = driver.health()["frames"]
            await sink.until(lambda: driver.health()["frames"] - before > 20, 5)
        await peer.stop()

    run(scenario(), 30)
