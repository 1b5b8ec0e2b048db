"""Registers that do not simply go on: told once and for sure, and never for a bad transmission."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.codec import make_event
from edge.config import from_raw
from edge.derive.builder import build
from edge.derive.registers import Registers, capacities_of
from edge.observation import Observation

START = 1_764_000_000_000
MINUTE = 60_000


class Way:
    """Sends readings through and keeps what comes out."""

    def __init__(self, *, minutes: float = 1, **capacities: float) -> None:
        self.capacities = capacities
        self.fold = Registers(capacities)
        self.step = round(minutes * MINUTE)
        self.at = START
        self.readings: list[dict[str, Any]] = []
        self.events: list[tuple[str, bool]] = []

    def read(self, *values: float, name: str = "energy_kwh", **more: Any) -> Way:
        for value in values:
            self.at += self.step
            self.send({"medium": "electricity", name: value, **more})
        return self

    def send(self, data: dict[str, Any], kind: str = "meter.reading") -> None:
        derived = self.fold.take(Observation(kind, "m", data, self.at))
        for item in [derived.observation, *derived.follows]:
            make_event(item.kind, device="m", at=item.at, seen=item.at, data=item.data)
        if kind == "meter.reading":
            self.readings.append(derived.observation.data)
        self.events += [(e.data["event"], e.data["active"]) for e in derived.follows]

    def restart(self) -> None:
        memory = json.loads(json.dumps(self.fold.memory()))
        self.fold = Registers(self.capacities)
        self.fold.remember(memory)

    @property
    def values(self) -> list[float | None]:
        return [reading.get("energy_kwh") for reading in self.readings]

    @property
    def marks(self) -> list[str | None]:
        return [reading.get("mark") for reading in self.readings]


def test_a_register_that_begins_again_at_its_capacity() -> None:
    way = Way().read(999_998.5, 999_999.9, 0.4, 1.2)
    assert way.marks == [None, None, "rollover", None]
    assert way.values == [999_998.5, 999_999.9, 0.4, 1.2]
    assert way.events == [("register_rollover", True), ("register_rollover", False)]


def test_a_capacity_of_its_own_and_registers_with_fewer_digits() -> None:
    own = Way(m=79_999.99).read(79_999.5, 0.3, 1)
    assert own.marks[1] == "rollover"
    fewer = Way().read(99_999.2, 0.7, 1)
    assert fewer.marks[1] == "rollover"
    # With a capacity that is known, ten thousand is just a number.
    known = Way(m=1_000_000).read(9_999.2, 0.7, 1)
    assert known.marks == [None, None, "replaced"]


def test_a_rollover_that_shows_as_zero_waits_for_the_next_reading() -> None:
    way = Way().read(999_999.9, 0.0, 0.2, 0.4)
    assert way.values == [999_999.9, None, 0.2, 0.4]
    assert way.marks == [None, None, "rollover", None]


def test_another_meter_that_begins_near_zero() -> None:
    way = Way().read(12_345.6, 0.1, 0.2, 0.3)
    assert way.values == [12_345.6, None, 0.2, 0.3]
    assert way.marks == [None, None, "replaced", None]
    assert way.events == [("meter_replaced", True), ("meter_replaced", False)]


def test_another_meter_that_is_told_by_its_number() -> None:
    way = Way().read(500.0)
    way.at += 1
    told = {"medium": "electricity", "event": "meter_replaced", "active": True}
    way.send(told, "meter.event")
    way.restart()
    way.read(510.0, 511.0)
    assert way.values == [500.0, 510.0, 511.0]
    assert way.marks == [None, "replaced", None]
    assert way.events == [("meter_replaced", False)]


def test_a_register_that_runs_backwards() -> None:
    way = Way().read(500.0, 499.0, 498.9, 499.1)
    assert way.values == [500.0, None, 498.9, 499.1]
    assert way.marks == [None, None, "backwards", None]
    assert way.events == [("register_backwards", True), ("register_backwards", False)]


def test_a_register_that_goes_on_running_backwards_is_told_once_until_it_stops() -> None:
    way = Way().read(*(500.0 - n for n in range(20)), 481.0, 482.0)
    assert way.events == [("register_backwards", True), ("register_backwards", False)]
    assert way.marks.count("backwards") > 5


def test_a_jump_that_no_supply_can_make_is_believed_the_second_time() -> None:
    way = Way().read(100.0, 90_000.0, 90_001.0, 90_002.0)
    assert way.values == [100.0, None, 90_001.0, 90_002.0]
    assert way.marks == [None, None, "replaced", None]
    # After months away the same jump is consumption.
    assert Way(minutes=60 * 24 * 60).read(100.0, 90_000.0).marks == [None, None]


def test_the_last_digits_may_step_back() -> None:
    way = Way().read(500.0, 499.95, 500.0, 499.93, 500.1)
    assert way.values == [500.0, 499.95, 500.0, 499.93, 500.1]
    assert set(way.marks) == {None}
    assert way.events == []


def test_only_the_register_in_doubt_is_withheld() -> None:
    way = Way().read(500.0, power_w=1.0).read(0.0, power_w=2.0, energy_t1_kwh=7.0)
    assert way.readings[1] == {"medium": "electricity", "power_w": 2.0, "energy_t1_kwh": 7.0}


def test_combined_energy_may_run_back() -> None:
    way = Way().read(50.0, 10.0, -5.0, name="energy_combined_kwh")
    assert set(way.marks) == {None}


def test_water_has_its_own_measure() -> None:
    way = Way()
    for value in (300.0, 299.5, 299.5):
        way.at += MINUTE
        way.send({"medium": "water", "volume_m3": value})
    assert way.marks == [None, None, "backwards"]
    assert way.events == [("register_backwards", True)]


def test_readings_that_come_late_or_again_say_nothing_new() -> None:
    way = Way().read(12_345.6, 0.1, 0.2)
    events, last = list(way.events), way.readings[-1]
    way.send({"medium": "electricity", "energy_kwh": 0.2})
    assert way.readings[-1] == last
    way.at -= 90_000
    way.send({"medium": "electricity", "energy_kwh": 12_345.6})
    assert way.readings[-1]["energy_kwh"] == 12_345.6
    way.at += 90_000
    way.read(0.3)
    assert way.events == [*events, ("meter_replaced", False)]
    assert way.marks[-1] is None


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    way = Way().read(500.0)
    way.at -= 10 * 365 * 86_400_000
    way.read(501.0, 400.0, 400.1)
    assert way.marks[-1] == "backwards"


@pytest.mark.parametrize(
    "memory", [None, 7, [], {"m": 3}, {"m": {}}, {"m": {"at": 1, "registers": {"energy_kwh": 1}}}]
)
def test_a_memory_that_cannot_be_read_is_none(memory: Any) -> None:
    way = Way()
    way.fold.remember(memory)
    assert way.read(5.0, 6.0).values == [5.0, 6.0]


steps = st.lists(st.floats(0, 3), min_size=2, max_size=40)


def cumulated(start: float, grown: list[float]) -> list[float]:
    values = [start]
    for step in grown:
        values.append(round(values[-1] + step, 2))
    return values


@settings(deadline=None)
@given(st.floats(1, 900_000), steps)
def test_what_goes_on_is_left_alone(start: float, grown: list[float]) -> None:
    values = cumulated(round(start, 2), grown)
    way = Way().read(*values)
    assert way.values == values
    assert way.events == []
    assert set(way.marks) == {None}


@settings(deadline=None)
@given(
    st.floats(1_000, 900_000), steps, st.sets(st.integers(1, 60), max_size=10),
    st.floats(0, 999_999.99),
)  # fmt: skip
def test_a_bad_transmission_is_never_told(
    start: float, grown: list[float], places: set[int], odd: float
) -> None:
    good = cumulated(round(start, 2), grown)
    way = Way(m=1_000_000)
    for index, value in enumerate(good):
        way.read(value)
        if index in places:
            way.read(round(odd, 2))
    passed = [value for value in way.values if value is not None]
    if abs(odd - good[-1]) > 400:  # nearer, it is as good as any
        assert passed == good
        assert way.events == []
        assert set(way.marks) == {None}


@settings(deadline=None)
@given(st.floats(0.5, 300), steps)
def test_consumption_over_a_rollover_is_whole(below: float, grown: list[float]) -> None:
    capacity = 1_000_000
    values = [round(v % capacity, 2) for v in cumulated(round(capacity - below, 2), grown)]
    way = Way().read(*values)
    known = [
        (value, mark)
        for value, mark in zip(way.values, way.marks, strict=True)
        if value is not None
    ]
    used = 0.0
    for (before, _), (after, mark) in itertools.pairwise(known):
        used += after - before + (capacity if mark == "rollover" else 0)
    last = way.values[-1]
    if last is not None:
        assert used == pytest.approx(sum(round(step, 2) for step in grown), abs=0.01 * len(grown))
    assert set(way.marks) <= {None, "rollover"}


anything = st.lists(
    st.one_of(st.floats(0, 1_000_000), st.sampled_from([0.0, 0.1, 999_999.99, 12_345.0, 12_346.0])),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(anything, st.integers(0, 30))
def test_a_restart_and_a_repetition_change_nothing(values: list[float], where: int) -> None:
    straight, interrupted = Way().read(*values), Way()
    for index, value in enumerate(values):
        interrupted.read(value)
        if index % 3 == 0:
            interrupted.send({"medium": "electricity", "energy_kwh": value})
            again, once = interrupted.readings.pop(), interrupted.readings[-1]
            assert again == once
        if index == where:
            interrupted.restart()
    assert interrupted.readings == straight.readings
    assert interrupted.events == straight.events


@settings(deadline=None)
@given(anything)
def test_events_alternate(values: list[float]) -> None:
    standing: set[str] = set()
    for event, active in Way().read(*values).events:
        assert (event in standing) is not active
        (standing.add if active else standing.discard)(event)


def test_the_edge_builds_it_with_the_capacities_of_its_meters(tmp_path: Any) -> None:
    meter = {"device": "m", "address": "000000000001", "capacity": 79_999.99}
    entry = {"driver": "dlt645", "host": "h", "port": 1, "meters": [meter]}
    config = from_raw({"edge": "e", "site": "s", "drivers": [entry]}, "test", tmp_path)
    assert capacities_of(config.drivers) == {"m": 79_999.99}
    assert any(isinstance(derivation, Registers) for derivation in build(config))
