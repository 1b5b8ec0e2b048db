"""What a meter suffered, from status words and counters to ``meter.event``: told once, in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dlt645.aio import AsyncMeterServerService
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.errors import JournalFullError
from edge.driver import LinkError
from edge.drivers.dlt645.conditions import Conditions, Transition
from edge.drivers.dlt645.driver import Dlt645Driver
from edge.drivers.dlt645.settings import Dlt645Settings
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import Counted, MeterModel
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .support import FakeClock, Recorder, context, run

ADDRESS = "000012345678"


class Scene:
    """One simulated meter, the driver that reads it, and a clock that stands still."""

    def __init__(self, folder: Path, phases: int, more: dict[str, Any]) -> None:
        self.clock = FakeClock()
        plan = LoadPlan(7, "m", LoadSpec(LoadKind.HOUSEHOLD, 8_000))
        self.model = MeterModel(7, "m", plan, phases=phases)
        self.peer = MeterGateway(self.clock, {ADDRESS: self.model})
        self.folder = folder
        self.phases = phases
        self.more = more
        self.sink = Recorder(clock=self.clock)
        self.driver: Dlt645Driver

    async def begin(self) -> None:
        """Build the driver (anew, as after a restart of the edge)."""
        meter = {"device": "m", "address": ADDRESS, "phases": self.phases}
        raw = {
            "driver": "dlt645", "host": "127.0.0.1", "port": self.peer.port, "timeout_s": 1,
            "often_s": 10, "rarely_s": 60, "meters": [meter],
        }  # fmt: skip
        settings = Dlt645Settings.model_validate(raw | self.more)
        self.driver = Dlt645Driver(settings, context(self.folder, self.clock))
        await self.driver.start(self.sink)

    async def polls(self, seconds: float = 61, step: float = 5) -> None:
        """Poll each ``step`` seconds of run time."""
        for _ in range(round(seconds / step)):
            await self.driver.poll()
            self.clock.now += round(step * 1000)

    @property
    def events(self) -> list[tuple[str, bool]]:
        return [
            (e["event"], e["active"])
            for e in self.sink.of("meter.event", "m")
            if (e["event"], e["active"]) != ("relay_opened", False)
        ]


@asynccontextmanager
async def scene(folder: Path, phases: int = 1, **more: Any) -> AsyncIterator[Scene]:
    stage = Scene(folder, phases, more)
    await stage.peer.start()
    await stage.begin()
    try:
        yield stage
    finally:
        await stage.driver.stop()
        await stage.peer.stop()


def merged(sink: Recorder) -> dict[str, Any]:
    """Return the last value of each field of all readings."""
    values: dict[str, Any] = {}
    for reading in sink.of("meter.reading"):
        values |= reading
    return values


@pytest.mark.parametrize("phases", [1, 3])
def test_all_items_of_a_meter_are_read_in_their_time(phases: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, phases) as stage:
            stage.peer.frame_bytes = 7  # every block comes in several frames
            stage.model.faults.clock_offset_s = -42
            await stage.driver.poll()
            first = stage.sink.of("meter.reading")[0]
            assert {"energy_kwh", "power_w", "relay_closed", "frequency_hz"} <= first.keys()
            await stage.polls()
            values, state = merged(stage.sink), stage.model.state(stage.clock.now)
            assert values["clock_offset_s"] == pytest.approx(-42, abs=1)
            assert values["demand_max_w"] == pytest.approx(state.demand_max_w, abs=0.06)
            assert values["demand_max_at"] == state.demand_max_at // 60_000 * 60_000
            tariffs = sum(values[f"energy_t{n}_kwh"] for n in (1, 2, 3, 4))
            assert tariffs == pytest.approx(values["energy_kwh"], abs=0.1)
            assert {"demand_w", "temperature_c", "energy_export_kwh"} <= values.keys()
            if phases == 3:
                powers = sum(values[f"power_l{n}_w"] for n in (1, 2, 3))
                assert powers == pytest.approx(values["power_w"], rel=0.05)
            assert stage.events == []
            assert stage.sink.counts == {}

    run(scenario(), 40)


def test_a_cover_that_was_opened_between_reads_is_told_and_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            await stage.polls()
            stage.model.happen(Counted.COVER)
            await stage.polls(30)
            assert stage.events == [("cover_opened", True), ("cover_opened", False)]
            told = stage.sink.of("meter.event")[-2]
            assert told["raw_code"] == "03300D00+1"

            # While the edge is away: its memory knows the counter of before.
            await stage.driver.stop()
            stage.model.happen(Counted.TERMINAL_COVER)
            stage.sink.events.clear()
            await stage.begin()
            await stage.polls(30)
            assert stage.events == [
                ("terminal_cover_opened", True), ("terminal_cover_opened", False),
            ]  # fmt: skip

    run(scenario(), 40)


def test_a_cover_is_not_lost_while_the_journal_is_full(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            await stage.polls()
            stage.model.happen(Counted.COVER)
            full = JournalFullError("full")
            stage.sink.refuse = lambda kind: full if kind == "meter.event" else None
            for _ in range(8):
                with pytest.raises(JournalFullError):
                    await stage.polls(60, 60)
                stage.clock.now += 30_000
            stage.sink.refuse = lambda _: None
            await stage.polls(40)
            assert stage.events == [("cover_opened", True), ("cover_opened", False)]

    run(scenario(), 40)


def test_what_a_status_word_told_is_not_told_again_by_its_counter(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, 3) as stage:
            await stage.polls(65)
            stage.model.set_voltage_factor(0.8)
            await stage.polls(10)
            stage.model.set_voltage_factor(1)
            await stage.polls(130)
            assert stage.events == [("undervoltage", True), ("undervoltage", False)]
            # One that came and went unseen is told when its counter is read.
            stage.model.happen(Counted.UNDER_VOLTAGE)
            await stage.polls(130)
            assert stage.events[2:] == [("undervoltage", True), ("undervoltage", False)]

    run(scenario(), 40)


def test_everything_that_status_words_show(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, 3) as stage:
            await stage.polls(15)
            model, faults = stage.model, stage.model.faults
            faults.battery_low = faults.clock_battery_low = faults.pre_trip = True
            faults.programming_allowed = faults.auxiliary_supply = True
            faults.lost_phases = frozenset({1})
            model.set_reversed(stage.clock.now, frozenset({2}))
            model.set_overload(stage.clock.now, 9_000)
            await stage.polls(10)
            began = {
                "auxiliary_supply", "battery_low", "clock_battery_low", "overload", "phase_loss",
                "pre_trip_alarm", "programming_allowed", "reverse_power",
            }  # fmt: skip
            assert set(stage.events) == {(event, True) for event in began}
            (where,) = [
                e["raw_code"] for e in stage.sink.of("meter.event") if e["event"] == "phase_loss"
            ]
            assert where == "L2"
            assert merged(stage.sink)["current_l3_a"] < 0
            stage.model.faults = type(faults)()
            model.set_overload(stage.clock.now, None)
            await stage.polls(10)
            assert set(stage.events[len(began) :]) == {(event, False) for event in began}
            assert len(stage.events) == 2 * len(began)

    run(scenario(), 40)


def test_single_words_where_there_is_no_block(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, 3) as stage:
            stage.model.faults.missing = frozenset({0x040005FF, 0x0001FF00, 0x0201FF00})
            stage.model.set_relay(stage.clock.now, opened=True)
            stage.model.set_voltage_factor(0.8)
            await stage.polls(30)
            assert {("relay_opened", True), ("undervoltage", True)} <= set(stage.events)
            values = merged(stage.sink)
            assert values["relay_closed"] is False
            assert {"energy_t4_kwh", "voltage_l3_v"} <= values.keys()

    run(scenario(), 40)


def test_a_wrong_clock_is_told_and_mended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            stage.model.faults.clock_offset_s = 4_000
            await stage.polls(70)
            stage.model.faults.clock_offset_s = 2
            await stage.polls(70)
            assert stage.events == [("clock_wrong", True), ("clock_wrong", False)]

    run(scenario(), 40)


def test_midnight_between_the_date_and_the_time_is_no_wrong_clock(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, items={"clock": "poll"}, profile="minimal") as stage:
            midnight = (stage.clock.now // 86_400_000 + 1) * 86_400_000 - 8 * 3_600_000
            offsets = []
            for early_ms in range(0, 1000, 100):
                stage.clock.now = midnight - early_ms
                answer = stage.peer.reply

                def reply(request: Any, answer: Callable[[Any], bytes] = answer) -> bytes:
                    stage.clock.now += 100
                    return answer(request)

                stage.peer.reply = reply  # type: ignore[method-assign]
                await stage.driver.poll()
                stage.peer.reply = answer  # type: ignore[method-assign]
                offsets.append(stage.sink.of("meter.reading")[-1]["clock_offset_s"])
            assert max(map(abs, offsets)) < 3
            assert stage.events == []

    run(scenario(), 40)


def test_another_meter_in_the_same_place_is_told_by_its_number(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            stage.model.happen(Counted.COVER)
            await stage.polls(70)
            stage.model.replace(stage.clock.now, kwh=99_999)
            await stage.polls(70)
            assert stage.events == [("meter_replaced", True)]
            assert stage.sink.of("meter.event")[-1]["raw_code"].startswith("number ")

    run(scenario(), 40)


def test_any_address_on_a_line_with_one_meter(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = [{"device": "m", "address": "any"}]
        async with scene(tmp_path, meters=meters) as stage:
            await stage.driver.poll()
            assert merged(stage.sink)["energy_kwh"] > 0
            stage.peer._meters = {"000000000009": stage.model}
            await stage.driver.poll()
            assert stage.events == [("meter_replaced", True)]

    run(scenario(), 40)


def test_items_that_find_no_answer_cost_little_and_are_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, timeout_s=0.2) as stage:
            stage.model.faults.silent = frozenset({0x02060000})
            for _ in range(4):
                await stage.driver.poll()
            assert len(stage.sink.of("meter.reading")) == 4
            assert stage.sink.counts["items_silent"] == 3
            assert "power_factor" not in merged(stage.sink)

    run(scenario(), 40)


def test_a_value_that_no_meter_can_have_costs_only_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as stage:
            stage.model._power_factor = 1.4
            await stage.driver.poll()
            (reading,) = stage.sink.of("meter.reading")
            assert "power_factor" not in reading
            assert reading["energy_kwh"] > 0
            assert stage.sink.counts["values_refused"] == 1

    run(scenario(), 40)


def test_a_water_meter_behind_a_gateway_for_electricity_meters(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = [{"device": "m", "address": ADDRESS, "medium": "water", "register_decimals": 3}]
        async with scene(tmp_path, meters=meters) as stage:
            await stage.driver.poll()
            stage.model.set_relay(stage.clock.now, opened=True)
            stage.model.faults.battery_low = True
            stage.clock.now += 11_000
            await stage.driver.poll()
            first, last = stage.sink.of("meter.reading")
            energy = stage.model.state(stage.clock.now).energy_kwh
            assert first["medium"] == "water"
            assert first["volume_m3"] == pytest.approx(energy / 10, abs=0.01)
            assert (first["valve_open"], last["valve_open"]) == (True, False)
            told = [(e["medium"], e["event"], e["active"]) for e in stage.sink.of("meter.event")]
            assert told == [
                ("water", "valve_closed", False), ("water", "battery_low", True),
                ("water", "valve_closed", True),
            ]  # fmt: skip

    run(scenario(), 40)


def test_an_independent_meter_counts_and_shows_status(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = AsyncMeterServerService.new_tcp_server("127.0.0.1", 0)
        service.set_address(bytes.fromhex(ADDRESS)[::-1])
        service.set_00(0x00010000, 5.5)
        assert service.set_02(0x02800004, 1.25)
        assert service.set_02(0x02800007, 23.5)
        assert service.set_04(0x04000503, "0050")
        assert await service.start()
        raw = {
            "driver": "dlt645", "host": "127.0.0.1", "port": service.server.port, "timeout_s": 1,
            "profile": "full", "meters": [{"device": "m", "address": ADDRESS, "phases": 3}],
        }  # fmt: skip
        sink = Recorder()
        driver = Dlt645Driver(Dlt645Settings.model_validate(raw), context(tmp_path))
        await driver.start(sink)
        try:
            await driver.poll()
        finally:
            await driver.stop()
            await service.stop()
        values = merged(sink)
        assert (values["demand_w"], values["temperature_c"]) == (1250, 23.5)
        assert values["energy_kwh"] == 5.5
        assert values["relay_closed"] is False
        assert ("relay_opened", True) in {(e["event"], e["active"]) for e in sink.of("meter.event")}

    run(scenario())


def test_several_meters_share_the_line_and_its_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        meters = [{"device": "m", "address": ADDRESS}, {"device": "n", "address": "9" * 11 + "1"}]
        async with scene(tmp_path) as alone:
            assert alone.driver.gateway is None
        async with scene(tmp_path, meters=meters, timeout_s=0.2) as stage:
            assert stage.driver.gateway == f"127.0.0.1:{stage.peer.port}"
            await stage.driver.poll()
            ((device, error),) = stage.sink.failures
            assert device == "n"
            assert isinstance(error, LinkError)
            assert error.cause == "device"

    run(scenario(), 40)


words = st.dictionaries(st.integers(1, 7), st.integers(0, 0xFFFF))
counts = st.dictionaries(
    st.sampled_from([0x03300D00, 0x03020000, 0x03110000]),
    st.integers(0, 9).map(lambda count: [count]),
)


@settings(deadline=None)
@given(st.lists(st.tuples(words, counts, st.booleans()), max_size=20))
def test_transitions_alternate_whatever_comes(
    seen: list[tuple[dict[int, int], dict[int, list[int]], bool]],
) -> None:
    conditions = Conditions()
    standing: dict[str, bool] = {}
    for shown, counted, committed in seen:
        conditions.see_words(shown)
        conditions.see_counts(counted)
        due = conditions.transitions()
        assert len({transition.event for transition in due}) == len(due)
        for transition in due:
            assert standing.get(transition.event) is not transition.active
            if committed:
                conditions.told(transition)
                standing[transition.event] = transition.active
        if committed:
            assert conditions.transitions() == []


def test_counters_of_before_are_no_event_and_a_reset_is_none() -> None:
    conditions = Conditions()
    conditions.see_counts({0x03300D00: [7]})
    assert conditions.transitions() == []
    conditions.see_counts({0x03300D00: [0]})
    assert conditions.transitions() == []
    conditions.see_counts({0x03300D00: [2]})
    assert conditions.transitions() == [Transition("cover_opened", True, "03300D00+2")]
