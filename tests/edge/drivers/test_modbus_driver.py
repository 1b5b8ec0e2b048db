"""The Modbus driver: signals, missing registers, several drivers on one gateway, a user's map."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from core.contracts.errors import JournalFullError, SettingsError
from edge.config import build as build_drivers
from edge.config import from_raw
from edge.driver import DriverContext, LinkError
from edge.drivers.elevator_modbus.driver import create as create_lift
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.drivers.modbus.driver import ModbusDriver, create
from edge.drivers.modbus.settings import ModbusSettings
from simulators.devices.elevator import LiftBank
from simulators.devices.elevator_model import ElevatorModel, Traffic
from simulators.devices.io_module import IoModule
from simulators.devices.meter_model import MeterModel
from simulators.devices.modbus import Bank, ModbusPeer, Registers, Unit
from simulators.devices.modbus_meter import MeterBank, PulseBank, SensorBank
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .support import START, FakeClock, Recorder, context, run

ALARM = {"kind": "fire.alarm", "loop": "1", "point": "hall"}


def driver_for(
    port: int, folder: Path, devices: list[dict[str, Any]], shared: DriverContext | None = None,
    **more: Any,
) -> ModbusDriver:  # fmt: skip
    raw = {"driver": "modbus", "host": "127.0.0.1", "port": port, "timeout_s": 0.4,
           "devices": devices, **more}  # fmt: skip
    return create(ModbusSettings.model_validate(raw), shared or context(folder))


def meter_model() -> MeterModel:
    plan = LoadPlan(7, "m", LoadSpec(LoadKind.OFFICE, 40_000))
    return MeterModel(7, "m", plan, phases=3)


def io(**inputs: Any) -> dict[str, Any]:
    given = inputs or {"1": ALARM}
    return {"device": "io", "unit": 1, "map": "io_16in", "inputs": given}


def test_meters_of_three_makes_tell_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, sink, model = FakeClock(START), Recorder(), meter_model()
        makes = {1: "acrel", 2: "eastron", 3: "chint"}
        peer = ModbusPeer({unit: MeterBank(clock, model, make) for unit, make in makes.items()})
        await peer.start()
        driver = driver_for(peer.port, tmp_path, [
            {"device": "acrel", "unit": 1, "map": "acrel_adl3000", "parameters": {"ct": 40}},
            {"device": "eastron", "unit": 2, "map": "eastron_sdm630"},
            {"device": "chint", "unit": 3, "map": "chint_dtsu666"},
        ])  # fmt: skip
        await driver.start(sink)
        await driver.poll()
        state = model.state(START)
        for device in makes.values():
            (data,) = sink.of("meter.reading", device)
            assert data["medium"] == "electricity"
            assert data["energy_kwh"] == pytest.approx(state.energy_kwh, rel=1e-4, abs=0.4)
            assert data["power_w"] == pytest.approx(state.power_w, abs=41)  # 1 W · 40
            assert data["voltage_l2_v"] == pytest.approx(state.voltage_v[1], abs=0.06)
            assert data["current_l3_a"] == pytest.approx(state.current_a[2], abs=0.21)
            assert data["power_factor"] == pytest.approx(state.power_factor, abs=0.001)
            assert data["frequency_hz"] == pytest.approx(state.frequency_hz, abs=0.006)
        assert driver.gateway == f"127.0.0.1:{peer.port}"
        assert peer.listener.connections == 1
        await driver.stop()
        await peer.stop()

    run(scenario())


def test_counters_sensors_and_contacts(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, sink = FakeClock(START), Recorder()
        module, pulses, sensor = (
            IoModule(clock),
            PulseBank(clock, start=500),
            SensorBank(clock, 1, "s"),
        )
        peer = ModbusPeer({1: module, 2: pulses, 3: sensor})
        await peer.start()
        driver = driver_for(peer.port, tmp_path, [
            io(**{"1": ALARM, "2": {"kind": "fire.fault", "loop": "1", "invert": True},
                  "5": {"kind": "device.tamper", "part": "cover", "first": True}}),
            {"device": "water", "unit": 2, "map": "pulse_counter",
             "parameters": {"per_pulse": 0.01, "initial": 1000}},
            {"device": "pump", "unit": 1, "map": "pulse_counter",
             "parameters": {"per_pulse": 1, "table": "input", "address": 8}},
            {"device": "climate", "unit": 3, "map": "th_sensor"},
        ])  # fmt: skip
        await driver.start(sink)
        module.contacts[1] = True  # the fault relay is closed while all is well
        module.count(4, 70_000)
        await driver.poll()
        assert sink.of("meter.reading", "water") == [{"medium": "water", "volume_m3": 1005.0}]
        assert sink.of("meter.reading", "pump") == [{"medium": "water", "volume_m3": 70_000.0}]
        readings = {data["quantity"]: data for data in sink.of("sensor.reading", "climate")}
        assert readings["temperature"]["value"] == pytest.approx(sensor.temperature_c, abs=0.06)
        assert readings["humidity"]["unit"] == "%"
        assert sink.of("fire.alarm") == sink.of("fire.fault") == []
        assert sink.of("device.tamper") == [{"part": "cover", "active": False}]

        module.close_contact(0)
        module.close_contact(1, closed=False)
        await driver.poll()
        await driver.poll()
        assert sink.of("fire.alarm") == [{"loop": "1", "point": "hall", "active": True}]
        assert sink.of("fire.fault") == [{"loop": "1", "active": True}]
        module.close_contact(0, closed=False)
        await driver.poll()
        assert [data["active"] for data in sink.of("fire.alarm")] == [True, False]
        sensor.broken = True
        before = len(sink.of("sensor.reading"))
        await driver.poll()
        assert len(sink.of("sensor.reading")) == before, "a broken probe has no reading"
        await driver.stop()
        await peer.stop()

    run(scenario())


def test_a_signal_that_could_not_be_kept_is_told_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        module, sink = IoModule(FakeClock(START)), Recorder()
        peer = ModbusPeer({1: module})
        await peer.start()
        driver = driver_for(peer.port, tmp_path, [io()])
        await driver.start(sink)
        module.close_contact(0)
        sink.refuse = lambda kind: JournalFullError("full") if kind == "fire.alarm" else None
        with pytest.raises(JournalFullError):
            await driver.poll()
        sink.refuse = lambda kind: None
        await driver.poll()
        await driver.poll()
        assert [data["active"] for data in sink.of("fire.alarm")] == [True]
        await driver.stop()
        await peer.stop()

    run(scenario())


def sparse(*, holes: bool) -> Registers:
    """A device that lacks register 3 between those of a map, and all of its second table."""
    values = {address: 10 * address for address in range(8) if address != 3 or not holes}
    return Registers({"holding": values})


OWN_MAP = """
name: own
gap: 8
sensors:
  - {quantity: first, unit: "1", value: {address: 1}}
  - {quantity: third, unit: "1", value: {address: 3}}
  - {quantity: fifth, unit: "1", value: {address: 5, scale: 0.1}}
  - {quantity: other, unit: "1", value: {table: input, address: 0}}
"""


def test_registers_that_a_device_lacks_cost_only_themselves(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "own.yaml").write_text(OWN_MAP, encoding="utf-8")
        sink, bank = Recorder(), sparse(holes=True)
        peer = ModbusPeer({1: bank})
        await peer.start()
        driver = driver_for(
            peer.port, tmp_path, [{"device": "d", "unit": 1, "map": "own.yaml"}]
        )  # fmt: skip
        await driver.start(sink)
        await driver.poll()
        found = {data["quantity"]: data["value"] for data in sink.of("sensor.reading")}
        assert found == {"first": 10.0, "fifth": 5.0}
        assert sink.reached_devices == ["d"]
        asked = peer.units[1].asked
        await driver.poll()
        assert peer.units[1].asked - asked == 2, "what is not there is not asked for again"
        assert driver.health()["blocks_missing"] == 2
        # A device that is busy for a moment has its registers all the same.
        peer.units[1].faults.exception = 6
        await driver.poll()
        assert "busy" in str(sink.failures[-1][1])
        peer.units[1].faults.exception = None
        await driver.poll()
        assert len(sink.of("sensor.reading")) == 6
        await driver.stop()
        await peer.stop()

    run(scenario())


class MuteToInputs(Unit):
    """Says nothing at all to a table that it does not have, as some devices do."""

    def answer(self, pdu: bytes) -> bytes:
        return super().answer(pdu) if pdu[0] != 4 else None  # type: ignore[return-value]


def test_a_block_that_is_never_answered_is_left_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "own.yaml").write_text(OWN_MAP, encoding="utf-8")
        sink = Recorder()
        peer = ModbusPeer({1: Bank()})
        peer.units[1] = MuteToInputs(sparse(holes=False))
        await peer.start()
        driver = driver_for(
            peer.port, tmp_path, [{"device": "d", "unit": 1, "map": "own.yaml"}], timeout_s=0.1
        )  # fmt: skip
        await driver.start(sink)
        while driver.health()["blocks_missing"] == 0:
            await driver.poll()
            await asyncio.sleep(0.02)
        assert {data["quantity"] for data in sink.of("sensor.reading")} == {
            "first", "third", "fifth"
        }  # fmt: skip
        assert sink.failures == []
        assert sink.counts["blocks_silent"] == 3
        await driver.stop()
        await peer.stop()

    run(scenario())


def test_a_dead_unit_does_not_take_the_others_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink, clock = Recorder(), FakeClock(START)
        banks: dict[int, Bank] = {unit: SensorBank(clock, unit, "s") for unit in (1, 2, 3)}
        peer = ModbusPeer(banks)
        await peer.start()
        driver = driver_for(
            peer.port, tmp_path,
            [{"device": f"s{unit}", "unit": unit, "map": "th_sensor"} for unit in (1, 2, 3)],
        )  # fmt: skip
        await driver.start(sink)
        await driver.poll()
        peer.units[2].faults.silent = True
        for _ in range(4):
            await driver.poll()
        assert {device for device, _ in sink.failures} == {"s2"}
        (_, error), *_ = sink.failures
        assert isinstance(error, LinkError)
        assert error.cause == "device"
        assert sink.reached_devices.count("s3") == 5
        assert len(sink.failures) < 4, "asked less and less often"
        for unit in (1, 3):
            peer.units[unit].faults.unreached = 0x0B
        with pytest.raises(LinkError, match="no unit answers") as all_gone:
            await driver.poll()
        assert all_gone.value.cause == "bus"
        await driver.stop()
        await peer.stop()

    run(scenario())


def test_meters_and_lifts_share_one_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, sink = FakeClock(START), Recorder()
        lift = ElevatorModel([1, 2, 3], Traffic(lambda _: 10**15, {}.__getitem__), START)
        peer = ModbusPeer({1: IoModule(clock), 5: LiftBank(clock, lift)})
        await peer.start()
        both = context(tmp_path)
        meters = driver_for(peer.port, tmp_path, [io()], both)
        raw = {"driver": "elevator_modbus", "host": "127.0.0.1", "port": peer.port,
               "unit": 5, "device": "lift", "timeout_s": 0.4}  # fmt: skip
        lifts = create_lift(ElevatorModbusSettings.model_validate(raw), both)
        assert meters.gateway == lifts.gateway
        for driver in (meters, lifts):
            await driver.start(sink)
            await driver.poll()
        assert peer.listener.connections == peer.listener.clients == 1
        peer.units[5].faults.silent = True
        await lifts.poll()
        ((device, error),) = sink.failures
        assert (device, getattr(error, "cause", None)) == ("lift", "device")
        await meters.stop()
        await meters.stop()
        assert peer.listener.clients == 1, "the lifts still use it"
        peer.units[5].faults.silent = False
        await lifts.stop()
        await sink.until(lambda: peer.listener.clients == 0)
        await peer.stop()

    run(scenario())


@pytest.fixture
def entry() -> dict[str, Any]:
    return {"driver": "modbus", "host": "10.0.0.1",
           "devices": [{"device": "d", "unit": 1, "map": "relay_8"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serial": {"port": "/dev/ttyS1"}}, "either host .and port., or serial"),
        ({"host": None}, "either host"),
        ({"host": None, "serial": {"port": "/dev/ttyS1"}, "framing": "tcp"}, "rtu frames"),
        ({"host": None, "serial": {"port": "/x", "baudrate": 1}}, "did you mean baud"),
        (
            {"framing": "rtu", "devices": [{"device": "d", "unit": 250, "map": "relay_8"}]},
            "1 to 247",
        ),
        ({"devices": [{"device": "d", "map": "relay_9"}]}, "device d: map relay_9: .*relay_8"),
        ({"devices": [{"device": "d", "map": "relay_8", "outputs": [9]}]}, "relay_8 has no 9"),
        ({"devices": [{"device": "d", "map": "relay_8"}] * 2}, "device d stands twice"),
    ],
)
def test_a_bad_entry_is_refused_by_name(
    entry: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    raw = {key: value for key, value in (entry | changes).items() if value is not None}
    whole = {"edge": "e", "site": "s", "drivers": [raw]}
    with pytest.raises(SettingsError, match=message):
        build_drivers(from_raw(whole, "edge.yaml", tmp_path), FakeClock(START), tmp_path)


# -- against a server that is not ours --------------------------------------------------------


class Foreign:
    """pymodbus's own server with a user's meter behind it."""

    def __init__(self, registers: list[int], unit: int = 9) -> None:
        data = [SimData(0, values=registers, datatype=DataType.REGISTERS)]
        self._device = SimDevice(id=unit, simdata=data, action=self._answer)
        self.error: ExcCodes | None = None
        self.server: ModbusTcpServer | None = None

    async def start(self) -> int:
        self.server = ModbusTcpServer(self._device, address=("127.0.0.1", 0))
        await self.server.serve_forever(background=True)
        port: int = self.server.transport.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.shutdown()  # type: ignore[no-untyped-call]

    async def _answer(self, *_: Any) -> ExcCodes | None:
        return self.error


USERS_METER = """
name: users_meter
about: A water meter with a battery, as its manual of two pages describes it
word_order: little
parameters:
  litres: {about: "litres a count"}
states:
  meter.reading:
    medium: water
    volume_m3: {address: 2, type: u32, scale: 0.001, times: ["${litres}"]}
    flow_m3_h: {address: 4, type: i16, scale: 0.01}
events:
  - {kind: meter.event, data: {medium: water, event: battery_low}, value: {address: 6, bit: 0}}
  - {kind: meter.event, data: {medium: water, event: leak}, value: {address: 6, bit: 4}}
"""


def test_a_user_adds_a_meter_by_a_file(tmp_path: Path) -> None:
    """The example of docs/drivers/modbus.md, through the configuration and a foreign server."""

    async def scenario() -> None:
        (tmp_path / "water.yaml").write_text(USERS_METER, encoding="utf-8")
        foreign, sink = Foreign([0, 0, 0x86A0, 1, 0xFFFB, 0, 0b10000, 0]), Recorder()
        port = await foreign.start()
        entry = {"driver": "modbus", "host": "127.0.0.1", "port": port, "timeout_s": 1,
                 "devices": [{"device": "w1", "unit": 9, "map": "water.yaml",
                              "parameters": {"litres": 10}}]}  # fmt: skip
        config = from_raw({"edge": "e", "site": "s", "drivers": [entry]}, "edge.yaml", tmp_path)
        (driver,) = build_drivers(config, FakeClock(START), tmp_path)
        assert isinstance(driver, ModbusDriver)
        await driver.start(sink)
        await driver.poll()
        assert sink.of("meter.reading", "w1") == [
            {"medium": "water", "volume_m3": 1000.0, "flow_m3_h": -0.05}
        ]
        assert sink.of("meter.event", "w1") == [
            {"medium": "water", "event": "leak", "active": True}
        ]
        foreign.error = ExcCodes.GATEWAY_NO_RESPONSE
        await driver.poll()
        assert "gateway target does not respond" in str(sink.failures[-1][1])
        await driver.stop()
        await foreign.stop()

    run(scenario())
