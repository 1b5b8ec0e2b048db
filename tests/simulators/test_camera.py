"""The camera: OpenCV's own HTTP reader on the stream, and what the pictures show."""

import asyncio

import cv2
import httpx
import numpy as np
import pytest

from simulators.devices.camera import CameraPeer
from simulators.devices.scene import HEIGHT, LAYOUTS, WIDTH, Disturbance, Scene, SceneKind, daylight
from tests.simulators.helpers import FakeClock, at_hour, until


def scene(kind=SceneKind.COURTYARD):
    return Scene(1, f"camera-{kind}", kind, "TEST")


def lane_mask(view):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = np.array([(x * WIDTH, y * HEIGHT) for x, y in view.layout.fire_lane], np.int32)
    cv2.fillPoly(mask, [points], 1)
    return mask > 0


def test_opencv_reads_the_stream_and_nothing_is_rendered_for_nobody():
    async def run():
        clock = FakeClock(at_hour(9))
        camera = CameraPeer(clock, scene(), fps=25)
        await camera.start()
        await asyncio.sleep(0.05)
        assert camera.rendered == 0

        def watch():
            capture = cv2.VideoCapture(camera.url)
            try:
                return [capture.read() for _ in range(4)]
            finally:
                capture.release()

        pictures = await asyncio.to_thread(watch)
        assert all(good and picture.shape == (HEIGHT, WIDTH, 3) for good, picture in pictures)
        await until(lambda: camera.listener.clients == 0)
        await asyncio.sleep(0.1)
        rendered = camera.rendered
        await asyncio.sleep(0.15)
        assert camera.rendered == rendered
        async with httpx.AsyncClient() as client:
            shot = await client.get(f"http://127.0.0.1:{camera.port}/snapshot.jpg")
            assert shot.headers["content-type"] == "image/jpeg"
            assert (await client.get(f"http://127.0.0.1:{camera.port}/other")).status_code == 404
        decoded = cv2.imdecode(np.frombuffer(shot.content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (HEIGHT, WIDTH, 3)
        await camera.stop()

    asyncio.run(run())


@pytest.mark.parametrize("kind", [kind for kind in SceneKind if LAYOUTS[kind].fire_lane])
def test_a_car_in_the_fire_lane_fills_a_good_part_of_it(kind):
    view = scene(kind)
    now = at_hour(3)
    empty = view.render(now).astype(int)
    view.blocked_since_ms = now
    blocked = view.render(now + 10_000).astype(int)
    changed = np.abs(blocked - empty).max(axis=2) > 25
    assert changed[lane_mask(view)].mean() > 0.15
    view.blocked_since_ms = None
    free = np.abs(view.render(now + 20_000).astype(int) - empty).max(axis=2) > 25
    assert free[lane_mask(view)].mean() < 0.01


def test_people_and_cars_move_by_day():
    view = scene(SceneKind.GATE)
    start = at_hour(8)
    moved = 0
    for step in range(20):
        first = view.render(start + step * 15_000).astype(int)
        second = view.render(start + step * 15_000 + 1000).astype(int)
        moved += (np.abs(second - first).max(axis=2) > 30).mean() > 0.0008
    assert moved >= 8


def test_day_is_brighter_than_night_and_never_looks_covered():
    view = scene()
    day, night = view.render(at_hour(12)), view.render(at_hour(1))
    assert day.mean() > night.mean() + 25
    assert night.mean() > 45
    assert night.std() > 15
    assert [daylight(at_hour(hour)) for hour in (0, 4.9, 7, 12, 19, 23)] == [0, 0, 1, 1, 0, 0]
    assert 0 < daylight(at_hour(6)) < 1


def test_the_disturbances():
    view = scene()
    now = at_hour(12)
    clear = view.render(now)
    view.disturbance = Disturbance.COVERED
    covered = view.render(now)
    assert covered.mean() < 15
    assert covered.std() < 5
    view.disturbance = Disturbance.DARK
    assert view.render(now).mean() < 20
    view.disturbance = Disturbance.TURNED
    assert np.abs(view.render(now).astype(int) - clear).mean() > 10
    view.disturbance = Disturbance.DEFOCUSED
    inner = (slice(60, 300), slice(0, WIDTH))
    assert cv2.Sobel(view.render(now)[inner], cv2.CV_64F, 1, 0).std() < 0.5 * (
        cv2.Sobel(clear[inner], cv2.CV_64F, 1, 0).std()
    )


def test_a_frozen_picture_is_the_same_bytes():
    async def run():
        clock = FakeClock(at_hour(9))
        view = scene()
        camera = CameraPeer(clock, view, fps=40)
        await camera.start()
        async with (
            httpx.AsyncClient(timeout=5) as client,
            client.stream("GET", camera.url) as response,
        ):
            assert "multipart/x-mixed-replace" in response.headers["content-type"]
            received = b""
            async for chunk in response.aiter_raw():
                received += chunk
                if received.count(b"--frame") == 2:
                    view.disturbance = Disturbance.FROZEN
                if received.count(b"--frame") > 6:
                    break
        pictures = [part.split(b"\r\n\r\n", 1)[1] for part in received.split(b"--frame\r\n")[1:-1]]
        assert len(set(pictures[-2:])) == 1
        await camera.stop()

    asyncio.run(run())
