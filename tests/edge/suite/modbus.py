"""Modbus TCP, RTU over TCP and RTU on a serial line: a meter and an I/O module on each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.io_module import IoModule
from simulators.devices.meter_model import MeterModel
from simulators.devices.modbus import Bank, Framing, ModbusPeer
from simulators.devices.modbus_meter import MeterBank
from simulators.devices.modbus_serial import SerialModbusPeer
from simulators.loads import LoadKind, LoadPlan, LoadSpec

from .peer import DevicePeer

NO_CHECK_SUM = "Modbus TCP has no check sum of its own: that of TCP guards the line"


class _ModbusPeer(DevicePeer[ModbusPeer | SerialModbusPeer]):
    protocol = "modbus"
    expects = frozenset({"meter.reading"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        load = LoadPlan(7, "m", LoadSpec(LoadKind.HOUSEHOLD, 8_000))
        self.io = IoModule(self.clock)
        meter = MeterBank(self.clock, MeterModel(7, "m", load, phases=3), "eastron")
        self.banks: dict[int, Bank] = {1: meter, 2: self.io}

    @property
    def entry(self) -> dict[str, Any]:
        own = f"modbus-{self.variant}"
        inputs = {1: {"kind": "fire.alarm", "loop": "1", "point": "hall"}}
        return {
            "driver": "modbus", "period_s": 0.3, "timeout_s": 0.5, **self.line,
            "devices": [
                {"device": f"{own}-meter", "unit": 1, "map": "eastron_sdm630"},
                {"device": f"{own}-io", "unit": 2, "map": "io_16in", "inputs": inputs},
            ],
        }  # fmt: skip

    @property
    def line(self) -> dict[str, Any]:
        raise NotImplementedError

    async def stir(self) -> tuple[str, str]:
        self.io.close_contact(0)
        return "fire.alarm", f"modbus-{self.variant}-io"


class _OnTcp(_ModbusPeer):
    framing: Framing = "tcp"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = ModbusPeer(self.banks, framing=self.framing)

    @property
    def line(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.device.port, "framing": self.framing}


class TcpPeer(_OnTcp):
    """Modbus TCP."""

    variant = "tcp"
    exempt: ClassVar[Mapping[str, str]] = {"garble": NO_CHECK_SUM}


class RtuOverTcpPeer(_OnTcp):
    """RTU frames through a transparent serial server."""

    variant = "rtu"
    framing: Framing = "rtu"


class SerialPeer(_ModbusPeer):
    """RTU on the edge's own serial port."""

    variant = "serial"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = SerialModbusPeer(self.banks, folder / "ttyRS485")

    @property
    def line(self) -> dict[str, Any]:
        return {"serial": {"port": self.device.port, "baud": 9600}}


PEERS = (TcpPeer, RtuOverTcpPeer, SerialPeer)
