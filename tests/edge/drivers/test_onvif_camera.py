"""ONVIF cameras: topics, states told once, what has no end, the armed check, snapshots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from core.contracts.commands import Action
from core.contracts.errors import DeviceRefusedError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError, LinkError
from edge.drivers.onvif_camera.armed import ANY, Offer, SeenBook
from edge.drivers.onvif_camera.picture import jpeg_size
from edge.drivers.onvif_camera.settings import OnvifCameraSettings
from edge.drivers.onvif_camera.tracker import Tracker
from edge.drivers.onvif_camera.translate import CameraTranslator
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import Skipped
from simulators.devices.onvif import OnvifCamera, Rule
from simulators.devices.onvif import camera as sim

from .onvif_support import camera_driver, entry, listening
from .support import START, Recorder, Streaming, context, run

CHANGED, INITIALIZED, DELETED, EVENT = (
    Operation.CHANGED, Operation.INITIALIZED, Operation.DELETED, Operation.EVENT
)  # fmt: skip


def settings(**more: Any) -> OnvifCameraSettings:
    raw = entry(OnvifCamera(ScaledClock(), "x"), driver="onvif_camera", device="cam")
    return OnvifCameraSettings.model_validate(raw | {"base_url": "http://a"} | more)


def notice(
    topic: str, data: dict[str, str], source: dict[str, str] | None = None,
    operation: Operation = CHANGED,
) -> Notification:  # fmt: skip
    return Notification(topic, source or {"Source": "v1"}, data, operation, START)


def translated(notification: Notification, **more: Any) -> Any:
    return CameraTranslator(settings(**more)).translate(notification, START)


RULE = {"VideoSourceConfigurationToken": "v", "VideoAnalyticsConfigurationToken": "a", "Rule": "R1"}

# -- topics of DOMAIN.md section 4 ---------------------------------------------------------------

IMAGING = [
    (f"VideoSource/{topic}/{service}", cause)
    for topic, cause in (
        ("ImageTooBlurry", "defocused"), ("ImageTooDark", "dark"), ("ImageTooBright", "bright"),
        ("GlobalSceneChange", "turned"),
    )
    for service in ("AnalyticsService", "ImagingService", "RecordingService")
]  # fmt: skip
TOPICS: list[tuple[str, dict[str, str], dict[str, str], str, dict[str, Any]]] = [
    ("VideoSource/MotionAlarm", {"State": "true"}, {"Source": "v"}, "camera.motion", {}),
    ("RuleEngine/CellMotionDetector/Motion", {"IsMotion": "1"}, RULE, "camera.motion", {}),
    ("RuleEngine/MotionRegionDetector/Motion", {"State": "1"}, RULE, "camera.motion", {}),
    ("RuleEngine/FieldDetector/ObjectsInside", {"ObjectId": "7", "IsInside": "true"}, RULE,
     "camera.intrusion", {"zone": "R1"}),
    ("RuleEngine/TamperDetector/Tamper", {"IsTamper": "true"}, RULE, "camera.tamper",
     {"cause": "unknown"}),
    *((topic, {"State": "true"}, {"Source": "v"}, "camera.tamper", {"cause": cause})
      for topic, cause in IMAGING),
    ("RuleEngine/MyRuleDetector/PeopleDetect", {"State": "true"}, {"Source": "0"},
     "camera.object", {"target": "person", "zone": "PeopleDetect"}),
    ("RuleEngine/MyRuleDetector/VehicleDetect", {"State": "true"}, {"Source": "0"},
     "camera.object", {"target": "vehicle", "zone": "VehicleDetect"}),
    ("RuleEngine/MyRuleDetector/FaceDetect", {"State": "true"}, {"Source": "0"},
     "camera.object", {"target": "person", "zone": "FaceDetect"}),
    ("RuleEngine/TPSmartEventDetector/TPSmartEvent", {"IsVehicle": "true"}, RULE,
     "camera.object", {"target": "vehicle", "zone": "IsVehicle"}),
    ("RuleEngine/TPSmartEventDetector/TPSmartEvent", {"IsIntrusion": "true"}, RULE,
     "camera.intrusion", {"zone": "R1"}),
    ("Device/HardwareFailure/StorageFailure", {"Failed": "true"}, {"Token": "SD"},
     "device.fault", {"fault": "storage_error", "part": "SD"}),
    ("Device/HardwareFailure/FanFailure", {"Failed": "true"}, {"Token": "F"}, "device.fault",
     {"fault": "fan", "part": "F"}),
    ("VideoSource/SignalLoss", {"State": "true"}, {"Source": "v"}, "camera.video_loss", {}),
    ("RecordingConfig/JobState", {"State": "Error"}, {"RecordingJobToken": "J"}, "device.fault",
     {"fault": "recording", "part": "J"}),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "data", "source", "kind", "expected"), TOPICS)
def test_topics(
    topic: str, data: dict[str, str], source: dict[str, str], kind: str, expected: dict[str, Any]
) -> None:
    (signal,) = translated(notice(topic, data, source))
    assert signal.kind == kind
    assert {k: v for k, v in signal.data.items() if k != "raw_code"} == expected
    assert signal.active is True
    (ended,) = translated(notice(topic, data, source, DELETED))
    assert ended.active is False


@pytest.mark.parametrize(
    ("notification", "reason"),
    [
        (notice("Vendor/Thing", {"State": "true"}), "unknown_topics"),
        (notice("Device/Trigger/Relay", {"LogicalState": "active"}), "topics_without_event"),
        (notice("RuleEngine/LineDetector/Crossed", {"ObjectId": "7"}, RULE, INITIALIZED),
         "states_without_value"),
        (notice("RuleEngine/CountAggregation/Counter", {"Count": "-1"}), "malformed_notifications"),
        (notice("Device/HardwareFailure/FanFailure", {"Failed": "?"}), "malformed_notifications"),
        (notice("RuleEngine/TPSmartEventDetector/TPSmartEvent", {"A": "1"}),
         "malformed_notifications"),
    ],
)  # fmt: skip
def test_what_is_not_told_is_counted(notification: Notification, reason: str) -> None:
    assert translated(notification) == Skipped(reason)


def test_a_line_that_is_crossed_has_no_state() -> None:
    (signal,) = translated(
        notice("RuleEngine/LineDetector/Crossed", {"ObjectId": "71"}, RULE, EVENT)
    )
    assert (signal.kind, signal.active, signal.part) == ("camera.line_crossed", None, "R1")


def test_rules_and_topics_of_ones_own() -> None:
    field = notice("RuleEngine/FieldDetector/ObjectsInside", {"IsInside": "true"}, RULE)
    rules = {"R1": {"kind": "camera.zone_occupied", "zone": "fire lane"}}
    (signal,) = translated(field, rules=rules)
    assert (signal.kind, signal.data["zone"]) == ("camera.zone_occupied", "fire lane")
    (signal,) = translated(field, rules={"R1": {"kind": "camera.object", "target": "e_bike"}})
    assert (signal.kind, signal.data["target"]) == ("camera.object", "e_bike")
    own = {"tns1:RuleEngine/tnsx:Bag/tnsx:Left": {"kind": "camera.left_object"}}
    (signal,) = translated(notice("RuleEngine/Bag/Left", {"State": "true"}, RULE), topics=own)
    assert signal.kind == "camera.left_object"


def test_objects_by_class() -> None:
    topic = "RuleEngine/ObjectDetection/Object"
    found = translated(notice(topic, {"ClassTypes": "Human Car"}, RULE))
    assert {s.data["target"] for s in found if s.active} == {"person", "vehicle"}
    assert {s.data["target"] for s in found if not s.active} >= {"animal", "other"}
    gone = translated(notice(topic, {"ClassTypes": ""}, RULE))
    assert not any(s.active for s in gone)


# -- what was told -------------------------------------------------------------------------------


def feed(tracker: Tracker, notification: Notification, at: int = START) -> list[Any]:
    found = CameraTranslator(settings()).translate(notification, at)
    assert isinstance(found, list)
    told = []
    for signal in found:
        observation = tracker.news(signal)
        tracker.committed(signal, observation)
        if observation is not None:
            told.append((observation.kind, observation.data["active"]))
    return told


def test_one_state_stands_while_any_of_its_sources_does() -> None:
    tracker = Tracker("cam", 5)
    alarm = "VideoSource/MotionAlarm"
    cell = "RuleEngine/CellMotionDetector/Motion"
    assert feed(tracker, notice(alarm, {"State": "false"})) == []
    assert feed(tracker, notice(alarm, {"State": "true"})) == [("camera.motion", True)]
    assert feed(tracker, notice(cell, {"IsMotion": "true"}, RULE)) == []
    assert feed(tracker, notice(alarm, {"State": "false"})) == []
    assert feed(tracker, notice(cell, {"IsMotion": "false"}, RULE)) == [("camera.motion", False)]
    assert feed(tracker, notice(cell, {"IsMotion": "false"}, RULE)) == []


def test_a_tampered_picture_ends_with_its_own_cause() -> None:
    tracker = Tracker("cam", 5)
    dark = "VideoSource/ImageTooDark/ImagingService"
    blurry = "VideoSource/ImageTooBlurry/ImagingService"
    assert feed(tracker, notice(blurry, {"State": "false"})) == [("camera.tamper", False)]
    assert feed(tracker, notice(dark, {"State": "true"})) == [("camera.tamper", True)]
    assert feed(tracker, notice(blurry, {"State": "false"})) == []
    (signal,) = CameraTranslator(settings()).translate(notice(dark, {"State": "false"}), START)  # type: ignore[misc]
    ended = tracker.news(signal)
    assert ended is not None
    assert (ended.data["active"], ended.data["cause"]) == (False, "dark")


def test_pulses_are_joined_and_end() -> None:
    tracker = Tracker("cam", 5)
    line = "RuleEngine/LineDetector/Crossed"
    crossed = notice(line, {"ObjectId": "1"}, RULE, EVENT)
    assert feed(tracker, crossed) == [("camera.line_crossed", True)]
    assert feed(tracker, crossed, START + 3000) == []
    assert tracker.joined == 1
    assert tracker.over(START + 7999) == []
    ((key, ended),) = tracker.over(START + 8000)
    assert ended is not None
    assert (ended.at, ended.data["active"]) == (START + 8000, False)
    tracker.ended(key, ended)
    assert tracker.over(START + 99_000) == []
    assert feed(tracker, crossed, START + 99_000) == [("camera.line_crossed", True)]


def test_states_whose_source_is_gone_end_with_the_synchronisation() -> None:
    tracker = Tracker("cam", 5)
    field = "RuleEngine/FieldDetector/ObjectsInside"
    feed(tracker, notice(field, {"IsInside": "true"}, RULE))
    feed(tracker, notice(field, {"IsInside": "true"}, RULE | {"Rule": "R2"}))
    tracker.synchronising()
    feed(tracker, notice(field, {"IsInside": "true"}, RULE | {"Rule": "R2"}, INITIALIZED))
    ((key, ended, lost),) = tracker.vanished(START + 1)
    assert ended is not None
    assert (ended.data["zone"], ended.data["active"]) == ("R1", False)
    tracker.gone(key, ended, lost)
    assert tracker.vanished(START + 2) == []


def test_a_camera_that_invents_names_without_end_fills_no_memory() -> None:
    tracker = Tracker("cam", 5)
    field = "RuleEngine/FieldDetector/ObjectsInside"
    refused = 0
    for number in range(2000):
        notification = notice(field, {"IsInside": "true"}, RULE | {"Rule": f"R{number}"})
        (signal,) = translated(notification)
        if tracker.has_room(signal):
            tracker.committed(signal, tracker.news(signal))
        else:
            refused += 1
    assert refused == 2000 - 256
    assert len(tracker._groups) == 256


# -- on the wire ---------------------------------------------------------------------------------


def test_what_a_camera_sees(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        driver = camera_driver(device, tmp_path, pulse_s=0.3)
        async with Streaming(driver, sink):
            await listening(device, sink)
            assert not any(e[2].get("active") for e in sink.events)
            before = len(sink.events)
            device.move(active=True)
            device.alarm_motion(active=True)
            device.intrude(active=True)
            device.see(sim.DARK, active=True)
            device.see(sim.PEOPLE, active=True)
            device.fail_storage(active=True)
            device.count(3)
            device.cross()
            device.move(active=False)
            device.alarm_motion(active=False)
            device.intrude(active=False)
            await sink.until(lambda: len(sink.of("camera.line_crossed")) == 2)
        told = [(e[0], e[2].get("active")) for e in sink.events[before:]]
        assert told[:10] == [
            ("camera.motion", True), ("camera.intrusion", True), ("camera.tamper", True),
            ("camera.object", True), ("device.fault", True), ("camera.count", None),
            ("camera.line_crossed", True), ("camera.motion", False), ("camera.intrusion", False),
            ("camera.line_crossed", False),
        ]  # fmt: skip
        assert sink.of("camera.count") == [{"zone": "Gate", "target": "other", "count": 3}]
        await device.stop()

    run(scenario())


def test_a_reboot_tells_nothing_twice_and_what_ended_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path), sink) as streaming:
            await listening(device, sink)
            device.intrude(active=True)
            device.see(sim.DARK, active=True)
            await sink.until(lambda: sink.of("camera.tamper")[1:])
            before = len(sink.events)
            await device.listener.suspend()
            device.board.forget()
            device.intrude(active=False)
            device.board.remove(sim.DARK, {"Source": "VideoSource_1"}, silently=True)
            await device.listener.start()
            await sink.until(lambda: len(sink.events) >= before + 2)
            told = sorted((e[0], e[2]["active"]) for e in sink.events[before:])
            assert told == [("camera.intrusion", False), ("camera.tamper", False)]
            assert sink.counts["ended_unseen"] == 1
            assert streaming.errors
        await device.stop()

    run(scenario())


def test_a_repeated_crossing_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path, pulse_s=0.1), sink):
            await listening(device, sink)
            point = next(iter(device.board._points.values()))
            device.cross()
            message = point.queue[-1] if point.queue else None
            await sink.until(lambda: len(sink.of("camera.line_crossed")) == 2)
            if message is not None:
                device.board.repeat(message)
                await sink.until(lambda: sink.counts["duplicates"])
            assert len(sink.of("camera.line_crossed")) == 2
        await device.stop()

    run(scenario())


def test_a_silent_subscription_is_found_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path, sync_s=1), sink) as streaming:
            await listening(device, sink)
            device.faults.deaf = True
            await sink.until(lambda: streaming.errors)
            assert "no longer delivers" in str(streaming.errors[0])
            device.faults.deaf = False
            device.intrude(active=True)
            await sink.until(lambda: sink.of("camera.intrusion")[1:])
        await device.stop()

    run(scenario())


def test_a_device_without_synchronisation_or_renewal_is_lived_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        device.faults.no_synchronisation = device.faults.no_renewal = True
        await device.start()
        driver = camera_driver(device, tmp_path, lifetime_s=2)
        async with Streaming(driver, sink) as streaming:
            await listening(device, sink)
            await sink.until(lambda: streaming.errors)
            assert isinstance(streaming.errors[0], DeviceRefusedError), "it ran out, unrenewed"
            device.intrude(active=True)
            await sink.until(lambda: sink.of("camera.intrusion")[1:])
        assert device.calls.count("Renew") <= device.calls.count("CreatePullPointSubscription")
        await device.stop()

    run(scenario())


def test_subscriptions_are_renewed_and_given_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        async with Streaming(camera_driver(device, tmp_path, lifetime_s=2), sink) as streaming:
            await sink.until(lambda: device.calls.count("Renew") >= 2)
            assert streaming.errors == []
            assert device.board.points == 1
        assert device.board.points == 0
        await device.stop()

    run(scenario())


# -- armed ---------------------------------------------------------------------------------------

FIELD, MOTION = "RuleEngine/FieldDetector/ObjectsInside", "VideoSource/MotionAlarm"
ALL = frozenset({FIELD, MOTION, "RuleEngine/MyRuleDetector/PeopleDetect"})
KNOWN = frozenset({"FieldDetector", "LineDetector"})


@pytest.mark.parametrize(
    ("offer", "expect", "missing"),
    [
        (Offer(ALL, frozenset({"FieldDetector"}), KNOWN), [FIELD], None),
        (Offer(ALL, frozenset(), KNOWN), [FIELD, MOTION], FIELD),
        (Offer(frozenset({MOTION}), None), [FIELD, MOTION], FIELD),
        (Offer(ALL, frozenset(), KNOWN), ["RuleEngine/MyRuleDetector/PeopleDetect"], None),
        (Offer(None, None), [FIELD], None),
        (Offer(None, frozenset(), KNOWN), [FIELD], FIELD),
        (Offer(ALL, frozenset(), KNOWN), [], None),
        (Offer(frozenset({FIELD}), frozenset(), KNOWN), [], FIELD),
        (Offer(frozenset(), None), [], "no event that detects anything"),
        (Offer(None, None), [], None),
    ],
)
def test_what_counts_as_armed(offer: Offer, expect: list[str], missing: str | None) -> None:
    assert offer.unarmed(expect, sorted(ALL)) == missing


def test_a_camera_that_is_not_armed_is_told_until_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard", rules=()), Recorder()
        await device.start()
        driver = camera_driver(device, tmp_path, expect=[sim.FIELD, sim.LINE], check_s=1)
        async with Streaming(driver, sink):
            await sink.until(lambda: sink.of("camera.unarmed"))
            assert sink.of("camera.unarmed") == [
                {"active": True, "reason": "not_armed",
                 "events": f"{FIELD}, RuleEngine/LineDetector/Crossed"}
            ]  # fmt: skip
            device.rules.append(Rule("Yard", "tt:FieldDetector"))
            device.rules.append(Rule("Fence", "tt:LineDetector", {"Enabled": "false"}))
            await sink.until(lambda: len(sink.of("camera.unarmed")) == 2)
            assert sink.of("camera.unarmed")[1]["events"] == "RuleEngine/LineDetector/Crossed"
            device.rules[1].parameters["Enabled"] = "true"
            await sink.until(lambda: len(sink.of("camera.unarmed")) == 3)
            assert sink.of("camera.unarmed")[2]["active"] is False
            device.analytics_in_profile = False
            await sink.until(lambda: len(sink.of("camera.unarmed")) == 4)
            assert sink.of("camera.unarmed")[3]["active"] is True
        await device.stop()

    run(scenario())


def test_a_camera_whose_events_never_come_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = OnvifCamera(ScaledClock(), "yard"), Recorder()
        await device.start()
        # A tenth of a minute of watching, on a clock that runs ten times as fast.
        more = {"expect": [sim.FIELD], "seen_within_days": 6 / 86_400}
        driver = camera_driver(device, tmp_path, **more)
        driver._context = context(tmp_path, ScaledClock.starting_now(10))
        async with Streaming(driver, sink):
            await listening(device, sink)
            device.board.synchronise(next(iter(device.board._points.values())))
            await sink.until(lambda: len(sink.of("camera.unarmed")) == 2)
            assert [d["active"] for d in sink.of("camera.unarmed")] == [False, True]
            assert sink.of("camera.unarmed")[1] == {
                "active": True, "reason": "never_seen", "events": FIELD
            }  # fmt: skip
        kept = json.loads((tmp_path / "onvif-seen-cam.json").read_text())
        assert kept["unseen_s"][FIELD] >= 6
        again = Recorder()
        async with Streaming(camera_driver(device, tmp_path, **more), again):
            await again.until(lambda: again.of("camera.unarmed"))
            assert again.of("camera.unarmed")[0]["reason"] == "never_seen", "a restart forgets not"
            device.intrude(active=True)
            await again.until(lambda: len(again.of("camera.unarmed")) == 2)
            assert again.of("camera.unarmed")[1]["active"] is False
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"unseen_s": 3}', '{"unseen_s": {"*": "x"}}', "[" * 100_000]
)
def test_a_spoilt_memory_begins_anew(content: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    path.write_text(content)
    book = SeenBook(path, [ANY])
    book.load()
    assert book.overdue(0.1) == []
    book.watched(5)
    book.save()
    other = SeenBook(path, [ANY])
    other.load()
    assert other.overdue(5) == [ANY]


# -- snapshots -----------------------------------------------------------------------------------


def picture(width: int = 800, height: int = 600) -> bytes:
    good, coded = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert good
    return coded.tobytes()


@pytest.mark.parametrize("sign_in", ["token", "digest"])
def test_a_picture_on_demand(sign_in: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard", picture=picture, sign_in=sign_in)
        device.faults.wrong_host = "192.0.2.7"
        await device.start()
        sink = Recorder()
        driver = camera_driver(device, tmp_path)
        assert driver.actions == {"cam": {Action.SNAPSHOT}}
        await driver.start(sink)
        reply = await driver.act("cam", Action.SNAPSHOT, {})
        ((where, media_id, jpeg),) = sink.pictures
        assert (where, media_id) == ("cam", reply["media"])
        assert jpeg_size(jpeg) == (640, 480)
        with pytest.raises(CommandRefusedError):
            await driver.act("cam", Action.UNLOCK, {})
        await driver.stop()
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        picture()[:300],
        b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff" + bytes(30),
    ],
)
def test_pictures_that_are_none(content: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        device = OnvifCamera(ScaledClock(), "yard", picture=lambda: content)
        await device.start()
        sink = Recorder()
        driver = camera_driver(device, tmp_path)
        await driver.start(sink)
        with pytest.raises(LinkError, match="picture"):
            await driver.act("cam", Action.SNAPSHOT, {})
        assert sink.pictures == []
        await driver.stop()
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    "wrong",
    [
        {"topics": {"a": {"kind": "camera.object"}}}, {"seen_within_days": 0},
        {"topics": {"a": {"kind": "camera.motion", "cause": "dark"}}}, {"device": "a b"},
        {"rules": {"R": {"zone": ""}}}, {"inputs": {"": {"kind": "fire.alarm"}}},
    ],
)  # fmt: skip
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_a_driver_loads_no_opencv_until_a_picture_is_asked_for() -> None:
    code = (
        "import sys, edge.drivers.onvif_camera.driver, edge.drivers.onvif_door.driver\n"
        "assert not {'cv2', 'onvif', 'zeep'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
