"""A scan for Modbus devices: who answers, who says its name, and who is told by its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.contracts.errors import SettingsError
from edge.discovery.found import Found
from edge.discovery.modbus import addresses, scan
from edge.modbus.settings import ModbusSerialSettings
from simulators.devices.io_module import IoModule
from simulators.devices.meter_model import MeterModel
from simulators.devices.modbus import Bank, ModbusPeer
from simulators.devices.modbus_meter import MeterBank, SensorBank
from simulators.devices.modbus_serial import SerialModbusPeer
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .drivers.support import START, FakeClock, run


def devices() -> dict[int, Bank]:
    clock = FakeClock(START)
    plan = LoadPlan(7, "m", LoadSpec(LoadKind.OFFICE, 40_000))
    meters = {
        unit: MeterBank(clock, MeterModel(7, "m", plan, phases=3), make)
        for unit, make in ((1, "acrel"), (2, "eastron"), (3, "chint"))
    }
    return {**meters, 5: IoModule(clock), 9: SensorBank(clock, 1, "s")}


async def all_of(*hosts: str, **more: Any) -> dict[str, Found]:
    found = [item async for item in scan(hosts, timeout_s=0.3, **more)]
    return {item.address: item for item in found}


def test_a_gateway_with_five_devices() -> None:
    async def scenario() -> None:
        peer = ModbusPeer(devices())
        await peer.start()
        found = await all_of("127.0.0.1", ports=[peer.port, 1], units=[1, 2, 3, 4, 5, 9])
        at = f"127.0.0.1:{peer.port} unit"
        assert set(found) == {f"{at} {unit}" for unit in (1, 2, 3, 5, 9)}
        maps = {
            address.rpartition(" ")[2]: item.entry["devices"][0].get("map")
            for address, item in found.items()
        }
        assert maps == {
            "1": "acrel_adl3000", "2": "eastron_sdm630", "3": "chint_dtsu666", "5": None, "9": None
        }  # fmt: skip
        chint, io, sensor = (found[f"{at} {unit}"] for unit in (3, 5, 9))
        assert "vendor CHINT, product DTSU666" in chint.what
        assert "product IO-16-8" in io.what
        assert sensor.what == "answers, and does not say what it is"
        assert chint.entry == {
            "driver": "modbus", "host": "127.0.0.1", "port": peer.port, "framing": "tcp",
            "devices": [{"unit": 3, "map": "chint_dtsu666"}],
        }  # fmt: skip
        assert all(item.protocol == "modbus" for item in found.values())
        assert peer.listener.clients <= 1
        await peer.stop()

    run(scenario())


def test_a_serial_line_and_a_user_s_map(tmp_path: Path) -> None:
    own = tmp_path / "climate.yaml"
    own.write_text(
        "name: climate\nidentify:\n  probes:\n"
        "    - {value: {table: input, address: 1, scale: 0.1}, least: 5, most: 100}\n",
        encoding="utf-8",
    )

    async def scenario() -> None:
        peer = SerialModbusPeer({9: SensorBank(FakeClock(START), 1, "s")}, tmp_path / "tty")
        await peer.start()
        line = ModbusSerialSettings(port=str(peer.path))
        found = await all_of(serial=[line], units=[8, 9], own_maps=[own])
        (item,) = found.values()
        assert item.address == f"{peer.path} unit 9"
        assert item.entry["serial"] == {"port": str(peer.path)}
        assert item.entry["devices"] == [{"unit": 9, "map": str(own)}]
        await peer.stop()

    run(scenario())


def test_the_range_is_bounded() -> None:
    assert addresses(["10.0.0.0/30", "meter.local"]) == ["10.0.0.1", "10.0.0.2", "meter.local"]
    with pytest.raises(SettingsError, match="at most 1024"):
        addresses(["10.0.0.0/8"])
    with pytest.raises(SettingsError, match=r"10\.0\.0\.0/99"):
        addresses(["10.0.0.0/99"])
    with pytest.raises(SettingsError, match="a smaller range"):
        run(all_of("10.0.0.0/22", ports=[502, 503]))
