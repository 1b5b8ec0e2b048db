"""How a Modbus gateway is named in a driver's settings; imports nothing of pymodbus."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DriverSettings, Host, Period, Port, Timeout
from edge.transport.settings import Baud, Parity, SerialSettings

#: Modbus addresses 1 to 247; 0 and 248 to 255 are for devices on TCP that answer to them.
Unit = Annotated[int, Field(ge=0, le=255)]
_LAST_UNIT_ON_A_LINE = 247


class ModbusSerialSettings(SerialSettings):
    """A serial port of the edge with an RS-485 line on it."""

    baud: Baud = 9600
    parity: Parity = "none"
    """Meters are usually delivered with none, the standard's own default is even."""
    local_echo: bool = False
    """The adapter hears what it sends itself."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway or a line is, and how it frames; drivers that name the same share it."""

    framing: Literal["tcp", "rtu"]
    host: str = ""
    port: int = 0
    serial: ModbusSerialSettings | None = None

    @property
    def name(self) -> str:
        """Return ``host:port`` or the serial port: the name of the gateway."""
        return self.serial.port if self.serial is not None else f"{self.host}:{self.port}"

    @property
    def key(self) -> tuple[str, str]:
        """Return the key under which the connection is shared."""
        return "modbus", self.name


class GatewaySettings(DriverSettings):
    """What every driver over Modbus has: a gateway on TCP, or a serial port."""

    host: Host | None = None
    port: Port = 502
    serial: ModbusSerialSettings | None = None
    framing: Literal["tcp", "rtu"] | None = None
    """``tcp``: Modbus TCP (the default with a host). ``rtu``: RTU frames, as on a serial line
    (the default with ``serial``) or through a transparent serial server on TCP."""
    period_s: Period = 1
    timeout_s: Timeout = 3
    """Real time that one answer may take."""

    @model_validator(mode="after")
    def _one_way(self) -> GatewaySettings:
        if (self.host is None) == (self.serial is None):
            raise ValueError("give either host (and port), or serial")
        if self.serial is not None and self.framing == "tcp":
            raise ValueError("framing: a serial line has rtu frames; leave framing out")
        if self.endpoint.framing == "rtu":
            for unit in self.units():
                if not 1 <= unit <= _LAST_UNIT_ON_A_LINE:
                    raise ValueError(f"unit {unit}: on a serial line units are 1 to 247")
        return self

    @property
    def endpoint(self) -> Endpoint:
        """Return where the gateway is."""
        if self.serial is not None:
            return Endpoint("rtu", serial=self.serial)
        return Endpoint(self.framing or "tcp", self.host or "", self.port)

    @abstractmethod
    def units(self) -> tuple[int, ...]:
        """Return the unit of each device."""
