"""Report on change or period, and what stands."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.contracts.codec import make_event
from edge.driver import ReportRule, health_rule
from edge.report import Reporter, changed

from .support import START, FakeClock, Recorder, run

LIFT = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
    "floor": 1, "door_closed": True, "occupied": False, "load_kg": 0.0, "trips": 1,
}  # fmt: skip
RULE = ReportRule(30, {"load_kg": 50}, frozenset({"trips"}))


def reporter() -> tuple[Reporter, Recorder, FakeClock]:
    clock = FakeClock()
    sink = Recorder(clock=clock)
    made = Reporter(sink, clock.now_ms)
    made.set_rules(["lift"], {"elevator.status": RULE, "device.health": health_rule(60)})
    return made, sink, clock


def test_change_deadband_and_period() -> None:
    async def scenario() -> None:
        report, sink, clock = reporter()

        async def status(**changes: Any) -> bool:
            before = len(sink.events)
            await report.emit("elevator.status", "lift", LIFT | changes)
            return len(sink.events) > before

        assert await status()
        assert not await status()
        assert not await status(load_kg=50.0, trips=9)
        assert await status(load_kg=51.0)
        assert not await status(load_kg=2.0)  # measured against what was last reported
        assert await status(floor=2, load_kg=51.0)
        clock.now += 29_999
        assert not await status(floor=2, load_kg=51.0)
        clock.now += 1
        assert await status(floor=2, load_kg=51.0)
        clock.now -= 3_600_000  # a clock that is set back silences nobody
        assert await status(floor=2, load_kg=51.0)
        without = {name: value for name, value in LIFT.items() if name != "load_kg"}
        await report.emit("elevator.status", "lift", without | {"floor": 2})
        assert "load_kg" not in sink.events[-1][2]
        assert report.held_back == 4

    run(scenario())


def test_kinds_and_devices_without_a_rule_always_pass() -> None:
    async def scenario() -> None:
        report, sink, _ = reporter()
        for _ in range(3):
            await report.emit("access.granted", "door", {})
            await report.emit("elevator.status", "another", LIFT)
        assert len(sink.events) == 6

    run(scenario())


def test_what_could_not_be_kept_is_reported_again() -> None:
    async def scenario() -> None:
        report, sink, _ = reporter()
        sink.refuse = lambda kind: OSError("full")
        for _ in range(2):
            try:
                await report.emit("elevator.status", "lift", LIFT)
            except OSError:
                continue
        assert report.standing() == []
        sink.refuse = lambda kind: None
        await report.emit("elevator.status", "lift", LIFT)
        assert len(sink.events) == 1

    run(scenario())


def test_standing_states_keep_the_time_they_began() -> None:
    async def scenario() -> None:
        report, _, clock = reporter()
        await report.emit("elevator.status", "lift", LIFT)
        await report.emit("device.health", "lift", {"online": True, "latency_ms": 3.0})
        for code in ("04", "77"):
            data = {"fault": "other", "active": True, "raw_code": code}
            await report.emit("elevator.fault", "lift", data)
        for zone in ("lane", "gate"):
            data = {"active": True, "zone": zone}
            await report.emit("camera.zone_occupied", "cam", data)
        await report.emit("camera.motion", "cam", {"active": True, "zone": "lane"})
        await report.emit("access.door", "door", {"open": True, "serial": 1})
        clock.now += 5_000
        # Repeated, with other details: the same state.
        await report.emit("elevator.status", "lift", LIFT | {"trips": 2, "load_kg": 20.0})
        await report.emit("device.health", "lift", {"online": True, "latency_ms": 9.0})
        await report.emit("access.door", "door", {"open": True, "serial": 2})
        # Ended.
        data = {"fault": "other", "active": False, "raw_code": "04"}
        await report.emit("elevator.fault", "lift", data)
        await report.emit("camera.zone_occupied", "cam", {"active": False, "zone": "gate"})

        snapshots = dict(report.standing())
        for device, data in snapshots.items():
            make_event("device.snapshot", device=device, at=clock.now, seen=clock.now, data=data)
            assert all(state["since"] == START for state in data["states"])
        kinds = {d: sorted(s["kind"] for s in v["states"]) for d, v in snapshots.items()}
        assert kinds == {
            "lift": ["device.health", "elevator.fault", "elevator.status"],
            "cam": ["camera.zone_occupied"],
            "door": ["access.door"],
        }
        status = next(s for s in snapshots["lift"]["states"] if s["kind"] == "elevator.status")
        assert status["data"]["trips"] == 2

        # A new state of the kind begins anew.
        await report.emit("elevator.status", "lift", LIFT | {"floor": 7}, clock.now - 100)
        await report.emit("access.door", "door", {"open": False}, clock.now - 50)
        since = {s["kind"]: s["since"] for _, v in report.standing() for s in v["states"]}
        assert since["elevator.status"] == clock.now - 100
        assert since["access.door"] == clock.now - 50

    run(scenario())


def test_the_quantities_of_one_sensor_are_reported_each_for_itself() -> None:
    async def scenario() -> None:
        report, sink, _ = reporter()
        report.set_rules(["room"], {"sensor.reading": ReportRule(600, {"value": 0.5})})
        for value in (21.0, 21.2):
            for quantity, unit in (("temperature", "Cel"), ("humidity", "%")):
                reading = {"quantity": quantity, "value": value, "unit": unit}
                await report.emit("sensor.reading", "room", reading)
        assert [data["quantity"] for data in sink.of("sensor.reading")] == [
            "temperature", "humidity",
        ]  # fmt: skip

    run(scenario())


numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 1000) | st.none() | st.booleans()
records = st.dictionaries(st.sampled_from("abcd"), numbers, max_size=4)


@given(records, records, st.floats(0, 100))
def test_changed_is_symmetric_and_strict_without_deadbands(
    one: dict[str, Any], other: dict[str, Any], band: float
) -> None:
    rule = ReportRule(deadbands={"a": band}, ignore=frozenset("b"))
    assert not changed(one, one, rule)
    assert changed(one, other, rule) == changed(other, one, rule)
    if {k: v for k, v in one.items() if v is not None} != {
        k: v for k, v in other.items() if v is not None
    }:
        assert changed(one, other, ReportRule())
