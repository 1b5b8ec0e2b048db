"""The lift driver against pymodbus's own server, and its register maps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from core.contracts.errors import DeviceRefusedError, SettingsError
from edge.driver import LinkError
from edge.drivers.elevator_modbus.driver import ElevatorModbusDriver, create
from edge.drivers.elevator_modbus.register_map import DEFAULT, load
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings

from .support import Recorder, context, listen, run

#: Normal service, up, in the zone, floor -1, closed, occupied, power on, 320 kg, counters.
IDLE = [1, 0, 0, 1, 0xFFFF, 1, 1, 1, 0, 320, 0, 1234, 1, 2, 0, 77, 0, 0]
STATUS = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": True,
    "floor": -1, "door_closed": True, "occupied": True, "power_on": True, "alarm_button": False,
    "load_kg": 320.0, "running_h": 1234.0, "trips": 65538, "door_cycles": 77,
}  # fmt: skip


class Lift:
    """Registers behind pymodbus's server."""

    def __init__(self) -> None:
        self.registers = list(IDLE)
        self.error: ExcCodes | None = None
        self.server: ModbusTcpServer | None = None

    async def start(self, port: int = 0) -> int:
        data = [SimData(0, values=[0] * 18, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=data, action=self._answer)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await self.server.serve_forever(background=True)
        found: int = self.server.transport.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.shutdown()

    async def _answer(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: object,
    ) -> ExcCodes | None:
        registers[:18] = self.registers
        return self.error


def driver_for(port: int, folder: Path, **more: object) -> ElevatorModbusDriver:
    raw = {
        "driver": "elevator_modbus", "host": "127.0.0.1", "port": port, "device": "lift-1",
        "timeout_s": 0.4,
    }  # fmt: skip
    return create(ElevatorModbusSettings.model_validate(raw | more), context(folder))


def test_reads_status_faults_and_alarm_button(tmp_path: Path) -> None:
    async def scenario() -> None:
        lift, sink = Lift(), Recorder()
        driver = driver_for(await lift.start(), tmp_path)
        await driver.start(sink)
        await driver.poll()
        assert sink.of("elevator.status", "lift-1") == [STATUS]
        assert sink.of("elevator.alarm_button") == [{"active": False}]
        assert sink.of("elevator.fault") == []

        lift.registers[8], lift.registers[16], lift.registers[17] = 1, 4, 77
        await driver.poll()
        lift.registers[16] = 1
        await driver.poll()
        lift.registers[8], lift.registers[16], lift.registers[17] = 0, 43, 0
        await driver.poll()
        faults = [(f["fault"], f["raw_code"], f["active"]) for f in sink.of("elevator.fault")]
        assert faults == [
            ("stopped_outside_zone", "04", True), ("other", "77", True),
            ("stopped_outside_zone", "04", False), ("safety_circuit", "01", True),
            ("safety_circuit", "01", False), ("other", "77", False),
        ]  # fmt: skip
        assert sink.of("elevator.alarm_button") == [
            {"active": False}, {"active": True}, {"active": False}
        ]  # fmt: skip
        lift.registers[16] = 90
        await driver.poll()
        assert sink.of("elevator.alarm_button")[-1] == {"active": True}
        assert sink.of("elevator.status")[-1]["alarm_button"] is True
        assert len(sink.of("elevator.fault")) == 6
        await driver.stop()
        await lift.stop()

    run(scenario())


def test_a_transition_that_could_not_be_kept_is_told_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        lift, sink = Lift(), Recorder()
        driver = driver_for(await lift.start(), tmp_path)
        await driver.start(sink)
        lift.registers[16] = 7
        sink.refuse = lambda kind: OSError("full") if kind == "elevator.fault" else None
        with pytest.raises(OSError, match="full"):
            await driver.poll()
        sink.refuse = lambda kind: None
        await driver.poll()
        assert [f["fault"] for f in sink.of("elevator.fault")] == ["position_lost"]
        await driver.stop()
        await lift.stop()

    run(scenario())


def test_error_replies_and_values_outside_the_map(tmp_path: Path) -> None:
    async def scenario() -> None:
        lift, sink = Lift(), Recorder()
        driver = driver_for(await lift.start(), tmp_path)
        await driver.start(sink)
        lift.error = ExcCodes.ILLEGAL_ADDRESS
        with pytest.raises(DeviceRefusedError) as refused:
            await driver.poll()
        assert refused.value.code == "02"
        lift.error = ExcCodes.GATEWAY_NO_RESPONSE
        with pytest.raises(LinkError) as behind:
            await driver.poll()
        assert behind.value.cause == "bus"
        lift.error = None
        lift.registers[5] = 9
        with pytest.raises(LinkError, match="register 5") as strange:
            await driver.poll()
        assert strange.value.cause == "protocol"
        lift.registers = [9, *IDLE[1:]]
        await driver.poll()
        assert sink.of("elevator.status")[-1]["service_mode"] == "unknown"
        await driver.stop()
        await lift.stop()

    run(scenario())


def test_a_lift_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        lift, sink = Lift(), Recorder()
        port = await lift.start()
        driver = driver_for(port, tmp_path)
        await driver.start(sink)
        await driver.poll()
        await lift.stop()
        with pytest.raises(LinkError):
            await driver.poll()
        with pytest.raises(LinkError) as refused:
            await driver.poll()
        assert refused.value.cause == "network"
        await lift.start(port)
        await driver.poll()
        assert len(sink.of("elevator.status")) == 2
        await driver.stop()
        await lift.stop()

    run(scenario())


@pytest.mark.parametrize("answer", [b"", b"\x00\x01\x00\x00\x00\x03\x01\x83", b"garbage" * 9])
def test_half_open_cut_off_and_garbage(answer: bytes, tmp_path: Path) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(64):
            writer.write(answer)

    async def scenario() -> None:
        server, port = await listen(handle)
        driver = driver_for(port, tmp_path, timeout_s=0.2)
        await driver.start(Recorder())
        with pytest.raises(LinkError):
            await driver.poll()
        await driver.stop()
        server.close()

    run(scenario())


def write_map(folder: Path, **changes: object) -> Path:
    raw = yaml.safe_load(DEFAULT.read_text(encoding="utf-8")) | changes
    path = folder / "map.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    fields = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))["fields"]
    fields |= {
        "door_closed": {"register": 5, "bit": 3, "invert": True},
        "load_kg": {"register": 9, "scale": 0.1},
        "trips": {"register": 12, "type": "u32"},
    }
    write_map(tmp_path, fields=fields, word_order="little")
    words = list(IDLE)
    words[5] = 0b1000
    state = load("map.yaml", tmp_path).decode(words)
    assert state.status["door_closed"] is False
    assert state.status["load_kg"] == 32.0
    assert state.status["trips"] == 2 << 16 | 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read": {"count": 10}}, "is outside of read"),
        ({"faults": {"registers": [16], "codes": {1: "explodes"}}}, "explodes"),
        ({"fields": {"floor": {"register": 4}}}, "fields missing"),
        ({"wordorder": "big"}, "did you mean word_order"),
    ],
)
def test_a_bad_map_is_refused_by_name(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_map(tmp_path, **changes)
    with pytest.raises(SettingsError, match=message):
        load("map.yaml", tmp_path)
