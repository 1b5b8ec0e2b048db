"""The camera driver against MJPEG servers with every fault, and a video file."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.driver import LinkError
from edge.drivers.camera.driver import CameraDriver
from edge.drivers.camera.settings import CameraSettings
from edge.drivers.camera.sources import JpegSplitter

from .support import Recorder, Streaming, context, listen, run
from .test_vision import LANE, car, scene

FPS = 15


def jpeg_of(picture: Any) -> bytes:
    good, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert good
    return bytes(coded)


class Camera:
    """An MJPEG server whose picture and manners can be changed."""

    def __init__(self) -> None:
        self.draws: tuple[Any, ...] = ()
        self.silent = False
        self.hang_up = False
        self.garbage = b""
        self.status = 200
        self.lengths = True
        self.connections = 0
        self._pictures: dict[Any, list[bytes]] = {}

    def pictures(self) -> list[bytes]:
        if self.draws not in self._pictures:
            self._pictures[self.draws] = [jpeg_of(scene(i, *self.draws)) for i in range(6)]
        return self._pictures[self.draws]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.connections += 1
        kind = "multipart/x-mixed-replace; boundary=frame"
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Type: {kind}\r\n\r\n".encode())
        step = 0
        while not self.hang_up and self.status == 200:
            if not self.silent:
                jpeg = self.pictures()[step % 6]
                length = f"Content-Length: {len(jpeg)}\r\n" if self.lengths else ""
                head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode()
                writer.write(head + self.garbage + jpeg + b"\r\n")
                await writer.drain()
                step += 1
            await asyncio.sleep(1 / FPS)


def driver_for(url: str, folder: Path, **more: object) -> CameraDriver:
    raw = {
        "driver": "camera", "url": url, "device": "cam", "fps": FPS, "timeout_s": 1.2,
        "warm_up_s": 0.5,
    }  # fmt: skip
    return CameraDriver(CameraSettings.model_validate(raw | more), context(folder))


def test_an_occupied_lane_with_its_blurred_picture(tmp_path: Path) -> None:
    async def scenario() -> None:
        camera, sink = Camera(), Recorder()
        server, port = await listen(camera)
        lane = LANE | {"dwell_s": 1, "clear_s": 0.5}
        driver = driver_for(f"http://127.0.0.1:{port}/stream", tmp_path, zones=[lane], timeout_s=8)
        async with Streaming(driver, sink):
            await sink.until(lambda: sink.of("camera.zone_occupied"))
            camera.draws = (car(),)
            await sink.until(lambda: len(sink.of("camera.zone_occupied")) == 2)
            await sink.until(lambda: sink.pictures)
            camera.draws = ()
            await sink.until(lambda: len(sink.of("camera.zone_occupied")) == 3)
        assert [e["active"] for e in sink.of("camera.zone_occupied")] == [False, True, False]
        occupied = sink.of("camera.zone_occupied")[1]
        (device, media, jpeg), *_ = [p for p in sink.pictures if p[1] == occupied["snapshot"]]
        assert device == "cam"
        assert re.fullmatch(r"\d{8}-[0-9a-f]{32}", media)
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (360, 640, 3)
        assert sink.of("camera.video_loss") == [{"active": False}]
        assert sink.reached_devices.count("cam") >= 4
        assert (tmp_path / "background-cam.npy").exists()
        server.close()

    run(scenario())


@pytest.mark.parametrize("fault", ["silent", "hang_up"])
def test_video_loss_is_noticed_within_seconds_and_ends(fault: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        camera, sink = Camera(), Recorder()
        server, port = await listen(camera)
        driver = driver_for(f"http://127.0.0.1:{port}/", tmp_path)
        async with Streaming(driver, sink):
            await sink.until(lambda: sink.of("camera.video_loss"))
            setattr(camera, fault, True)
            began = asyncio.get_running_loop().time()
            await sink.until(lambda: len(sink.of("camera.video_loss")) == 2)
            assert asyncio.get_running_loop().time() - began < 5
            setattr(camera, fault, False)
            await sink.until(lambda: len(sink.of("camera.video_loss")) == 3)
        assert [e["active"] for e in sink.of("camera.video_loss")] == [False, True, False]
        server.close()

    run(scenario())


def test_a_short_break_is_no_video_loss(tmp_path: Path) -> None:
    async def scenario() -> None:
        camera, sink = Camera(), Recorder()
        server, port = await listen(camera)
        driver = driver_for(f"http://127.0.0.1:{port}/", tmp_path, timeout_s=6)
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: sink.of("camera.video_loss"))
            camera.hang_up = True
            await sink.until(lambda: streaming.errors)
            camera.hang_up = False
            before = len(sink.reached_devices)
            await sink.until(lambda: len(sink.reached_devices) > before + 1)
        assert sink.of("camera.video_loss") == [{"active": False}]
        server.close()

    run(scenario())


def test_garbage_between_pictures_and_no_lengths(tmp_path: Path) -> None:
    async def scenario() -> None:
        camera, sink = Camera(), Recorder()
        camera.garbage, camera.lengths = b"\x00\xffnoise\xd8" * 50, False
        server, port = await listen(camera)
        async with Streaming(driver_for(f"http://127.0.0.1:{port}/", tmp_path), sink):
            await sink.until(lambda: len(sink.reached_devices) > 2)
        server.close()

    run(scenario())


@pytest.mark.parametrize(("status", "cause"), [(401, "credentials"), (404, "protocol")])
def test_refusals(status: int, cause: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        camera = Camera()
        camera.status = status
        server, port = await listen(camera)
        driver = driver_for(f"http://127.0.0.1:{port}/", tmp_path)
        await driver.start(Recorder())
        with pytest.raises(LinkError) as refused:
            await driver.run()
        assert refused.value.cause == cause
        await driver.stop()
        server.close()

    run(scenario())


def test_a_video_file_plays_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (640, 360))
    for i in range(10):
        writer.write(scene(i))
    writer.release()

    async def scenario() -> None:
        sink = Recorder()
        driver = driver_for("clip.avi", tmp_path, fps=20)
        async with Streaming(driver, sink) as streaming:
            await sink.until(lambda: driver.health()["frames"] > 25)
            assert streaming.errors == []

    run(scenario())


def test_an_rtsp_server_that_is_away_or_dumb(tmp_path: Path) -> None:
    async def dumb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            continue

    async def scenario() -> None:
        server, port = await listen(dumb)
        driver = driver_for(f"rtsp://127.0.0.1:{port}/1", tmp_path, timeout_s=0.5)
        sink = Recorder()
        await driver.start(sink)
        for _ in range(2):
            with pytest.raises(LinkError):
                await driver.run()
        assert sink.of("camera.video_loss") == [{"active": True}]
        await driver.stop()
        server.close()

    run(scenario())


bodies = st.binary(max_size=300).map(lambda b: b.replace(b"\xff", b"\xfe"))


@settings(max_examples=60)
@given(st.lists(bodies, min_size=1, max_size=5), bodies, st.data())
def test_pictures_are_cut_out_of_any_stream(
    sent: list[bytes], between: bytes, data: st.DataObject
) -> None:
    pictures = [b"\xff\xd8" + body + b"\xff\xd9" for body in sent]
    stream = between + between.join(pictures) + between
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter, got = JpegSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += splitter.feed(stream[start:end])
    assert got == pictures


def test_an_endless_picture_is_dropped() -> None:
    splitter = JpegSplitter()
    splitter.feed(b"\xff\xd8")
    for _ in range(20):
        assert splitter.feed(bytes(1 << 20)) == []
    assert splitter.oversize == 1
    assert splitter.feed(b"\xff\xd8ok\xff\xd9") == [b"\xff\xd8ok\xff\xd9"]
