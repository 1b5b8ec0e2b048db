"""What can be asked of a unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pymodbus.client.base import ModbusBaseClient
from pymodbus.pdu import ModbusPDU

Table = Literal["coil", "discrete", "input", "holding"]
BIT_TABLES: frozenset[str] = frozenset({"coil", "discrete"})


@dataclass(frozen=True, slots=True)
class Read:
    """Registers or bits of one table."""

    table: Table
    address: int
    count: int

    def __str__(self) -> str:
        return f"{self.table} {self.address} ({self.count})"

    async def put(self, client: ModbusBaseClient, unit: int) -> ModbusPDU:
        """Send it and return the answer."""
        call = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "input": client.read_input_registers,
            "holding": client.read_holding_registers,
        }[self.table]
        return await call(self.address, count=self.count, device_id=unit)

    def take(self, answer: ModbusPDU) -> list[int]:
        """Return the registers, or the bits as 0 and 1."""
        if self.table in BIT_TABLES:
            return [int(bit) for bit in answer.bits[: self.count]]
        return list(answer.registers)


@dataclass(frozen=True, slots=True)
class Write:
    """One coil (0 or 1) or one holding register."""

    table: Literal["coil", "holding"]
    address: int
    value: int

    def __str__(self) -> str:
        return f"write {self.table} {self.address}"

    async def put(self, client: ModbusBaseClient, unit: int) -> ModbusPDU:
        """Send it and return the answer."""
        if self.table == "coil":
            return await client.write_coil(self.address, bool(self.value), device_id=unit)
        return await client.write_register(self.address, self.value, device_id=unit)

    def take(self, answer: ModbusPDU) -> list[int]:
        """Return what the device says that it wrote."""
        if self.table == "coil":
            return [int(answer.bits[0])]
        return list(answer.registers)


@dataclass(frozen=True, slots=True)
class Identify:
    """Function 43/14: who the device says that it is."""

    def __str__(self) -> str:
        return "device identification"

    async def put(self, client: ModbusBaseClient, unit: int) -> ModbusPDU:
        """Send it and return the answer."""
        return await client.read_device_information(read_code=1, object_id=0, device_id=unit)

    def take(self, answer: ModbusPDU) -> dict[int, str]:
        """Return the objects: 0 vendor, 1 product, 2 revision."""
        found: dict[int, Any] = getattr(answer, "information", {})
        return {
            number: (text[0] if isinstance(text, list) else text).decode("utf-8", "replace").strip()
            for number, text in found.items()
        }
