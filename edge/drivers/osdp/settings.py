"""Settings of the OSDP driver: one bus with its readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.contracts.vocabulary.base import Direction
from edge.drivers.settings import DeviceId, DriverSettings, Host, Port, Section

#: libosdp tells in 32 bits which readers are online, and RS-485 carries 32 unit loads.
MOST_READERS = 32
#: libosdp's binding keeps a pulse's length in one byte of tenths of a second.
LONGEST_PULSE_S = 25.0

Number = Annotated[int, Field(ge=0, le=63)]
Role = Literal["contact", "exit_button", "fire_release", "fire_alarm", "fire_fault"]
Baud = Literal[9600, 19_200, 38_400, 57_600, 115_200, 230_400]


class InputSettings(Section):
    """One supervised input of a reader."""

    number: Number
    """As the reader counts them, from 0."""
    role: Role
    """``contact`` is active while the door is open; ``fire_alarm`` and ``fire_fault`` are a fire
    panel's dry contacts."""
    invert: bool = False
    """The input rests at 1: 0 means that it is active."""
    point: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The name of a fire contact; none: ``input-<number>``."""


class LockSettings(Section):
    """The output that releases the door."""

    output: Number = 0
    seconds: Annotated[float, Field(ge=0.1, le=LONGEST_PULSE_S)] = 5
    release: Literal["on", "off"] = "on"
    """``off``: the output holds the lock and is switched off to release it (magnets)."""


class ReaderSettings(Section):
    """One reader (peripheral device) on the bus."""

    device: DeviceId
    address: Annotated[int, Field(ge=0, le=126)]
    key: Annotated[str | None, Field(repr=False)] = None
    """The secure channel's key (SCBK), 32 hex digits; in place, or in a file, or in the
    environment variable that ``key_env`` names. Without one the reader talks in clear."""
    key_file: Path | None = None
    key_env: str | None = None
    install: bool = False
    """Take a reader that still has the well-known default key, and give it this one; to be
    taken back once it has it."""
    direction: Direction = "in"
    door: DeviceId | None = None
    """The reader whose lock, contact and area this one serves (the other side of the door)."""
    inputs: Annotated[tuple[InputSettings, ...], Field(max_length=64)] = ()
    lock: LockSettings | None = None
    relay_output: Number | None = None
    """An output for the command ``relay_output``."""
    held_open_s: Annotated[float, Field(ge=1, le=3600)] = 30
    grace_s: Annotated[float, Field(ge=0, le=60)] = 3
    """After the release of the lock is over a door may still open for so long."""
    area: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """What lies behind the door, for anti-passback."""

    @model_validator(mode="after")
    def _fits(self) -> ReaderSettings:
        given = [item for item in (self.key, self.key_file, self.key_env) if item is not None]
        if len(given) > 1:
            raise ValueError("give at most one of key, key_file, key_env")
        if self.install and not given:
            raise ValueError("install needs the key that the reader is to be given")
        if self.door is not None and (self.lock or self.inputs or self.area):
            raise ValueError(f"lock, inputs and area belong to {self.door}")
        contacts = [item for item in self.inputs if item.role == "contact"]
        if len(contacts) > 1:
            raise ValueError("a door has one contact")
        taken = [(item.number, item.role) for item in self.inputs]
        if len(set(taken)) != len(taken):
            raise ValueError("an input stands twice with the same role")
        if self.lock is not None and self.lock.output == self.relay_output:
            raise ValueError("the lock and relay_output are the same output")
        return self

    @property
    def secure(self) -> bool:
        """Tell whether the reader is spoken to on a secure channel only."""
        return any(item is not None for item in (self.key, self.key_file, self.key_env))


class AccessSettings(Section):
    """Who may pass: without this the edge grants nothing."""

    file: Path
    """The access list; read again when it changes."""


class OsdpSettings(DriverSettings):
    """One bus: a serial port, or an RS-485 converter on TCP, and the readers on it."""

    driver: Literal["osdp"]
    host: Host | None = None
    port: Port | None = None
    serial: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The serial port, for example ``/dev/ttyUSB0``; instead of host and port."""
    baud: Baud = 9600
    readers: Annotated[list[ReaderSettings], Field(min_length=1, max_length=MOST_READERS)]
    access: AccessSettings | None = None
    connect_timeout_s: Annotated[float, Field(ge=0.1, le=30)] = 3
    silence_s: Annotated[float, Field(ge=0.5, le=60)] = 4
    """Real time without an answer after which a reader counts as lost."""
    status_s: Annotated[float, Field(ge=0.5, le=3600)] = 10
    """Real time between two requests for tamper, power and inputs; changes come by themselves
    from readers that can."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    @model_validator(mode="after")
    def _one_bus(self) -> OsdpSettings:
        if (self.serial is None) == (self.host is None):
            raise ValueError("give either serial or host and port")
        if (self.host is None) != (self.port is None):
            raise ValueError("host and port belong together")
        addresses = [reader.address for reader in self.readers]
        if len(set(addresses)) != len(addresses):
            raise ValueError("two readers have the same address")
        devices = {reader.device: reader for reader in self.readers}
        if len(devices) != len(self.readers):
            raise ValueError("two readers have the same device id")
        for reader in self.readers:
            if reader.door is not None:
                owner = devices.get(reader.door)
                if owner is None or owner.door is not None:
                    raise ValueError(f"{reader.device}: {reader.door} is no door of this bus")
        return self

    @property
    def bus(self) -> str:
        """Return the name of the bus."""
        return self.serial or f"{self.host}:{self.port}"

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the readers."""
        return tuple(reader.device for reader in self.readers)
