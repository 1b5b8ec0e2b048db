"""The Modbus simulators, read by pymodbus's own clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from simulators.devices.elevator import ElevatorGateway
from simulators.devices.elevator_model import MAIN_POWER_OFF, ElevatorModel, Traffic, Trip
from simulators.devices.io_module import PULSE_BASE, IoModule
from simulators.devices.meter_model import MeterModel
from simulators.devices.modbus import ModbusPeer, Registers
from simulators.devices.modbus_meter import LAYOUTS, MeterBank, PulseBank, SensorBank
from simulators.devices.modbus_serial import SerialModbusPeer
from simulators.loads import LoadKind, LoadPlan, LoadSpec
from tests.simulators.helpers import FakeClock, at_hour

NOON = at_hour(12)


def meter(make: str, clock: Any) -> MeterBank:
    plan = LoadPlan(1, "m", LoadSpec(LoadKind.OFFICE, 30_000))
    return MeterBank(clock, MeterModel(1, "m", plan, phases=3), make)


async def client_of(peer: ModbusPeer, framer: FramerType = FramerType.SOCKET) -> Any:
    client = AsyncModbusTcpClient(
        "127.0.0.1", port=peer.port, framer=framer, timeout=0.3, retries=0, reconnect_delay=0
    )
    await client.connect()
    return client


@pytest.mark.parametrize("framer", [FramerType.SOCKET, FramerType.RTU])
def test_a_foreign_client_reads_and_writes(framer: FramerType) -> None:
    async def run() -> None:
        clock = FakeClock(NOON)
        framing = "tcp" if framer is FramerType.SOCKET else "rtu"
        io = IoModule(clock)
        peer = ModbusPeer({1: io, 2: PulseBank(clock, start=70_000)}, framing=framing)  # type: ignore[arg-type]
        await peer.start()
        client = await client_of(peer, framer)
        io.close_contact(2)
        bits = (await client.read_discrete_inputs(0, count=16, device_id=1)).bits
        assert bits == [False, False, True] + 13 * [False]
        counted = (await client.read_input_registers(4, count=2, device_id=1)).registers
        assert counted == [0, 1]
        assert (await client.read_holding_registers(0, count=2, device_id=2)).registers == [1, 4464]
        assert not (await client.write_coil(3, True, device_id=1)).isError()
        assert io.relay(3)
        assert not (await client.write_coils(0, [True, False, True], device_id=1)).isError()
        assert (await client.read_coils(0, count=4, device_id=1)).bits[:4] == [
            True,
            False,
            True,
            True,
        ]
        await client.write_registers(PULSE_BASE, [0, 5], device_id=1)
        assert io.relay(1)
        await clock.advance(0.6)
        assert not io.relay(1), "off by its own timer"
        said = await client.read_device_information(device_id=1)
        assert said.information[1] == b"IO-16-8"
        for refused in (
            await client.read_coils(6, count=4, device_id=1),
            await client.read_device_information(device_id=2),
            await client.write_coil(0, True, device_id=2),
            await client.read_coils(0, count=1, device_id=2),
        ):
            assert refused.isError()
        client.close()
        await peer.stop()

    asyncio.run(run())


def test_faults_of_a_unit() -> None:
    async def run() -> None:
        bank = Registers({"holding": {0: 1}})
        peer = ModbusPeer({1: bank, 2: Registers({"holding": {0: 2}})})
        await peer.start()
        client = await client_of(peer)
        faults = peer.units[1].faults

        async def read(unit: int = 1) -> Any:
            return await client.read_holding_registers(0, count=1, device_id=unit)

        assert (await read()).registers == [1]
        faults.stuck = True
        bank.tables["holding"][0] = 7
        assert (await read()).registers == [1]
        faults.stuck = False
        assert (await read()).registers == [7]
        faults.exception = 6
        assert (await read()).exception_code == 6
        faults.exception, faults.unreached = None, 0x0B
        assert (await read()).exception_code == 0x0B
        faults.unreached, faults.silent = None, True
        with pytest.raises(ModbusIOException):
            await read()
        faults.silent = False
        faults.reboot(0.2)
        with pytest.raises(ModbusIOException):
            await read()
        assert (await read()).registers == [7], "it has started"
        assert (await read(2)).registers == [2], "the others never noticed"
        faults.answers_as = 2
        with pytest.raises(ModbusIOException):
            await read()
        client.close()
        await peer.stop()

    asyncio.run(run())


def test_a_serial_line_with_a_foreign_client(tmp_path: Any) -> None:
    async def run() -> None:
        peer = SerialModbusPeer({4: SensorBank(FakeClock(NOON), 1, "s")}, tmp_path / "tty")
        await peer.start()
        client = AsyncModbusSerialClient(str(peer.path), timeout=0.3, retries=0, reconnect_delay=0)
        await client.connect()
        registers = (await client.read_input_registers(0, count=2, device_id=4)).registers
        assert 150 < registers[0] < 300
        assert 400 < registers[1] < 700
        peer.units[4].faults.spoil_crc = True
        with pytest.raises(ModbusIOException):
            await client.read_input_registers(0, count=2, device_id=4)
        client.close()
        await peer.stop()
        assert not peer.path.exists()

    asyncio.run(run())


@pytest.mark.parametrize("make", LAYOUTS)
def test_meters_count_on_and_show_their_relay(make: str) -> None:
    clock = FakeClock(NOON)
    bank = meter(make, clock)
    table, layout, _ = LAYOUTS[make]
    before = layout(bank.model.state(NOON))
    after = layout(bank.model.state(NOON + 3_600_000))
    assert before.keys() == after.keys()
    assert before != after
    assert all(0 <= word <= 0xFFFF for word in after.values())
    first = min(before)
    assert bank.read(table, first, 2) == [before[first], before[first + 1]]


def test_a_pulse_counter_goes_round_and_can_be_exchanged() -> None:
    clock = FakeClock(NOON)
    bank = PulseBank(clock, pulses_h=3600, start=2**32 - 1)
    assert bank.read("holding", 0, 2) == [0xFFFF, 0xFFFF]
    clock._now_ms += 2_000
    assert bank.read("holding", 0, 2) == [0, 1]
    bank.set(5)
    assert bank.pulses == 5


def test_lifts_behind_a_gateway_with_faults_that_stop_them() -> None:
    async def run() -> None:
        trips = {NOON + 1_000: Trip(0, 9, 1)}
        never = at_hour(0, days=300)

        def next_call(at: int) -> int:
            return min((moment for moment in trips if moment > at), default=never)

        floors = list(range(1, 11))
        models = {
            unit: ElevatorModel(floors, Traffic(next_call, trips.__getitem__), NOON)
            for unit in (1, 2)
        }
        clock = FakeClock(NOON)
        gateway = ElevatorGateway(clock, models)
        await gateway.start()
        client = await client_of(gateway)

        async def registers(unit: int) -> list[int]:
            return (await client.read_holding_registers(0, count=18, device_id=unit)).registers

        await clock.advance(16)
        assert (await registers(1))[1] == 1
        models[1].fault(clock.now_ms(), MAIN_POWER_OFF)
        models[2].press_alarm(clock.now_ms(), 5)
        stopped, other = await registers(1), await registers(2)
        # Not moving, outside the zone, closed, occupied, without power, code 41.
        assert (stopped[1], stopped[3], stopped[5:8], stopped[16]) == (0, 2, [1, 1, 2], 41)
        assert (other[1], other[8], other[16]) == (1, 1, 0)
        await clock.advance(60)
        assert (await registers(1))[4] == stopped[4]
        models[1].clear_faults(clock.now_ms())
        models[1].shows_modes = True
        await clock.advance(30)
        again = await registers(1)
        assert (again[7], again[16], again[17]) == (1, 0, 40)
        assert not models[1].trapped
        client.close()
        await gateway.stop()

    asyncio.run(run())
