"""Modbus RTU on a pseudo-terminal, as on a serial port of the edge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from simulators.devices.modbus import Bank, ModbusUnits
from simulators.devices.peer import SerialPeer


class SerialModbusPeer(ModbusUnits, SerialPeer):
    """Units on an RS-485 line; the edge's end is a pseudo-terminal behind a link at ``path``."""

    def __init__(self, banks: Mapping[int, Bank], path: Path) -> None:
        ModbusUnits.__init__(self, banks, "rtu")
        SerialPeer.__init__(self, self.serve, path)
