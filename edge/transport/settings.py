"""Settings of a channel: a TCP gateway (or a device's own socket), or a serial port."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge.drivers.settings import Host, Port, Section

Baud = Annotated[int, Field(ge=50, le=4_000_000)]
Parity = Literal["none", "even", "odd"]


class SerialSettings(Section):
    """A serial port and the format of its bytes; what is usual is each protocol's own."""

    port: Annotated[str, Field(min_length=1, max_length=255)]
    """``/dev/ttyS1``, ``/dev/serial/by-id/…``, ``COM3``."""
    baud: Baud
    parity: Parity
    stop_bits: Literal[1, 2] = 1

    @property
    def parity_letter(self) -> str:
        """Return the parity as libraries want it: N, E or O."""
        return self.parity[0].upper()


class MeterSerialSettings(SerialSettings):
    """As DL/T 645 and CJ/T 188 have it: 2400 baud, 8E1."""

    baud: Baud = 2400
    parity: Parity = "even"
    data_bits: Literal[5, 6, 7, 8] = 8
    gap_s: Annotated[float, Field(ge=0, le=5)] = 0.02
    """Silence (real time) between an answer and the next question, for slow transceivers."""


class ChannelSettings(Section):
    """Either ``host`` and ``port``, or ``serial``."""

    host: Host | None = None
    port: Port | None = None
    serial: MeterSerialSettings | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        tcp = (self.host is not None, self.port is not None)
        if self.serial is not None and any(tcp):
            raise ValueError("give either host and port, or serial, not both")
        if self.serial is None and not all(tcp):
            raise ValueError("give host and port, or serial")
        return self

    @property
    def channel(self) -> str:
        """Return the channel's name: ``host:port`` or the serial port."""
        return self.serial.port if self.serial is not None else f"{self.host}:{self.port}"
