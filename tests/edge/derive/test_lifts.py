"""Entrapment and counters derived from a lift's observations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.codec import make_event
from core.contracts.errors import JournalFullError
from edge.derive.lifts import Entrapment, LiftCounters
from edge.derive.pipeline import Pipeline
from edge.observation import Observation
from tests.edge.drivers.support import START, FakeClock, Recorder, run

IDLE = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
    "floor": 3, "door_closed": True, "occupied": False,
}  # fmt: skip
TRAPPED = {**IDLE, "in_door_zone": False, "occupied": True}
AT_FLOOR = {**IDLE, "door_closed": False, "occupied": True}


class Lift:
    """Feeds one derivation second by second and writes down what follows."""

    def __init__(self, fold: Entrapment | None = None, skew_ms: int = 0) -> None:
        self.fold = fold or Entrapment()
        self.now = START
        self.skew_ms = skew_ms
        self.told: list[tuple[bool, float]] = []

    def status(self, data: dict[str, Any], **more: Any) -> None:
        self._take("elevator.status", {**data, **more})

    def fault(self, *, active: bool, raw_code: str = "93", fault: str = "entrapment") -> None:
        self._take("elevator.fault", {"fault": fault, "active": active, "raw_code": raw_code})

    def button(self, *, active: bool) -> None:
        self._take("elevator.alarm_button", {"active": active})

    def stay(self, data: dict[str, Any], seconds: int, every: int = 1, **more: Any) -> None:
        """Let a state last, with a status each ``every`` seconds and a wake each second."""
        for second in range(seconds):
            if second % every == 0:
                self.status(data, **more)
            self.pass_(1)

    def pass_(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1_000
            due = self.fold.due()
            if due is not None and due <= self.now:
                self._write(self.fold.wake(self.now))

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        seen = Observation(kind, "lift-1", data, self.now + self.skew_ms)
        self._write(self.fold.take(seen).follows)

    def _write(self, follows: list[Observation]) -> None:
        for found in follows:
            assert found.data["derived"] is True
            assert found.data["raw_code"] == "derived"
            make_event(found.kind, device="d", at=found.at, seen=found.at, data=found.data)
            at = (found.at - self.skew_ms - START) / 1000
            self.told.append((found.data["active"], at))

    @property
    def active(self) -> list[bool]:
        return [active for active, _ in self.told]


@pytest.mark.parametrize("every", [1, 5, 15])
@pytest.mark.parametrize("skew_ms", [0, -3_600_000, 7_200_000])
def test_somebody_trapped_for_thirty_seconds(every: int, skew_ms: int) -> None:
    lift = Lift(skew_ms=skew_ms)
    lift.stay(IDLE, 10)
    lift.stay(TRAPPED, 29, every)
    assert lift.told == []
    lift.stay(TRAPPED, 20, every)
    assert lift.told == [(True, 40.0)]
    lift.stay(AT_FLOOR, 3)
    assert lift.told == [(True, 40.0), (False, 59.0)]


@pytest.mark.parametrize(
    ("data", "trapped"),
    [
        ({**TRAPPED, "occupied": False}, False),
        ({**TRAPPED, "moving": True}, False),
        ({**TRAPPED, "door_closed": False}, False),
        ({**TRAPPED, "in_door_zone": True}, False),
        ({**TRAPPED, "in_door_zone": True, "alarm_button": True}, True),
        ({**TRAPPED, "in_door_zone": True, "alarm_button": False}, False),
        ({**TRAPPED, "service_mode": "inspection"}, False),
        ({**TRAPPED, "service_mode": "inspection", "alarm_button": True}, False),
        ({**TRAPPED, "service_mode": "firefighter"}, True),
        (
            {
                **TRAPPED, "service_mode": "firefighter", "in_door_zone": True,
                "alarm_button": True,
            },
            False,
        ),
        ({**TRAPPED, "service_mode": "fire_return"}, True),
        ({**TRAPPED, "service_mode": "emergency_power"}, True),
        ({**TRAPPED, "service_mode": "stopped"}, True),
        ({**TRAPPED, "service_mode": "unknown"}, True),
    ],
)  # fmt: skip
def test_what_counts_as_trapped(data: dict[str, Any], trapped: bool) -> None:
    lift = Lift()
    lift.stay(data, 40)
    assert lift.active == ([True] if trapped else [])


def test_a_break_starts_the_time_anew() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 29)
    lift.stay({**TRAPPED, "moving": True}, 1)
    lift.stay(TRAPPED, 29)
    assert lift.told == []
    lift.stay(TRAPPED, 5)
    assert lift.told == [(True, 60.0)]


def test_the_button_as_an_event_of_its_own() -> None:
    lift = Lift()
    behind_a_shut_door = {**TRAPPED, "in_door_zone": True}
    lift.stay(behind_a_shut_door, 10, every=10)
    lift.button(active=True)
    lift.stay(behind_a_shut_door, 35, every=10)
    assert lift.told == [(True, 40.0)]
    other = Lift()
    other.button(active=True)
    other.stay(behind_a_shut_door, 10)
    other.button(active=False)
    other.stay(behind_a_shut_door, 60)
    assert other.told == []


def test_a_silent_lift_is_not_concluded_about() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 5)
    lift.pass_(120)
    assert lift.told == []
    assert lift.fold.due() is None
    lift.stay(TRAPPED, 25)
    assert lift.told == []
    lift.stay(TRAPPED, 6)
    assert lift.told == [(True, 155.0)]


def test_a_clock_that_jumps_concludes_nothing() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 5)
    lift.skew_ms = 3_600_000
    lift.stay(TRAPPED, 20)
    assert lift.told == []
    lift.skew_ms = -3_600_000
    lift.stay(TRAPPED, 20)
    assert lift.told == []


def test_only_an_open_door_at_a_floor_or_an_empty_car_ends_it() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 31)
    lift.stay({**TRAPPED, "moving": True}, 60)
    lift.stay({**TRAPPED, "service_mode": "inspection"}, 60)
    lift.stay({**TRAPPED, "occupied": False}, 5)
    lift.stay({**TRAPPED, "door_closed": False}, 20)
    assert lift.active == [True]
    lift.stay({**TRAPPED, "door_closed": False, "occupied": False}, 12)
    assert lift.active == [True, False]
    again = Lift()
    again.stay(TRAPPED, 31)
    again.status(AT_FLOOR)
    assert again.active == [True, False]
    again.stay(TRAPPED, 32)
    assert again.active == [True, False, True]


def test_a_lift_that_reports_it_is_believed() -> None:
    lift = Lift()
    lift.fault(active=True)
    lift.stay(TRAPPED, 120)
    assert lift.told == []
    lift.fault(active=False)
    lift.stay(TRAPPED, 29)
    assert lift.told == []
    lift.stay(TRAPPED, 5)
    assert lift.active == [True]


def test_the_reported_takes_over_from_the_derived() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 31)
    lift.fault(active=True, fault="stopped_outside_zone", raw_code="04")
    assert lift.active == [True]
    lift.fault(active=True)
    assert lift.active == [True, False]
    lift.stay(TRAPPED, 60)
    assert lift.active == [True, False]


def test_a_restart_tells_again_who_is_trapped() -> None:
    lift = Lift()
    lift.stay(TRAPPED, 31)
    restarted = Entrapment()
    restarted.remember(json.loads(json.dumps(lift.fold.memory())))
    after = Lift(restarted)
    after.stay(TRAPPED, 3)
    assert after.told == [(True, 30.0)]
    after.stay(AT_FLOOR, 2)
    assert after.active == [True, False]
    assert restarted.memory() == {}
    freed = Entrapment()
    freed.remember(lift.fold.memory())
    meanwhile = Lift(freed)
    meanwhile.stay(AT_FLOOR, 2)
    assert meanwhile.active == [False]


@pytest.mark.parametrize("memory", [None, [], {"lift-1": 3}, {"lift-1": {"at": "x"}}, "x"])
def test_a_spoilt_memory_is_as_good_as_none(memory: Any) -> None:
    for fold in (Entrapment(), LiftCounters()):
        fold.remember(memory)
        assert fold.memory() == {}


def test_broken_statuses_pass_through() -> None:
    for fold in (Entrapment(), LiftCounters()):
        seen = Observation("elevator.status", "lift-1", {"moving": "perhaps"}, START)
        assert fold.take(seen).observation.data == seen.data


states = st.fixed_dictionaries(
    {
        **{
            name: st.booleans()
            for name in ("moving", "in_door_zone", "door_closed", "occupied", "alarm_button")
        },
        "service_mode": st.sampled_from(["normal", "inspection", "firefighter", "unknown"]),
        "floor": st.integers(-2, 30),
        "direction": st.just("none"),
    }
)


@given(st.lists(st.tuples(states, st.integers(1, 45), st.integers(1, 25))), st.data())
def test_derived_entrapments_alternate_and_are_never_early(
    story: list[tuple[dict[str, Any], int, int]], data: st.DataObject
) -> None:
    lift = Lift()
    quiet = 0
    for state, seconds, every in story:
        before = len(lift.told)
        lift.stay(state, seconds, every)
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            lift.fold, old = Entrapment(), lift.fold
            lift.fold.remember(json.loads(json.dumps(old.memory())))
        began = [at for active, at in lift.told[before:] if active]
        quiet = quiet + seconds
        assert all(at <= (lift.now - START) / 1000 for at in began)
        if state["in_door_zone"] and not state["door_closed"]:
            assert lift.fold.memory() == {}
    story_active = []
    for active in lift.active:
        # A restart tells the same beginning again; otherwise they alternate.
        if not story_active or story_active[-1] is not active:
            story_active.append(active)
    assert story_active[:1] in ([], [True])
    if quiet < 30:
        assert lift.told == []


def test_counts_runs_and_door_cycles() -> None:
    fold = LiftCounters()
    story = [(False, True), (False, False), (False, True), (True, True), (True, True)]
    story += [(False, True), (False, False), (False, True), (True, True)]
    got = []
    for moving, closed in story:
        data = {**IDLE, "moving": moving, "door_closed": closed}
        seen = fold.take(Observation("elevator.status", "lift-1", data, START)).observation
        got.append((seen.data["trips"], seen.data["door_cycles"]))
    assert got[-1] == (2, 2)
    assert data.keys() == IDLE.keys()
    other = fold.take(Observation("elevator.status", "lift-2", IDLE, START)).observation
    assert (other.data["trips"], other.data["door_cycles"]) == (0, 0)


def test_a_lifts_own_counters_are_left_alone_and_gone_on_from() -> None:
    fold = LiftCounters()

    def step(**more: Any) -> tuple[int, int]:
        seen = Observation("elevator.status", "lift-1", {**IDLE, **more}, START)
        data = fold.take(seen).observation.data
        return data["trips"], data["door_cycles"]

    assert step(trips=500) == (500, 0)
    assert step(trips=501, moving=True) == (501, 0)
    assert step() == (501, 0)
    assert step(moving=True) == (502, 0)
    assert step(trips=3) == (3, 0)
    assert step(moving=False) == (502, 0)


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.booleans(),
            st.sampled_from(["", "again", "restart"]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_counters_count_each_change_once(story: list[tuple[bool, bool, str]]) -> None:
    fold = LiftCounters()
    trips = cycles = 0
    last: tuple[bool, bool] | None = None
    for moving, closed, what in story:
        if what == "restart":
            old, fold = fold, LiftCounters()
            fold.remember(json.loads(json.dumps(old.memory())))
        data = {**IDLE, "moving": moving, "door_closed": closed}
        trips += int(last is not None and moving and not last[0])
        cycles += int(last is not None and closed and not last[1])
        last = (moving, closed)
        for _ in range(2 if what == "again" else 1):
            seen = Observation("elevator.status", "lift-1", data, START)
            told = fold.take(seen).observation.data
            assert (told["trips"], told["door_cycles"]) == (trips, cycles)


def test_on_its_way_through_the_pipeline_and_a_full_journal(tmp_path: Path) -> None:
    async def scene() -> None:
        clock, sink = FakeClock(), Recorder()
        sink.clock = clock
        memory = tmp_path / "derived.json"
        pipeline = Pipeline(sink, [LiftCounters(), Entrapment()], clock.now_ms, memory)

        async def second(data: dict[str, Any]) -> None:
            await clock.sleep(1)
            await pipeline.emit("elevator.status", "lift-1", data)
            await pipeline.wake()

        for _ in range(29):
            await second(TRAPPED)
        sink.refuse = lambda kind: JournalFullError("full")
        for _ in range(5):
            with pytest.raises(JournalFullError):
                await second(TRAPPED)
        sink.refuse = lambda kind: None
        await second(TRAPPED)
        faults = sink.of("elevator.fault")
        assert [fault["active"] for fault in faults] == [True]
        assert sink.of("elevator.status")[-1]["trips"] == 0
        pipeline.save()

        fresh = Pipeline(sink, [LiftCounters(), Entrapment()], clock.now_ms, memory)
        fresh.restore()
        await fresh.emit("elevator.status", "lift-1", TRAPPED)
        await fresh.emit("elevator.status", "lift-1", AT_FLOOR)
        assert [f["active"] for f in sink.of("elevator.fault")] == [True, True, False]

    run(scene())
