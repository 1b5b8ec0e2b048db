"""ONVIF doors: what profiles A and C tell, who is named to nobody, and the release of a door."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.contracts.commands import Action
from core.contracts.errors import DeviceRefusedError
from core.runtime.clock import ScaledClock
from edge.driver import CommandRefusedError, LinkError
from edge.drivers.onvif_door.settings import AccessPointSettings, OnvifDoorSettings
from edge.drivers.onvif_door.translate import DoorTranslator
from edge.observation import Observation
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import Skipped
from edge.pseudonym import Pseudonyms
from simulators.devices.onvif import AccessPoint, OnvifDoors

from .onvif_support import door_driver, entry, listening
from .support import START, Recorder, Streaming, run

CHANGED = Operation.CHANGED


def doors() -> OnvifDoors:
    return OnvifDoors(ScaledClock(), "gate", ["D1", "D2"], sign_in="token")


def translator(**more: Any) -> DoorTranslator:
    points = {
        "AP1": AccessPointSettings(door="D1", direction="in"),
        "REX": AccessPointSettings(door="D1", exit_button=True),
    }
    return DoorTranslator(
        {"D1": "door-1", "D2": "door-2"}, points, Pseudonyms(bytes(32)),
        more.get("grace", 0.0),
    )  # fmt: skip


def told(
    subject: DoorTranslator, notification: Notification, at: int = START
) -> list[Observation] | str:
    found = subject.translate(notification, at)
    subject.committed(notification, [] if isinstance(found, Skipped) else found, at)
    return found.reason if isinstance(found, Skipped) else found


def state(aspect: str, value: str, door: str = "D1", operation: Operation = CHANGED) -> Any:
    return Notification(
        f"Door/State/{aspect}", {"DoorToken": door}, {"State": value}, operation, START
    )


def access(
    what: str, data: dict[str, str] | None = None, point: str = "AP1", at: int = START
) -> Any:
    return Notification(
        f"AccessControl/{what}", {"AccessPointToken": point}, data or {}, Operation.EVENT, at
    )


# -- topics of DOMAIN.md section 3 ---------------------------------------------------------------

STATES = [
    ("DoorPhysicalState", "Open", "access.door", {"open": True}),
    ("DoorPhysicalState", "Closed", "access.door", {"open": False}),
    ("DoorPhysicalState", "Fault", "device.fault",
     {"fault": "sensor", "active": True, "part": "door_monitor"}),
    ("LockPhysicalState", "Fault", "device.fault",
     {"fault": "sensor", "active": True, "part": "lock"}),
    ("DoorAlarm", "DoorForcedOpen", "access.forced", {"raw_code": "DoorAlarm=DoorForcedOpen"}),
    ("DoorAlarm", "DoorOpenTooLong", "access.held_open",
     {"raw_code": "DoorAlarm=DoorOpenTooLong"}),
    ("DoorTamper", "TamperDetected", "device.tamper",
     {"active": True, "part": "other", "raw_code": "DoorTamper=TamperDetected"}),
    ("DoorTamper", "NotInTamper", "device.tamper",
     {"active": False, "part": "other", "raw_code": "DoorTamper=NotInTamper"}),
    ("DoorFault", "FaultDetected", "device.fault",
     {"fault": "other", "active": True, "part": "door", "raw_code": "DoorFault=FaultDetected"}),
]  # fmt: skip


@pytest.mark.parametrize(("aspect", "value", "kind", "data"), STATES)
def test_states_of_doors(aspect: str, value: str, kind: str, data: dict[str, Any]) -> None:
    assert told(translator(), state(aspect, value)) == [Observation(kind, "door-1", data, START)]


@pytest.mark.parametrize(
    ("aspect", "value"),
    [("LockPhysicalState", "Unlocked"), ("DoorAlarm", "Normal"), ("DoorMode", "Accessed")],
)
def test_states_that_are_no_event(aspect: str, value: str) -> None:
    assert told(translator(), state(aspect, value)) == []


@pytest.mark.parametrize(
    ("notification", "counter"),
    [
        (state("DoorPhysicalState", "Open", "D9"), "unknown_doors"),
        (state("DoorPhysicalState", ""), "states_without_value"),
        (state("DoorTamper", "Unknown"), "states_without_value"),
        (state("DoorPhysicalState", "Open", operation=Operation.DELETED), "states_without_value"),
        (access("AccessGranted/Credential", point="AP9"), "unknown_access_points"),
        (Notification("Configuration/Door/Changed"), "topics_without_event"),
        (Notification("Door/State/DoorWarning"), "topics_without_event"),
        (access("AccessNotTaken/Credential"), "topics_without_event"),
        (Notification("Vendor/Something"), "unknown_topics"),
        (access("Whatever"), "unknown_topics"),
    ],
)
def test_what_is_not_told_is_counted(notification: Notification, counter: str) -> None:
    assert told(translator(), notification) == counter


REASONS = [
    ("CredentialNotEnabled", "no_permission"), ("CredentialNotActive", "wrong_time"),
    ("CredentialExpired", "expired"), ("InvalidPIN", "no_match"),
    ("NotPermittedAtThisTime", "wrong_time"), ("Unauthorized", "no_permission"),
    ("Other", "other"), ("Vendor specific", "other"), ("", "other"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "ours"), REASONS)
def test_reasons_of_refusals(reason: str, ours: str) -> None:
    (found,) = told(translator(), access("Denied/Credential", {"Reason": reason}))
    assert isinstance(found, Observation)
    assert found.kind == "access.denied"
    assert found.data["reason"] == ours
    assert (found.data["reader"], found.data["direction"]) == ("AP1", "in")


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("Denied/Credential/NotPermittedAtThisTime", {"reason": "wrong_time"}),
        ("Denied/CredentialNotFound/Card", {"reason": "unknown_credential", "credential": "card"}),
        ("Denied/CredentialNotFound/PIN", {"reason": "unknown_credential", "credential": "pin"}),
        ("Denied/Authentication/InvalidPIN", {"reason": "no_match", "credential": "pin"}),
        ("Denied/Anonymous", {"reason": "other"}),
    ],
)
def test_reasons_in_topics(what: str, data: dict[str, str]) -> None:
    (found,) = told(translator(), access(what))
    assert isinstance(found, Observation)
    assert found.data.items() >= data.items()


def test_grants_duress_and_exit_buttons() -> None:
    subject = translator()
    (granted,) = told(subject, access("AccessGranted/Credential", {"CredentialToken": "c1"}))
    (duress,) = told(subject, access("Duress", {"CredentialToken": "c1"}))
    (button,) = told(subject, access("AccessGranted/Anonymous", point="REX"))
    (remote,) = told(subject, access("AccessGranted/Anonymous"))
    found = [granted, duress, button, remote]
    assert all(isinstance(item, Observation) for item in found)
    assert [item.kind for item in found if isinstance(item, Observation)] == [
        "access.granted", "access.duress", "access.exit_button", "access.granted"
    ]  # fmt: skip
    assert isinstance(granted, Observation)
    assert isinstance(duress, Observation)
    assert granted.data["person"] == duress.data["person"]


def test_taken_is_told_only_where_the_grant_was_missed() -> None:
    subject = translator()
    told(subject, access("AccessGranted/Credential", {"CredentialToken": "c1"}))
    taken = access("AccessTaken/Credential", {"CredentialToken": "c1"}, at=START + 3000)
    assert told(subject, taken, START + 3000) == "taken_after_grant"
    (found,) = told(translator(), taken, START + 3000)
    assert isinstance(found, Observation)
    assert found.kind == "access.granted"
    assert found.data["raw_code"] == "AccessControl/AccessTaken/Credential"


def test_a_state_is_told_once_and_a_repetition_not_at_all() -> None:
    subject = translator()
    assert len(told(subject, state("DoorPhysicalState", "Open"))) == 1
    again = state("DoorPhysicalState", "Open", operation=Operation.INITIALIZED)
    assert told(subject, again) == []
    grant = access("AccessGranted/Credential", {"CredentialToken": "c1"})
    assert len(told(subject, grant)) == 1
    assert told(subject, grant) == "duplicates"
    later = access("AccessGranted/Credential", {"CredentialToken": "c1"}, at=START + 1)
    assert len(told(subject, later)) == 1


def test_nothing_is_remembered_before_it_is_committed() -> None:
    subject = translator()
    notification = state("DoorAlarm", "DoorForcedOpen")
    assert subject.translate(notification, START) == subject.translate(notification, START) != []


def test_a_fault_of_the_contact_ends_with_its_next_state() -> None:
    subject = translator()
    told(subject, state("DoorPhysicalState", "Fault"))
    ended, door = told(subject, state("DoorPhysicalState", "Closed"))
    assert isinstance(ended, Observation)
    assert isinstance(door, Observation)
    assert (ended.kind, ended.data["active"]) == ("device.fault", False)
    assert door.data == {"open": False}


def test_held_open_tells_how_long() -> None:
    subject = translator()
    told(subject, state("DoorPhysicalState", "Open"))
    (held,) = told(subject, state("DoorAlarm", "DoorOpenTooLong"), START + 30_000)
    assert isinstance(held, Observation)
    assert held.data["open_s"] == 30


@pytest.mark.parametrize(
    ("release", "after_ms", "reported"),
    [
        (access("AccessGranted/Anonymous", point="REX"), 4_000, False),
        (access("AccessGranted/Anonymous", point="REX"), 6_000, True),
        (state("DoorMode", "Accessed"), 4_000, False),
        (state("DoorMode", "LockedOpen"), 60_000, False),
        (state("DoorMode", "Locked"), 1_000, True),
        (state("DoorMode", "LockedOpen", "D2"), 1_000, True),
    ],
)
def test_forced_after_a_release(release: Notification, after_ms: int, reported: bool) -> None:
    subject = translator(grace=5.0)
    told(subject, release)
    forced = told(subject, state("DoorAlarm", "DoorForcedOpen"), START + after_ms)
    assert (forced != "forced_after_release") is reported
    assert told(subject, state("DoorAlarm", "DoorForcedOpen"), START + after_ms) == []


# -- on the wire ---------------------------------------------------------------------------------


def test_a_day_at_the_gate(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = doors(), Recorder()
        await device.start()
        async with Streaming(door_driver(device, tmp_path), sink):
            await listening(device, sink)
            assert {e[1] for e in sink.events if e[0] == "access.door"} == {"door-1", "door-2"}
            before = len(sink.events)
            device.grant("AP-D1", "token-4711", "张三")
            device.open("D1")
            device.take("AP-D1", "token-4711", "张三")
            device.close("D1")
            device.deny("AP-D2", "token-4711", "NotPermittedAtThisTime", "张三")
            device.deny_unknown("AP-D2", "3141592653")
            device.duress("AP-D2")
            device.force("D2")
            await sink.until(lambda: sink.of("access.forced"))
        await device.stop()
        happened = [(e[0], e[1]) for e in sink.events[before:]]
        assert happened == [
            ("access.granted", "door-1"), ("access.door", "door-1"), ("access.door", "door-1"),
            ("access.denied", "door-2"), ("access.denied", "door-2"), ("access.duress", "door-2"),
            ("access.door", "door-2"), ("access.forced", "door-2"),
        ]  # fmt: skip
        told_ = json.dumps(sink.events, ensure_ascii=False)
        assert not any(secret in told_ for secret in ("4711", "张三", "3141592653"))
        granted, denied = sink.of("access.granted")[0], sink.of("access.denied")[0]
        assert re.fullmatch(r"p-[0-9a-f]{24}", granted["person"])
        assert granted["person"] == denied["person"]
        assert sink.counts["taken_after_grant"] == 1
        assert (tmp_path / "pseudonym.key").stat().st_mode & 0o077 == 0

    run(scenario())


def test_what_happens_while_nobody_listens_is_told_as_it_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = doors(), Recorder()
        await device.start()
        async with Streaming(door_driver(device, tmp_path), sink):
            await listening(device, sink)
            await device.listener.suspend()
            before = len(sink.events)
            device.force("D2")
            device.set_state("D1", "DoorTamper", "TamperDetected")
            device.board.forget()
            await device.listener.start()
            await sink.until(lambda: len(sink.events) >= before + 3)
            assert sorted((e[0], e[1]) for e in sink.events[before:]) == [
                ("access.door", "door-2"), ("access.forced", "door-2"), ("device.tamper", "door-1"),
            ]  # fmt: skip
            count = len(sink.events)
            await device.reboot()
            device.close("D2")
            await sink.until(lambda: len(sink.events) > count)
            assert [(e[0], e[2]) for e in sink.events[count:]] == [("access.door", {"open": False})]
        await device.stop()

    run(scenario())


def test_a_door_is_released(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = doors(), Recorder()
        await device.start()
        driver = door_driver(device, tmp_path, forced_grace_s=5)
        assert driver.actions == {"door-1": {Action.UNLOCK}, "door-2": {Action.UNLOCK}}
        await driver.start(sink)
        assert await driver.act("door-2", Action.UNLOCK, {}) == {}, "also without a subscription"
        assert device.unlocked == ["D2"]
        for device_, action, params in (
            ("door-9", Action.UNLOCK, {}), ("door-1", Action.SNAPSHOT, {}),
            ("door-1", Action.UNLOCK, {"for_s": 3}),
        ):  # fmt: skip
            with pytest.raises(CommandRefusedError):
                await driver.act(device_, action, params)
        del device.doors["D1"]
        with pytest.raises(DeviceRefusedError) as refused:
            await driver.act("door-1", Action.UNLOCK, {})
        assert refused.value.code == "NotFound"
        await device.stop()
        with pytest.raises(LinkError):
            await driver.act("door-2", Action.UNLOCK, {})
        await driver.stop()
        assert device.unlocked == ["D2"]

    run(scenario())


def test_a_release_whose_answer_is_lost_is_not_sent_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        device = doors()
        await device.start()
        driver = door_driver(device, tmp_path)
        await driver.start(Recorder())
        await driver._client.connect()
        device.listener.faults.cut = True
        with pytest.raises(LinkError):
            await driver.act("door-1", Action.UNLOCK, {})
        assert device.unlocked == ["D1"]
        await driver.stop()
        await device.stop()

    run(scenario())


def test_access_points_are_asked_for_and_can_be_configured(tmp_path: Path) -> None:
    async def scenario() -> None:
        points = [AccessPoint("in", "D1"), AccessPoint("out", "D1"), AccessPoint("other", "D7")]
        device = OnvifDoors(ScaledClock(), "gate", ["D1", "D2"], access_points=points)
        await device.start()
        sink = Recorder()
        more = {"access_points": {"out": {"door": "D1", "direction": "out", "exit_button": True}}}
        async with Streaming(door_driver(device, tmp_path, **more), sink):
            await listening(device, sink)
            device.grant("in", "c")
            device.grant("out")
            device._happen("AccessGranted/Anonymous", "other", {})
            await sink.until(lambda: sink.counts["unknown_access_points"])
        assert [d["reader"] for d in sink.of("access.granted")] == ["in"]
        assert sink.of("access.exit_button")[0]["direction"] == "out"
        await device.stop()

    run(scenario())


def test_inputs_are_what_the_configuration_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        device, sink = doors(), Recorder()
        device.switch_input("button", active=True)
        device.switch_input("line", active=True)
        await device.start()
        inputs = {
            "button": {"kind": "access.exit_button", "device": "door-2"},
            "fire": {"kind": "access.fire_release"},
            "line": {"kind": "fire.fault", "device": "panel", "inverted": True},
        }
        driver = door_driver(device, tmp_path, inputs=inputs, forced_grace_s=5)
        assert driver.devices == ("door-1", "door-2", "panel")
        async with Streaming(driver, sink):
            await listening(device, sink)
            assert sink.of("access.exit_button") == [], "it was pressed before"
            assert sink.of("fire.fault", "panel") == [{"active": False, "point": "line"}]
            device.switch_input("button", active=False)
            device.switch_input("button", active=True)
            device.switch_input("fire", active=True)
            device.force("D1")
            device.switch_input("spare", active=True)
            await sink.until(lambda: sink.counts["unknown_inputs"])
        assert sink.of("access.exit_button") == [{"credential": "button"}]
        assert [d["active"] for d in sink.of("access.fire_release")] == [True, True]
        assert sink.of("access.forced") == []
        assert sink.counts["forced_after_release"] == 1
        await device.stop()

    run(scenario())


@pytest.mark.parametrize(
    "wrong",
    [
        {"doors": {}}, {"doors": {"D1": "a", "D2": "a"}}, {"password_env": "X"},
        {"access_points": {"x": {"door": "D9"}}}, {"base_url": "http://a/b"},
        {"base_url": "http://user@a"}, {"inputs": {"1": {"kind": "camera.motion"}}},
        {"pull_s": 0}, {"path": "no"},
    ],
)  # fmt: skip
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    raw = entry(doors(), driver="onvif_door", doors={"D1": "door-1"}, base_url="http://a")
    OnvifDoorSettings.model_validate(raw)
    with pytest.raises(ValidationError):
        OnvifDoorSettings.model_validate(raw | wrong)
