"""Each built-in rule has a case that fires it and a near miss that must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.contracts.alerts import AlertState, OperatorSide, state_at
from rules.builtin import builtin
from rules.language import load
from tests.rules.script import EPOCH, Script, at, topology
from tests.rules.test_outages import FREE, TRAPPED

Play = Callable[[Script], object]


def feed(device: str, kind: str, seconds: int, step: int = 5, **data: Any) -> Play:
    """Repeat an event for a while."""

    def play(script: Script) -> None:
        end = script.now + seconds
        while script.now < end:
            script.send(device, kind, **data)
            script.run(min(script.now + step, end))
        script.send(device, kind, **data)

    return play


def once(device: str, kind: str, wait: float = 0, **data: Any) -> Play:
    def play(script: Script) -> None:
        script.send(device, kind, **data)
        script.run(script.now + wait)

    return play


def several(device: str, kind: str, times: int, apart: float, **data: Any) -> Play:
    def play(script: Script) -> None:
        for _ in range(times):
            script.send(device, kind, **data)
            script.run(script.now + apart)

    return play


def control(kind: str, wait: float = 0, **data: Any) -> Play:
    def play(script: Script) -> None:
        script.control(kind, data)
        script.run(script.now + wait)

    return play


def meter(seconds: int = 150, **data: Any) -> Play:
    return feed("meter1", "meter.reading", seconds, 30, **({"medium": "electricity"} | data))


def fault(name: str, *, active: bool = True, **more: Any) -> Play:
    return once("lift1", "elevator.fault", fault=name, active=active, raw_code="x", **more)


def plain_lift(seconds: int, **changes: Any) -> Play:
    """A lift that speaks for itself."""

    def play(script: Script) -> None:
        end = script.now + seconds
        while script.now < end:
            script.plain("lift3", "elevator.status", **(FREE | changes))
            script.run(min(script.now + 5, end))
        script.plain("lift3", "elevator.status", **(FREE | changes))

    return play


def lift_access(times: int, granted: list[int]) -> Play:
    return several("lift1", "elevator.access", times, 10, granted_floors=granted, refused_floors=[])


def seen(kind: str, wait: float = 0, **data: Any) -> Play:
    return once("cam1", f"camera.{kind}", wait, **{"active": True, **data})


def reported(event: str, wait: float = 0, *, active: bool = True) -> Play:
    return once("meter1", "meter.event", wait, medium="electricity", event=event, active=active)


def configured(outcome: str) -> Play:
    return once("e1", "edge.configuration", outcome=outcome, digest="d", drivers=1, devices=1)


def status(seconds: int, **changes: Any) -> Play:
    return feed("lift1", "elevator.status", seconds, **(FREE | changes))


def quiet(seconds: float) -> Play:
    def play(script: Script) -> None:
        script.send("meter1", "meter.reading", medium="electricity", power_w=1.0)
        script.run(script.now + seconds)

    return play


def gateway(wait: float, **data: Any) -> Play:
    told = {"gateway": "10.0.0.9:8001", "devices": 3, "cause": "network", **data}
    return once("e1", "edge.gateway", wait, **told)


THREE = {"voltage_l1_v": 230.0, "voltage_l2_v": 229.0}
CASES: list[tuple[str, str, Play, Play]] = [
    ("lift-entrapment", "red", fault("entrapment"), fault("door_close")),
    ("lift-entrapment", "red", fault("entrapment", derived=True, floor=7),
     fault("entrapment", active=False, derived=True)),
    ("lift-entrapment-status", "red", plain_lift(31, **TRAPPED), plain_lift(28, **TRAPPED)),
    ("lift-entrapment-status", "red",
     plain_lift(31, occupied=True, alarm_button=True), plain_lift(60, occupied=True)),
    ("lift-entrapment-status", "red", plain_lift(31, occupied=True, in_door_zone=False),
     plain_lift(60, occupied=True, in_door_zone=False, door_closed=False)),
    # An edge concludes for its own lifts.
    ("lift-entrapment-status", "red", plain_lift(31, **TRAPPED), status(60, **TRAPPED)),
    ("lift-access-refused", "blue", lift_access(5, []), lift_access(4, [])),
    ("lift-access-refused", "blue", lift_access(5, []), lift_access(9, [3])),
    ("lift-alarm-button", "orange", once("lift1", "elevator.alarm_button", active=True),
     once("lift1", "elevator.alarm_button", active=False)),
    ("lift-fault", "orange", fault("door_close"), fault("entrapment")),
    ("lift-fault", "red", fault("overspeed"), fault("overspeed", active=False)),
    ("lift-power-off", "yellow", fault("main_power_off"), fault("out_of_service")),
    ("lift-out-of-service", "blue", status(65, service_mode="inspection"),
     status(50, service_mode="inspection")),
    ("door-duress", "red", once("door1", "access.duress"), once("door1", "access.granted")),
    ("door-forced", "orange", once("door1", "access.forced"), once("door1", "access.exit_button")),
    ("door-held-open", "yellow", once("door1", "access.held_open"),
     once("door1", "access.door", 60, open=True)),
    ("door-held-open", "orange", once("door1", "access.held_open", 601),
     once("door1", "access.granted", 601)),
    ("door-blacklisted", "orange", once("door1", "access.blacklisted"),
     once("door1", "access.denied", reason="expired")),
    ("door-repeated-denials", "yellow", several("door1", "access.denied", 5, 10, reason="expired"),
     several("door1", "access.denied", 4, 10, reason="expired")),
    ("door-repeated-denials", "yellow", several("door1", "access.denied", 5, 29, reason="expired"),
     several("door1", "access.denied", 12, 31, reason="expired")),
    ("door-fire-release", "orange", once("door1", "access.fire_release", active=True),
     once("door1", "access.fire_release", active=False)),
    ("door-tailgate", "blue", once("door1", "access.tailgate", persons=2),
     once("door1", "access.granted")),
    ("meter-overload", "yellow", meter(power_w=8100.0), meter(power_w=8000.0)),
    ("meter-overload", "orange", meter(power_w=9700.0), meter(60, power_w=9700.0)),
    ("meter-overload", "yellow", meter(power_w=8100.0), meter(medium="water", power_w=9000.0)),
    ("meter-overvoltage", "orange", meter(voltage_l1_v=250.0), meter(voltage_l1_v=236.0)),
    ("meter-undervoltage", "yellow", meter(voltage_l1_v=190.0), meter(voltage_l1_v=200.0)),
    ("meter-phase-loss", "orange", meter(**THREE, voltage_l3_v=3.0),
     meter(**THREE, voltage_l3_v=228.0)),
    ("meter-phase-loss", "orange", meter(**THREE, voltage_l3_v=3.0), meter(voltage_l1_v=2.0)),
    ("meter-relay-opened", "blue", meter(0, relay_closed=False), meter(0, power_w=0.0)),
    ("meter-cover-opened", "yellow",
     once("meter1", "meter.event", medium="electricity", event="cover_opened", active=True),
     once("meter1", "meter.event", medium="electricity", event="battery_low", active=True)),
    ("meter-leak", "red", once("meter1", "meter.event", medium="gas", event="leak", active=True),
     once("meter1", "meter.event", medium="gas", event="leak", active=False)),
    ("meter-overvoltage", "orange", reported("overvoltage", 61), reported("overvoltage", 58)),
    ("meter-undervoltage", "yellow", reported("undervoltage", 121), reported("overvoltage", 121)),
    ("meter-phase-loss", "orange", reported("phase_loss", 31), reported("current_loss", 31)),
    ("meter-reverse-power", "yellow", reported("reverse_power"),
     reported("reverse_power", active=False)),
    ("meter-current-loss", "yellow", reported("current_loss"), reported("phase_loss")),
    ("meter-register", "yellow", reported("register_backwards"), reported("register_rollover")),
    ("meter-battery-low", "blue", reported("battery_low"), reported("battery_low", active=False)),
    ("vehicle-blacklisted", "yellow", once("door1", "vehicle.denied", reason="blacklisted"),
     once("door1", "vehicle.denied", reason="unknown")),
    ("device-tamper", "yellow", once("cam1", "device.tamper", active=True, part="cover"),
     once("cam1", "device.tamper", active=False, part="cover")),
    ("device-tamper", "orange", once("door1", "device.tamper", active=True, part="controller"),
     once("door1", "device.fault", active=True, fault="other")),
    ("device-fault", "blue", once("cam1", "device.fault", active=True, fault="fan"),
     once("cam1", "device.fault", active=False, fault="fan")),
    ("device-fault", "yellow", once("door1", "device.fault", active=True, fault="mains_off"),
     once("door1", "device.tamper", active=True, part="reader")),
    ("camera-e-bike", "orange", seen("object", target="e_bike", zone="car"),
     seen("object", target="person", zone="car")),
    ("camera-fire", "red", seen("object", target="smoke"), seen("object", target="vehicle")),
    ("camera-person", "red", seen("object", target="person", zone="shaft"),
     seen("object", target="person", zone="hall")),
    ("camera-line-crossed", "orange", seen("line_crossed", zone="intrusion-line"),
     seen("line_crossed", zone="door")),
    ("camera-unarmed", "blue", seen("unarmed", reason="not_armed", events="fielddetection"),
     seen("unarmed", reason="not_armed", active=False)),
    ("configuration-refused", "yellow", configured("refused"), configured("applied")),
    ("fire-lane-blocked", "orange",
     once("cam1", "camera.zone_occupied", zone="fire_lane", active=True),
     once("cam1", "camera.zone_occupied", zone="lawn", active=True)),
    ("zone-occupied", "yellow", once("cam1", "camera.zone_occupied", zone="lawn", active=True),
     once("cam1", "camera.zone_occupied", zone="fire-lane", active=True)),
    ("camera-intrusion", "orange", once("cam1", "camera.intrusion", zone="roof", active=True),
     once("cam1", "camera.motion", zone="roof", active=True)),
    ("camera-tamper", "yellow", once("cam1", "camera.tamper", 11, active=True, cause="covered"),
     once("cam1", "camera.tamper", 9, active=True, cause="covered")),
    ("camera-video-loss", "yellow", once("cam1", "camera.video_loss", 16, active=True),
     once("cam1", "camera.video_loss", 14, active=True)),
    ("camera-frozen", "yellow", once("cam1", "camera.frozen", active=True),
     once("cam1", "camera.frozen", active=False)),
    ("camera-left-object", "blue", once("cam1", "camera.left_object", active=True),
     once("cam1", "camera.left_object", active=False)),
    ("camera-left-object", "yellow", once("cam1", "camera.left_object", 1801, active=True),
     once("cam1", "camera.line_crossed", 1801, active=True)),
    ("fire-alarm", "red", once("fire1", "fire.alarm", active=True, point="3-12"),
     once("fire1", "fire.alarm", active=False, point="3-12")),
    ("fire-fault", "yellow", once("fire1", "fire.fault", active=True),
     once("fire1", "fire.alarm", active=True)),
    ("device-silent", "blue", quiet(181), quiet(178)),
    ("device-unreachable", "yellow", once("cam1", "device.health", 61, online=False),
     once("cam1", "device.health", 58, online=False)),
    ("device-unreachable", "yellow", once("cam1", "device.health", 61, online=False),
     once("cam1", "device.health", 600, online=False, cause="gateway", root="10.0.0.9:8001")),
    ("gateway-unreachable", "yellow", gateway(61, online=False), gateway(58, online=False)),
    ("gateway-unreachable", "yellow", gateway(61, online=False), gateway(61, online=True)),
    ("gateway-unreachable", "orange", gateway(1865, online=False, devices=10),
     gateway(61, online=True, devices=10)),
    ("edge-offline", "yellow", control("edge.offline", 16, epoch=EPOCH, clean=False),
     control("edge.offline", 14, epoch=EPOCH, clean=True)),
    ("edge-offline", "yellow", control("edge.offline", 16, epoch=EPOCH, clean=False),
     control("edge.offline", 16, epoch=EPOCH, clean=False, cause="broker")),
    ("broker-unreachable", "orange",
     control("edge.offline", 16, epoch=EPOCH, clean=False, cause="broker"),
     control("edge.offline", 14, epoch=EPOCH, clean=False, cause="broker")),
    ("broker-unreachable", "orange",
     control("edge.offline", 16, epoch=EPOCH, clean=False, cause="broker"),
     control("edge.offline", 16, epoch=EPOCH, clean=False)),
    ("data-dropped", "yellow",
     once("e1", "edge.dropped", lane="reading", first_seq=1, last_seq=9, events=9, reason="budget"),
     once("e1", "edge.clock", skew_s=9.0)),
    ("data-lost", "yellow", control("edge.epoch_abandoned", epoch=EPOCH, successor="another-epoch"),
     control("edge.clock", skew_s=9.0)),
    ("clock-skew", "blue", once("e1", "edge.clock", skew_s=9.0),
     control("edge.identity_clash", epoch=EPOCH, lane="event", seq=3)),
]  # fmt: skip


def play(case: Play) -> Script:
    raw = topology()
    name = {"zh": "电梯", "en": "lift"}
    raw["devices"].append(
        {"id": "lift3", "family": "elevator", "name": name, "node": "b1-u1", "expect_s": 5}
    )
    script = Script(builtin(), raw)
    script.online()
    script.run(1)
    case(script)
    return script


@pytest.mark.parametrize(("rule", "colour", "fires", "misses"), CASES)
def test_fires_and_nearly_fires(rule: str, colour: str, fires: Play, misses: Play) -> None:
    standing = play(fires).standing(rule)
    if rule == "device-silent":  # every other device with an interval is silent too
        standing = [alert for alert in standing if alert.device == "meter1"]
    (alert,) = standing
    assert alert.colour == colour
    for text in (alert.title_zh, alert.title_en, alert.advice_zh, alert.advice_en):
        assert text
        assert "{" not in text
    missed = play(misses).alerts(rule)
    assert not [alert for alert in missed if rule != "device-silent" or alert.device == "meter1"]


def test_every_built_in_rule_has_a_case() -> None:
    assert {rule for rule, *_ in CASES} == {rule.id for rule in load(builtin()).rules}


def test_an_overload_has_hysteresis_and_says_why() -> None:
    script = play(meter(power_w=8100.0))
    (alert,) = script.standing("meter-overload")
    assert alert.reason["values"] == {
        "medium": "electricity", "power_w": 8100.0, "device.limits.power_w": 8000.0,
    }  # fmt: skip
    assert "已持续2分钟" in str(alert.reason["zh"])
    assert "held for 2 min" in str(alert.reason["en"])
    assert alert.reason["event"] == {
        "edge": "e1", "epoch": EPOCH, "lane": "reading", "seq": 1, "index": 0,
    }  # fmt: skip
    script.send("meter1", "meter.reading", medium="electricity", power_w=7900.0)
    assert script.standing("meter-overload")
    script.send("meter1", "meter.reading", medium="electricity")
    assert script.standing("meter-overload")
    script.send("meter1", "meter.reading", medium="electricity", power_w=7000.0)
    assert not script.standing("meter-overload")


def test_worse_asks_again_and_better_does_not() -> None:
    script = play(meter(power_w=8100.0))
    meter(0, power_w=9900.0)(script)
    meter(0, power_w=8100.0)(script)
    assert script.said("meter-overload") == [
        ("raised", "yellow"), ("worsened", "orange"), ("eased", "yellow"),
    ]  # fmt: skip
    (alert,) = script.standing("meter-overload")
    assert (alert.revision, alert.attention) == (3, 2)
    seen = OperatorSide(acknowledged_at=at(0), acknowledged_revision=1)
    assert state_at(alert, seen, at(1)) is AlertState.UNACKNOWLEDGED


def test_a_forced_door_is_over_when_it_closes() -> None:
    script = play(once("door1", "access.forced"))
    script.send("door1", "access.forced")
    script.send("door2", "access.door", open=False)
    assert len(script.standing("door-forced")) == 1
    script.send("door1", "access.door", open=False)
    assert script.said("door-forced") == [("raised", "orange"), ("cleared", "orange")]


def test_each_zone_has_an_alert_of_its_own() -> None:
    script = play(once("cam1", "camera.intrusion", zone="roof", active=True))
    script.send("cam1", "camera.intrusion", zone="yard", active=True)
    script.send("cam1", "camera.intrusion", zone="roof", active=False)
    assert [a.key for a in script.standing("camera-intrusion")] == ["cam1/yard"]


def test_a_voltage_that_is_measured_and_reported_is_one_alert() -> None:
    script = play(reported("overvoltage", 61))
    script.send("meter1", "meter.reading", medium="electricity", voltage_l1_v=255.0)
    assert len(script.alerts("meter-overvoltage")) == 1
    script.send("meter1", "meter.reading", medium="electricity", voltage_l1_v=230.0)
    assert script.said("meter-overvoltage") == [("raised", "orange"), ("cleared", "orange")]


def test_an_entrapment_is_one_red_alert() -> None:
    """What the edge concluded, and what the lift says beside it, stand one at a time."""
    script = play(fault("entrapment", derived=True))
    script.send("lift1", "elevator.fault", fault="entrapment", active=True, raw_code="13")
    script.send(
        "lift1", "elevator.fault", fault="entrapment", active=False, raw_code="x", derived=True
    )
    assert [alert.key for alert in script.standing("lift-entrapment")] == ["lift1/13"]
    assert not script.alerts("lift-entrapment-status")
