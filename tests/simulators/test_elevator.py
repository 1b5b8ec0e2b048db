"""A lift over Modbus TCP with pymodbus's own client, and the model's life."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from core.contracts.errors import ContractError
from simulators.devices.elevator import ElevatorPeer, encode_registers
from simulators.devices.elevator_model import ElevatorModel, ServiceMode, Traffic, Trip
from simulators.lift_traffic import lift_traffic
from simulators.rhythms import RESIDENTIAL
from tests.simulators.helpers import FakeClock, at_hour, until

FLOORS = [-1, *range(1, 19)]
NEVER = at_hour(0, days=300)
START = at_hour(18)


def lift(calls=(), now=START, floors=FLOORS):
    """Return a lift with calls at given seconds: (second, origin, destination)."""
    trips = {now + second * 1000: Trip(origin, goal, 1) for second, origin, goal in calls}

    def next_call(at):
        return min((moment for moment in trips if moment > at), default=NEVER)

    return ElevatorModel(floors, Traffic(next_call, trips.__getitem__), now)


def busy_lift(seed=1):
    return ElevatorModel(FLOORS, lift_traffic(seed, "lift", FLOORS, RESIDENTIAL), START)


def test_the_registers_over_modbus():
    async def run():
        clock = FakeClock(START)
        model = lift([(1, 1, 10)])
        peer = ElevatorPeer(clock, model, unit=3)
        await peer.start()
        client = AsyncModbusTcpClient("127.0.0.1", port=peer.port)
        await client.connect()

        async def registers():
            return (await client.read_holding_registers(0, count=18, device_id=3)).registers

        idle = await registers()
        assert idle[:9] == [1, 0, 0, 1, 1, 1, 2, 1, 0]
        await clock.advance(14)
        riding = await registers()
        assert riding[:9] == [1, 1, 1, 2, riding[4], 1, 1, 1, 0]
        assert 1 < riding[4] < 10
        assert 40 <= riding[9] <= 200
        await clock.advance(40)
        there = await registers()
        assert (there[4], there[6], there[13], there[15]) == (10, 2, 1, 2)
        assert (await client.read_holding_registers(4, count=2, device_id=3)).registers == there[
            4:6
        ]
        for refused in (
            await client.read_holding_registers(0, count=19, device_id=3),
            await client.write_register(0, 2, device_id=3),
            await client.read_input_registers(0, count=2, device_id=3),
        ):
            assert refused.isError()
        await peer.suspend()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", peer.port)
        port = peer.port
        await peer.start()
        assert peer.port == port
        await until(lambda: not client.connected)
        client.close()
        await peer.stop()

    asyncio.run(run())


def test_a_basement_is_a_negative_floor_in_two_s_complement():
    model = lift([(0.001, 0, 1)])
    model.state(START + 60)
    basement = ElevatorModel([-2, -1], Traffic(lambda _: NEVER, {}.__getitem__), START)
    assert encode_registers(basement.state(START))[4] == 0xFFFE


def test_somebody_is_trapped_and_freed():
    model = lift()
    model.trap(START, alarm_after_s=8)
    seen = [model.state(START + second * 1000) for second in range(60)]
    stuck = [state for state in seen if state.faults[0] == 4]
    first = seen.index(stuck[0])
    assert first < 20
    for state in stuck:
        assert not state.moving
        assert state.occupied
        assert state.door_closed
        assert not state.in_door_zone
        assert state.mode is ServiceMode.NORMAL
    assert [state.alarm for state in seen[first : first + 20]].index(True) in (8, 9)
    model.free(START + 60_000)
    after = [model.state(START + second * 1000) for second in range(60, 90)]
    assert not any(state.alarm or state.faults[0] for state in after)
    assert any(not state.door_closed for state in after)
    assert not after[-1].occupied
    assert after[-1].in_door_zone


def test_a_moving_car_with_somebody_in_it_stops_where_it_is():
    model = lift([(1, 1, 18)])
    model.advance(START + 15_000)
    model.trap(START + 15_000)
    state = model.state(START + 15_001)
    assert model.trapped
    assert not state.moving
    assert not state.in_door_zone
    assert not lift().trapped


def test_inspection_lets_people_out_first_and_serves_nobody():
    model = lift([(1, 1, 6), (30, 1, 9), (60, 1, 9)])
    model.advance(START + 12_000)
    model.set_mode(START + 12_000, ServiceMode.INSPECTION)
    state = model.state(START + 45_000)
    assert (state.mode, state.moving, state.occupied) == (ServiceMode.INSPECTION, False, False)
    trips = state.trips
    assert model.state(START + 120_000).trips == trips
    with pytest.raises(ContractError):
        model.trap(START + 120_000)
    model.set_mode(START + 130_000, ServiceMode.NORMAL)
    assert model.state(START + 130_000).mode is ServiceMode.NORMAL


def test_a_fault_stands_until_it_is_cleared():
    model = lift([(1, 1, 3)])
    model.fault(START, 2)
    broken = model.state(START + 120_000)
    assert broken.faults == (2, 0)
    assert not broken.door_closed
    model.clear_faults(START + 121_000)
    cleared = model.state(START + 140_000)
    assert cleared.faults == (0, 0)
    assert cleared.door_closed


def test_an_hour_of_the_evening_peak():
    model = busy_lift()
    states = [model.state(START + second * 1000) for second in range(3600)]
    trips = states[-1].trips - states[0].trips
    assert 20 < trips < 140
    assert 0.05 < sum(state.occupied for state in states) / 3600 < 0.6
    assert states[-1].door_cycles >= trips - 1
    assert len({state.floor for state in states}) > 8
    again = busy_lift()
    assert [again.state(START + second * 1000) for second in range(0, 3600, 60)] == states[::60]


def do(model, now, name):
    match name:
        case "trap":
            model.trap(now)
        case "free":
            model.free(now)
        case "fault":
            model.fault(now, 3)
        case "break":
            model.fault(now, 1)
        case "dark":
            model.fault(now, 41)
        case "press":
            model.press_alarm(now)
        case "clear":
            model.clear_faults(now)
        case "inspect" | "normal":
            model.set_mode(now, ServiceMode[name.replace("inspect", "inspection").upper()])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.sampled_from(
                [
                    "look",
                    "trap",
                    "free",
                    "fault",
                    "break",
                    "dark",
                    "press",
                    "clear",
                    "inspect",
                    "normal",
                ]
            ),
        ),
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_whatever_is_done_the_lift_stays_a_lift(actions, seed):
    model, now, last = busy_lift(seed), START, None
    for seconds, name in actions:
        now += seconds * 1000
        try:
            do(model, now, name)
        except ContractError:
            assert name == "trap"
        model.shows_modes = seed > 3
        state = model.state(now)
        assert state.floor in FLOORS
        assert not (state.moving and not state.door_closed)
        assert not (state.direction and not state.moving)
        assert state.occupied == (state.load_kg > 0)
        assert state.in_door_zone or state.door_closed
        assert last is None or state.trips >= last.trips
        assert all(0 <= register <= 0xFFFF for register in encode_registers(state))
        last = state
