"""The lift driver against pymodbus's own server, and its register maps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from core.contracts.errors import DeviceRefusedError, JournalFullError, SettingsError
from edge.driver import LinkError
from edge.drivers.elevator_modbus.driver import ElevatorModbusDriver, create
from edge.drivers.elevator_modbus.fault_codes import tables
from edge.drivers.elevator_modbus.register_map import DEFAULT, LiftMap, load
from edge.drivers.elevator_modbus.settings import ElevatorModbusSettings
from edge.modbus.blocks import Image, Span
from edge.modbus.meaning import Reading
from simulators.devices.elevator import ElevatorGateway
from simulators.devices.elevator_model import ElevatorModel, ServiceMode, Traffic

from .support import START, FakeClock, Recorder, context, listen, run

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
    given = {key: value for key, value in (raw | more).items() if value is not None}
    return create(ElevatorModbusSettings.model_validate(given), context(folder))


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
        assert all(fault["floor"] == -1 for fault in sink.of("elevator.fault"))
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
        sink.refuse = lambda kind: JournalFullError("full") if kind == "elevator.fault" else None
        with pytest.raises(JournalFullError):
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

        async def failure() -> Exception:
            await driver.poll()
            return sink.failures[-1][1]

        lift.error = ExcCodes.DEVICE_FAILURE
        refused = await failure()
        assert isinstance(refused, DeviceRefusedError)
        assert refused.code == "04"
        lift.error = ExcCodes.GATEWAY_NO_RESPONSE
        behind = await failure()
        assert isinstance(behind, LinkError)
        assert "gateway target does not respond" in str(behind)
        lift.error = None
        lift.registers[5], lift.registers[16] = 9, 2
        await sink.until(lambda: driver._gateway.units.due(1))
        strange = await failure()
        assert isinstance(strange, LinkError)
        assert strange.cause == "protocol"
        assert "elevator.status without door_closed" in str(strange)
        assert "register 5: 9 is not in the register map" in str(strange)
        assert sink.of("elevator.status") == []
        assert [f["fault"] for f in sink.of("elevator.fault")] == ["door_close"], "not lost with it"
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
        with pytest.raises(LinkError) as refused:
            await driver.poll()
        assert refused.value.cause == "gateway"
        await lift.start(port)
        await asyncio.sleep(0.6)  # a refusal just now is remembered for half a second
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
        sink = Recorder()
        driver = driver_for(port, tmp_path, timeout_s=0.2)
        await driver.start(sink)
        await driver.poll()
        ((device, error),) = sink.failures
        assert device == "lift-1"
        assert isinstance(error, LinkError)
        assert error.cause == ("protocol" if answer else "device")
        await driver.stop()
        server.close()

    run(scenario())


def test_lifts_behind_one_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, sink = FakeClock(START), Recorder()
        models = {
            unit: ElevatorModel([1, 2, 3], Traffic(lambda _: 10**15, {}.__getitem__), START)
            for unit in (1, 2, 7)
        }
        gateway = ElevatorGateway(clock, models)
        await gateway.start()
        lifts = [{"device": f"lift-{unit}", "unit": unit} for unit in models]
        lifts[2]["fault_codes"] = "vendor_08"
        driver = driver_for(gateway.port, tmp_path, device=None, lifts=lifts)
        await driver.start(sink)
        models[2].set_mode(START, ServiceMode.FIREFIGHTER)
        models[7].fault(START, 8)
        await driver.poll()
        modes = {
            unit: sink.of("elevator.status", f"lift-{unit}")[0]["service_mode"] for unit in models
        }
        assert modes == {1: "normal", 2: "firefighter", 7: "normal"}
        assert [f["fault"] for f in sink.of("elevator.fault", "lift-7")] == ["door_open_running"]
        gateway.units[2].faults.unreached = 0x0B
        await driver.poll()
        ((device, error),) = sink.failures
        assert (device, getattr(error, "cause", None)) == ("lift-2", "device")
        assert len(sink.of("elevator.status", "lift-7")) == 2
        assert gateway.listener.connections == 1
        await driver.stop()
        await gateway.stop()

    run(scenario())


# -- register maps and fault codes ------------------------------------------------------------


def write_map(folder: Path, **changes: object) -> Path:
    raw = yaml.safe_load(DEFAULT.read_text(encoding="utf-8")) | changes
    path = folder / "map.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def fields() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))["fields"]
    return found


def read(found: LiftMap, words: list[int]) -> tuple[dict[str, Any] | None, Reading]:
    image = Image()
    image.add(Span("holding", 0, len(words)), words)
    reading = found.read(image)
    return found.complete(reading), reading


def faults(reading: Reading) -> dict[str, str]:
    return {data["raw_code"]: data["fault"] for _, data in reading.standing.values()}


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    own = fields() | {
        "door_closed": {"register": 5, "bit": 3, "invert": True},
        "load_kg": {"register": 9, "scale": 0.1},
        "trips": {"register": 12, "type": "u32"},
    }
    write_map(tmp_path, fields=own, word_order="little")
    words = list(IDLE)
    words[5] = 0b1000
    status, _ = read(load("map.yaml", tmp_path), words)
    assert status is not None
    assert status["door_closed"] is False
    assert status["load_kg"] == 32.0
    assert status["trips"] == 2 << 16 | 1


def test_the_map_format_of_before_fault_tables_works_on(tmp_path: Path) -> None:
    write_map(tmp_path, faults={
        "registers": [16, 17], "none": 0, "codes": {4: "stopped_outside_zone", 11: "entrapment"},
        "status_codes": [40, 43], "alarm_codes": [90],
    })  # fmt: skip
    found = load("map.yaml", tmp_path)
    status, reading = read(found, [*IDLE[:16], 11, 90])
    assert faults(reading) == {"11": "entrapment"}
    assert status is not None
    assert status["alarm_button"] is True
    assert faults(read(found, [*IDLE[:16], 43, 5])[1]) == {"05": "other"}


#: The codes of DOMAIN.md, section 2, and how each vendor's differ.
COMMON = {
    1: "safety_circuit", 2: "door_close", 3: "door_open", 4: "stopped_outside_zone",
    5: "unintended_movement", 6: "run_time_limiter", 7: "position_lost", 8: "anti_restart",
    41: "main_power_off", 42: "out_of_service", 61: "safety_circuit", 62: "overspeed",
    65: "anti_restart", 63: "other", 64: "other", 93: "other", 11: "other",
}  # fmt: skip
VARIANTS: dict[str, dict[int, str]] = {
    "gbt24476": {},
    "platform": {9: "overtravel_top", 10: "overtravel_bottom", 11: "entrapment"},
    "chongqing": {93: "entrapment", 92: "overtravel_top", 91: "overtravel_bottom"},
    "vendor_08": {8: "door_open_running", 11: "overspeed", 13: "run_time_limiter",
                  14: "door_cycling"},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_fault_codes(variant: str, tmp_path: Path) -> None:
    found = load("default", tmp_path, variant)
    for code, fault in (COMMON | VARIANTS[variant]).items():
        _, reading = read(found, [*IDLE[:16], code, 0])
        assert faults(reading) == {f"{code:02d}": fault}
    for code in (40, 43, 44, 45, 46, 47, 90):
        _, reading = read(found, [*IDLE[:16], code, 0])
        assert faults(reading) == {}, "says the mode, or that the button was pressed"


def test_fault_codes_of_four_digits(tmp_path: Path) -> None:
    found = load("default", tmp_path, "four_digits")
    for code, raw, fault in ((101, "0101", "entrapment"), (205, "0205", "overtravel_top"),
                             (204, "0204", "overtravel_bottom"), (4, "0004", "other")):  # fmt: skip
        assert faults(read(found, [*IDLE[:16], code, 0])[1]) == {raw: fault}


def test_a_mode_that_only_the_codes_tell(tmp_path: Path) -> None:
    own = {name: field for name, field in fields().items() if name != "service_mode"}
    write_map(tmp_path, fields=own)
    found = load("map.yaml", tmp_path)
    expected = {
        0: "normal",
        40: "normal",
        42: "stopped",
        43: "inspection",
        44: "fire_return",
        45: "firefighter",
        46: "emergency_power",
        47: "earthquake",
        4: "normal",
    }
    for code, mode in expected.items():
        status, _ = read(found, [*IDLE[:16], code, 0])
        assert status is not None
        assert status["service_mode"] == mode
    # A register that knows better is not overruled.
    status, _ = read(load("default", tmp_path), [*IDLE[:16], 43, 0])
    assert status is not None
    assert status["service_mode"] == "normal"
    status, _ = read(load("default", tmp_path), [9, *IDLE[1:16], 45, 0])
    assert status is not None
    assert status["service_mode"] == "firefighter"


def test_several_reads_and_tables(tmp_path: Path) -> None:
    own = fields() | {"floor": {"register": 300, "table": "input", "type": "i16"}}
    reads = [{"table": "holding", "address": 0, "count": 18},
             {"table": "input", "address": 300, "count": 1}]  # fmt: skip
    write_map(tmp_path, fields=own, read=reads)
    found = load("map.yaml", tmp_path)
    assert [block.span for block in found.device_map.blocks] == [
        Span("holding", 0, 18), Span("input", 300, 1)
    ]  # fmt: skip
    status, reading = read(found, [*IDLE[:16], 4, 0])
    assert status is None, "the floor was not read"
    assert reading.incomplete == ["elevator.status without floor"]
    assert faults(reading) == {"04": "stopped_outside_zone"}


def test_every_table_of_codes_is_sound() -> None:
    assert set(tables()) == {*VARIANTS, "four_digits"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read": {"count": 10}}, "is outside of read"),
        ({"read": []}, "read: at least one"),
        ({"faults": {"registers": [16], "codes": {1: "explodes"}}}, "explodes"),
        ({"faults": {"registers": [16], "variant": "chongqin"}}, "did you mean chongqing"),
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lifts": [{"device": "a"}]}, "either device"),
        ({"device": None}, "either device"),
        ({"device": None, "lifts": [{"device": "a"}, {"device": "b"}]}, "unit 1 stands twice"),
        (
            {"device": None, "lifts": [{"device": "a"}, {"device": "a", "unit": 2}]},
            "a stands twice",
        ),
    ],
)
def test_bad_settings(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        driver_for(502, tmp_path, **changes)
