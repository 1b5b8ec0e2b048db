"""Cameras' own events: what they mean, how long they last, whether they are armed at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.commands import Action
from core.contracts.errors import DeviceError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError
from edge.drivers.isapi_camera.driver import IsapiCameraDriver
from edge.drivers.isapi_camera.settings import IsapiCameraSettings
from edge.drivers.isapi_camera.states import Alarm, States
from edge.drivers.isapi_camera.translate import Translator
from edge.isapi.access import Skipped
from edge.observation import Observation
from simulators.devices.isapi import Identity
from simulators.devices.isapi_camera import IsapiCameraPeer

from .support import Recorder, Streaming, context, run


def raw(port: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "driver": "isapi_camera", "base_url": f"http://127.0.0.1:{port}", "username": "edge",
        "password": "secret", "cameras": {"1": "cam-1"}, "silence_s": 2, "request_timeout_s": 1,
        **more,
    }  # fmt: skip


class Yard:
    """One camera (or recorder) and its driver."""

    def __init__(self, folder: Path, speed: float = 1.0, **peer: Any) -> None:
        self.folder = folder
        self.clock = ScaledClock.starting_now(speed)
        self.peer = IsapiCameraPeer(
            self.clock, identity=Identity("yard", "192.0.2.6", "02:00:5e:10:00:06"),
            username="edge", password="secret", heartbeat_s=0.2, **peer,
        )  # fmt: skip
        self.sink = Recorder(clock=self.clock)

    def listening(self, **more: Any) -> Streaming:
        settings = IsapiCameraSettings.model_validate(raw(self.peer.port, **more))
        return Streaming(IsapiCameraDriver(settings, context(self.folder, self.clock)), self.sink)

    async def live(self) -> None:
        """Wait until the driver listens to the present stream."""
        await self.sink.until(lambda: self.sink.counts["heartbeats"])
        self.sink.counts["heartbeats"] = 0

    def told(self, kind: str) -> list[tuple[str, bool]]:
        return [(e[1], e[2]["active"]) for e in self.sink.events if e[0] == kind]


@asynccontextmanager
async def yard(folder: Path, speed: float = 1.0, **peer: Any) -> AsyncIterator[Yard]:
    found = Yard(folder, speed, **peer)
    await found.peer.start()
    yield found
    await found.peer.stop()


def alert(event_type: str, state: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "eventType": event_type, "eventState": state, "channelID": "1", "activePostCount": "1",
        "dateTime": "2026-03-05T18:30:00+08:00", **more,
    }  # fmt: skip


#: Source: DOMAIN section 4 (the types that pyHik knows).
TYPES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("VMD", "camera.motion", {}),
    ("motionDetection", "camera.motion", {}),
    ("PIR", "camera.motion", {}),
    ("linedetection", "camera.line_crossed", {}),
    ("fielddetection", "camera.intrusion", {}),
    ("regionEntrance", "camera.intrusion", {}),
    ("regionExiting", "camera.line_crossed", {"direction": "out"}),
    ("unattendedBaggage", "camera.left_object", {}),
    ("attendedBaggage", None, {}),
    ("facedetection", None, {}),
    ("scenechangedetection", "camera.tamper", {"cause": "turned"}),
    ("tamperdetection", "camera.tamper", {"cause": "covered"}),
    ("shelteralarm", "camera.tamper", {"cause": "covered"}),
    ("defocus", "camera.tamper", {"cause": "defocused"}),
    ("videoloss", "camera.video_loss", {}),
    ("badvideo", "device.fault", {"fault": "sensor", "part": "video"}),
    ("videomismatch", "device.fault", {"fault": "configuration", "part": "video"}),
    ("io", None, {}),
    ("diskfull", "device.fault", {"fault": "storage_full"}),
    ("diskerror", "device.fault", {"fault": "storage_error"}),
    ("nicbroken", "device.fault", {"fault": "network"}),
    ("ipconflict", "device.fault", {"fault": "address_conflict"}),
    ("illaccess", "device.fault", {"fault": "illegal_access"}),
    ("recordingfailure", "device.fault", {"fault": "recording"}),
    ("parking", "camera.zone_occupied", {}),
    ("fireDetection", "camera.object", {"target": "fire"}),
    ("ebikeInLift", "camera.object", {"target": "e_bike"}),
]


def translator(**more: Any) -> Translator:
    more = {"objects": {"ebikeInLift": "e_bike"}, "zones": {"1": "gate", "2/1": "yard"}} | more
    return Translator(IsapiCameraSettings.model_validate(raw(**more)))


@pytest.mark.parametrize(("name", "kind", "data"), TYPES)
def test_types_become_kinds(name: str, kind: str | None, data: dict[str, Any]) -> None:
    told = translator().translate(alert(name), 480, 0)
    if kind is None:
        assert told == Skipped("types_without_event")
        return
    assert isinstance(told, Alarm)
    assert (told.kind, told.data) == (kind, {**data, "raw_code": name})
    assert told.at == 1_772_706_600_000


def test_regions_targets_channels() -> None:
    two = translator(cameras={"1": "cam-1", "2": "cam-2"})
    region = {"DetectionRegionList": {"DetectionRegionEntry": {"regionID": "1"}}}
    target = {"DetectionRegionList": {
        "DetectionRegionEntry": [{"regionID": "3", "detectionTarget": "human"}, {"regionID": "4"}]
    }}  # fmt: skip
    cases: list[tuple[dict[str, Any], tuple[str, str | None, str]]] = [
        (region, ("cam-1", "gate", "fielddetection")),
        ({"channelID": "2", **region}, ("cam-2", "yard", "fielddetection")),
        ({"channelID": "1", "dynChannelID": "2", **target}, ("cam-2", "3", "fielddetection/human")),
        ({}, ("cam-1", None, "fielddetection")),
    ]
    for more, (device, zone, raw_code) in cases:
        told = two.translate(alert("fielddetection") | more, 480, 0)
        assert isinstance(told, Alarm)
        assert (told.device, told.zone, told.data["raw_code"]) == (device, zone, raw_code)
    e_bike = two.translate(
        alert("fielddetection", TargetType={"targetType": "electricBicycle"}), 480, 0
    )
    assert isinstance(e_bike, Alarm)
    assert (e_bike.kind, e_bike.data["target"]) == ("camera.object", "e_bike")
    assert two.translate(alert("VMD", channelID="9"), 480, 0) == Skipped("unknown_channels")
    assert two.translate(alert("newThing"), 480, 0) == Skipped("unknown_types")
    assert two.translate({"eventState": "active"}, 480, 0) == Skipped("malformed_events")


def test_readings() -> None:
    t = translator()
    hot = t.translate(alert("thermometry", Info={"currTemperature": "98.6",
                            "thermometryUnit": "fahrenheit"}), 480, 0)  # fmt: skip
    assert hot == Observation(
        "sensor.reading", "cam-1", {"quantity": "temperature", "value": 37.0, "unit": "Cel"},
        1_772_706_600_000,
    )  # fmt: skip
    people = t.translate(alert("regionTargetNumberCounting", Count={"regionID": "1",
                               "peopleNum": "7"}), 480, 0)  # fmt: skip
    assert isinstance(people, Observation)
    assert people.data == {"count": 7, "target": "person", "zone": "gate"}
    for name, value in (("thermometry", "hot"), ("thermometry", "1e9"), ("thermometry", "nan")):
        assert t.translate(alert(name, currTemperature=value), 480, 0) == Skipped(
            "readings_without_value"
        )


def test_what_lasts_is_told_once_and_its_end_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y, y.listening():
            await y.live()
            for _ in range(5):
                y.peer.begin("fielddetection", region=1, target="human")
            y.peer.begin("fielddetection", region=2)
            y.peer.begin("VMD")
            await y.sink.until(lambda: y.told("camera.motion"))
            y.peer.end("fielddetection", region=1)
            y.peer.end("fielddetection", region=1)
            y.peer.end("VMD")
            await y.sink.until(lambda: len(y.told("camera.motion")) == 2)
            events = y.sink.of("camera.intrusion")
            assert [(e["zone"], e["active"]) for e in events] == [
                ("1", True), ("2", True), ("1", False)
            ]  # fmt: skip
            assert y.sink.counts["repetitions"] == 4

    run(scenario())


def test_what_is_no_longer_repeated_ends_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y, y.listening(hold_s=1):
            y.peer.ends = False
            await y.live()
            for _ in range(4):  # repeated for longer than the hold
                y.peer.begin("VMD")
                await asyncio.sleep(0.4)
            assert y.told("camera.motion") == [("cam-1", True)]
            y.peer.end("VMD")
            await y.sink.until(lambda: len(y.told("camera.motion")) == 2)
            assert y.told("camera.motion")[1] == ("cam-1", False)
            assert y.sink.counts["timed_out"] == 1
            y.peer.begin("VMD")
            await y.sink.until(lambda: len(y.told("camera.motion")) == 3)

    run(scenario())


def test_each_who_crosses_a_line_is_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y, y.listening():
            await y.live()
            y.peer.begin("linedetection", region=1)
            y.peer.begin("linedetection", region=1)  # the same one, said again
            y.peer.end("linedetection", region=1)
            y.peer.begin("linedetection", region=1)  # the next
            await y.sink.until(lambda: len(y.told("camera.line_crossed")) == 2)
            y.peer.ends = False
            await asyncio.sleep(1.1)
            y.peer.end("linedetection", region=1)
            y.peer.begin("linedetection", region=1)  # counts from one again: another
            await y.sink.until(lambda: len(y.told("camera.line_crossed")) == 3)
            assert {active for _, active in y.told("camera.line_crossed")} == {True}

    run(scenario())


def test_no_video_loss_is_a_heartbeat_unless_a_loss_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y, y.listening():
            await y.live()
            assert y.told("camera.video_loss") == []
            y.peer.begin("videoloss")
            await y.sink.until(lambda: len(y.told("camera.video_loss")) == 2)
            assert y.told("camera.video_loss") == [("cam-1", True), ("cam-1", False)]

    run(scenario())


def test_a_restart_of_the_edge_ends_what_ended_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y:
            async with y.listening(hold_s=1.5):
                await y.live()
                y.peer.begin("fielddetection", region=1)
                await y.sink.until(lambda: y.told("camera.intrusion"))
            async with y.listening(hold_s=1.5):
                await y.sink.until(lambda: len(y.told("camera.intrusion")) == 2)
            assert y.told("camera.intrusion") == [("cam-1", True), ("cam-1", False)]

    run(scenario())


Disarm = Callable[[IsapiCameraPeer], None]


@pytest.mark.parametrize(
    ("disarm", "missing"),
    [
        (lambda peer: None, None),
        (lambda peer: peer.arm("VMD", enabled=False), "vmd"),
        (lambda peer: peer.arm("linedetection", notified=False), "linedetection"),
        (lambda peer: (peer.arm("VMD", enabled=False), peer.arm("linedetection", notified=False)),
         "vmd, linedetection"),
        (lambda peer: peer.arm("fielddetection", enabled=False), None),  # nobody expects it
        (lambda peer: setattr(peer, "lists_triggers", False), None),
        (lambda peer: peer.detections.pop((1, "VMD")), "vmd"),
    ],
)  # fmt: skip
def test_events_that_are_not_armed_are_told(
    disarm: Disarm, missing: str | None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y:
            disarm(y.peer)
            async with y.listening(expect=["VMD", "linedetection"]):
                await y.sink.until(lambda: y.sink.of("camera.unarmed"))
            (told,) = y.sink.of("camera.unarmed")
            if missing is None:
                assert told == {"active": False, "reason": "not_armed"}
            else:
                assert told == {"active": True, "reason": "not_armed", "events": missing}

    run(scenario())


def test_arming_again_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y:
            y.peer.arm("VMD", enabled=False)
            async with y.listening(expect=["VMD"], check_period_s=0.3):
                await y.sink.until(lambda: len(y.told("camera.unarmed")) == 1)
                y.peer.arm("VMD")
                await y.sink.until(lambda: len(y.told("camera.unarmed")) == 2)
                assert y.told("camera.unarmed") == [("cam-1", True), ("cam-1", False)]
                looks = y.peer.requests.count(("GET", "/ISAPI/Event/triggers"))
                await y.sink.until(
                    lambda: y.peer.requests.count(("GET", "/ISAPI/Event/triggers")) > looks + 1
                )
                assert len(y.told("camera.unarmed")) == 2

    run(scenario())


def test_one_reason_ends_before_another_begins(tmp_path: Path) -> None:
    """A day lasts two seconds."""

    async def scenario() -> None:
        more = {"expect": ["VMD"], "seen_within_days": 1, "check_period_s": 8_000}
        async with yard(tmp_path, speed=43_200) as y, y.listening(**more):
            await y.sink.until(lambda: y.told("camera.unarmed") == [("cam-1", False)])
            y.peer.arm("VMD", enabled=False)
            await y.sink.until(lambda: len(y.told("camera.unarmed")) == 2)
            await asyncio.sleep(2.5)
            y.peer.arm("VMD")
            await y.sink.until(lambda: len(y.told("camera.unarmed")) == 4)
            assert [(e["reason"], e["active"]) for e in y.sink.of("camera.unarmed")[1:]] == [
                ("not_armed", True), ("not_armed", False), ("never_seen", True)
            ]  # fmt: skip

    run(scenario(), 30)


def test_events_that_never_came_are_told_over_a_restart_too(tmp_path: Path) -> None:
    """A day lasts two seconds; the wait begins with the first look and survives a restart."""

    async def scenario() -> None:
        more = {"expect": ["VMD", "fielddetection"], "seen_within_days": 1,
                "check_period_s": 8_000, "hold_s": 80_000}  # fmt: skip
        async with yard(tmp_path, speed=43_200) as y:
            async with y.listening(**more):
                await y.sink.until(lambda: y.told("camera.unarmed"))
                assert y.told("camera.unarmed") == [("cam-1", False)]
                await asyncio.sleep(1)
            async with y.listening(**more):
                await y.live()
                y.peer.begin("VMD")
                await y.sink.until(lambda: len(y.told("camera.unarmed")) == 3)
                found = y.sink.of("camera.unarmed")[-1]
                assert found["reason"] == "never_seen"
                assert "fielddetection" in found["events"]

    run(scenario(), 30)


def test_a_camera_that_does_not_answer_the_check_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path) as y:
            y.peer.sign_in.check = lambda request: None  # type: ignore[method-assign]
            answer = y.peer._triggers
            y.peer._triggers = lambda request: answer(request).__class__(500)  # type: ignore[method-assign]
            async with y.listening(expect=["VMD"]):
                await y.sink.until(lambda: y.sink.counts["armed_check_failed"])
                y.peer.begin("VMD")
                await y.sink.until(lambda: y.told("camera.motion"))
            assert y.told("camera.unarmed") == []

    run(scenario())


def test_a_recorder_with_several_cameras(tmp_path: Path) -> None:
    async def scenario() -> None:
        cameras = {"1": "cam-1", "2": "cam-2"}
        async with yard(tmp_path, channels=2) as y:
            y.peer.arm("VMD", enabled=False, channel=2)
            async with y.listening(cameras=cameras, expect=["VMD"]) as listening:
                await y.sink.until(lambda: len(y.told("camera.unarmed")) == 2)
                assert y.told("camera.unarmed") == [("cam-1", False), ("cam-2", True)]
                y.peer.begin("VMD", channel=2)
                y.peer.begin("VMD", channel=3)
                await y.sink.until(lambda: y.sink.counts["unknown_channels"])
                assert y.told("camera.motion") == [("cam-2", True)]
                assert listening.driver.gateway == f"127.0.0.1:{y.peer.port}"

    run(scenario())


def scene(person_at: int) -> bytes:
    """Return a JPEG of a wall with somebody (a pattern of squares) standing at a place."""
    picture = np.full((360, 640, 3), 120, np.uint8)
    pattern = (np.indices((160, 60)) // 12).sum(axis=0) % 2 * 255
    picture[120:280, person_at : person_at + 60] = pattern[..., None].astype(np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def test_a_snapshot_leaves_only_blurred(tmp_path: Path) -> None:
    async def scenario() -> None:
        pictures = iter([scene(100), scene(400)])
        async with yard(tmp_path, picture=lambda: next(pictures)) as y, y.listening() as listening:
            await y.live()
            reply = await listening.driver.act("cam-1", Action.SNAPSHOT, {})
            ((device, media, jpeg),) = y.sink.pictures
            assert (device, {"media": media}) == ("cam-1", reply)
            left = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            where = left[150:250, 410:450]
            assert where.std() < 40, "the pattern of whoever moves is gone"
            assert cv2.imdecode(
                np.frombuffer(scene(400), np.uint8), cv2.IMREAD_COLOR
            )[150:250, 410:450].std() > 80  # fmt: skip
            for device, action, params in (
                ("cam-9", Action.SNAPSHOT, {}), ("cam-1", Action.UNLOCK, {}),
                ("cam-1", Action.SNAPSHOT, {"width": 3}),
            ):  # fmt: skip
                with pytest.raises(CommandRefusedError):
                    await listening.driver.act(device, action, params)

    run(scenario())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xd8\xff\xd9", b"not a picture", scene(0)[:2000],
        # A head that announces 60,000 x 60,000 pixels.
        b"\xff\xd8\xff\xc0\x00\x11\x08\xea\x60\xea\x60\x03" + bytes(20),
    ],
)  # fmt: skip
def test_a_snapshot_that_is_none_is_said_so(content: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with yard(tmp_path, picture=lambda: content) as y, y.listening() as listening:
            await y.live()
            with pytest.raises(DeviceError):
                await listening.driver.act("cam-1", Action.SNAPSHOT, {})
            assert y.sink.pictures == []

    run(scenario())


posts = st.tuples(st.booleans(), st.integers(1, 3), st.integers(0, 5))


@given(st.lists(posts, max_size=30))
def test_states_alternate_whatever_a_camera_posts(told: list[tuple[bool, int, int]]) -> None:
    states, news = States(), []
    for active, count, second in told:
        alarm = Alarm("camera.motion", "c", "vmd", None, {}, second * 1000, 0, active, count, 1000)
        if states.is_news(alarm):
            news.append(active)
        states.note(alarm)
    assert all(one != other for one, other in pairwise(news))
    assert not news or news[0] is True
    assert bool(states.silent(10_000)) == bool(news and news[-1])
