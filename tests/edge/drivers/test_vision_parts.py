"""The parts of watching: tracks, lines, schedules, frames, the studio."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.vision.detection import Box
from edge.vision.frame import from_jpeg, from_picture, jpeg_size
from edge.vision.line import Line
from edge.vision.schedule import Schedule
from edge.vision.studio import Studio
from edge.vision.tracks import Tracker, find_blobs

from .film import settings as camera

SHAPE = (180, 320)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def person(x: float, y: float, width: float = 0.06, height: float = 0.2) -> Box:
    return Box(x - width / 2, y - height, x + width / 2, y)


def test_two_who_pass_each_other_keep_their_tracks() -> None:
    tracker, line = Tracker(), Line("l", (0.5, 1.0), (0.5, 0.0))
    crossed: list[str] = []
    for step in range(30):
        x = 0.1 + step * 0.8 / 29
        seen = tracker.update([person(x, 0.6), person(1 - x, 0.9)], SHAPE, 0.2)
        crossed += [direction for direction, _ in line.crossings(seen, SHAPE, 0.06)]
    assert sorted(crossed) == ["in", "out"]
    assert {track.id for track in tracker.tracks} == {1, 2}


def test_who_dithers_on_a_line_crosses_it_once_and_who_goes_back_twice() -> None:
    tracker, line = Tracker(), Line("l", (0.5, 1.0), (0.5, 0.0))
    ways = [0.3, 0.34, 0.38, 0.42, 0.46, 0.5, 0.54, 0.56] + [0.497, 0.503] * 6 + [0.55, 0.6, 0.66]
    crossed: list[str] = []

    def walk(places: list[float]) -> None:
        for x in places:
            seen = tracker.update([person(x, 0.7)], SHAPE, 0.2)
            crossed.extend(direction for direction, _ in line.crossings(seen, SHAPE, 0.06))

    walk(ways)
    assert crossed == ["in"]
    walk(ways[::-1])
    assert crossed == ["in", "out"]


def test_a_track_outlives_a_post_but_no_jump() -> None:
    tracker = Tracker()
    for step in range(8):
        tracker.update([person(0.1 + 0.03 * step, 0.7)], SHAPE, 0.2)
    for _ in range(5):
        tracker.update([], SHAPE, 0.2)
    tracker.update([person(0.1 + 0.03 * 13, 0.7)], SHAPE, 0.2)
    assert [track.id for track in tracker.tracks] == [1]
    tracker.update([person(0.95, 0.3)], SHAPE, 0.2)
    assert [track.id for track in tracker.tracks] == [1, 2]
    for _ in range(9):
        tracker.update([], SHAPE, 0.2)
    assert tracker.tracks == []


def test_the_parts_of_a_person_are_one_blob_and_neighbours_are_two() -> None:
    moving = np.zeros(SHAPE, bool)
    moving[60:70, 100:110] = moving[85:120, 98:112] = moving[70:110, 150:165] = True
    moving[100:103, 20:23] = True
    assert [[round(v * 320) for v in (b.left, b.right)] for b in find_blobs(moving)] == [
        [98, 112], [150, 165]
    ]  # fmt: skip


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp() * 1000)


@pytest.mark.parametrize(
    ("windows", "held", "free"),
    [
        (["mon-fri 18:00-07:00"], ["2026-03-06 23:00", "2026-03-07 06:59"],
         ["2026-03-07 07:00", "2026-03-07 20:00", "2026-03-09 06:00"]),
        (["sat,sun 00:00-24:00"], ["2026-03-07 00:00", "2026-03-08 23:59"], ["2026-03-09 00:00"]),
        (["fri-mon 08:00-09:00"], ["2026-03-08 08:30"], ["2026-03-10 08:30"]),
        (["daily 12:00-13:00", "sun 20:00-02:00"], ["2026-03-08 12:30", "2026-03-09 01:00"],
         ["2026-03-10 01:00"]),
        ([], ["2026-03-10 01:00"], []),
    ],
)  # fmt: skip
def test_windows_of_the_week(windows: list[str], held: list[str], free: list[str]) -> None:
    schedule = Schedule(windows, SHANGHAI)
    assert [schedule.holds(moment(text)) for text in held] == [True] * len(held)
    assert [schedule.holds(moment(text)) for text in free] == [False] * len(free)


@pytest.mark.parametrize(
    "window",
    ["mon 25:00-26:00", "mon-frx 08:00-09:00", "18:00-07:00", "mon 8:00-9:00", "mon 08:70-09:00"],
)
def test_windows_that_are_none(window: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Schedule([window], SHANGHAI)


@given(st.integers(0, 1439), st.integers(1, 1439), st.integers(0, 7 * 1440 - 1))
def test_a_daily_window_holds_as_long_as_it_says(start: int, length: int, at: int) -> None:
    end = (start + length) % 1440
    text = f"daily {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    schedule = Schedule([text], ZoneInfo("UTC"))
    assert schedule.holds(at * 60_000) is ((at - start) % 1440 < length)


ZONE = {"name": "a", "polygon": [[0, 0], [1, 0], [1, 1]]}
LINE = {"name": "a", "points": [[0, 0], [1, 1]]}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"zones": [{**ZONE, "kind": "object"}]}, "target"),
        ({"zones": [{**ZONE, "kind": "object", "target": "e_bike"}]}, "no detector recognises"),
        ({"zones": [{**ZONE, "kind": "motion", "target": "person"}]}, "has no target"),
        ({"lines": [LINE, LINE]}, "same name"),
        ({"lines": [{**LINE, "schedule": ["always"]}]}, "is no window"),
        ({"detector": {"kind": "onnx", "file": "x.onnx"}}, "needs file and classes"),
        ({"detector": {"kind": "person", "classes": {0: "person"}}}, "are for onnx"),
        ({"time_zone": "China/Peking"}, "unknown time zone"),
        ({"url": "rtsp://x/", "poll_s": 3}, "poll_s is for"),
    ],
)
def test_settings_that_do_not_fit_together(bad: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        camera(**bad)


# -- frames --------------------------------------------------------------------------------------


def jpeg_of(width: int, height: int) -> bytes:
    steps = np.linspace(0, 255, width, dtype=np.uint8)
    good, coded = cv2.imencode(".jpg", np.dstack([np.tile(steps, (height, 1))] * 3))
    assert good
    return coded.tobytes()


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (352, 288), (200, 100)])
def test_a_frame_is_small_at_once_and_whole_when_asked_for(size: tuple[int, int]) -> None:
    jpeg = jpeg_of(*size)
    assert jpeg_size(jpeg) == size
    frame = from_jpeg(jpeg)
    assert frame is not None
    narrow = min(size[0], 320)
    assert frame.small.shape == (round(size[1] * narrow / size[0]), narrow, 3)
    assert frame.picture(4096).shape == (size[1], size[0], 3)
    assert frame.picture(640).shape[1] == min(size[0], 640)
    whole = from_picture(frame.picture(4096))
    assert whole.small.shape == frame.small.shape
    assert cv2.absdiff(whole.small, frame.small).mean() < 3


def test_what_is_no_picture_is_no_frame() -> None:
    assert from_jpeg(b"\xff\xd8nonsense\xff\xd9") is None
    bomb = bytearray(jpeg_of(64, 64))
    at = bomb.index(b"\xff\xc0") + 5
    bomb[at : at + 4] = b"\xff\xff\xff\xff"
    assert from_jpeg(bytes(bomb)) is None


def test_the_studio_does_one_thing_at_a_time_and_refuses_too_many() -> None:
    studio, going, names = Studio(most_waiting=3), threading.Event(), set()

    def work() -> str:
        going.wait(5)
        names.add(threading.current_thread().name)
        return "done"

    futures = [studio.submit(work) for _ in range(5)]
    assert [future is None for future in futures] == [False, False, False, True, True]
    assert studio.refused == 2
    going.set()
    assert [future.result(5) for future in futures if future] == ["done"] * 3
    assert len(names) == 1
    deadline = time.monotonic() + 5
    while studio.submit(work) is None:
        assert time.monotonic() < deadline
    studio.close()
    assert studio.submit(work) is None
