"""Fire panels, sensors, devices in general, and the edges themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.contracts.vocabulary.base import (
    Count,
    Data,
    EpochMs,
    Name,
    Number,
    Share,
    Text,
    Whole,
)


class FireSignal(Data):
    """A fire panel's alarm or fault: began (active) or ended."""

    active: bool
    loop: Name | None = None
    point: Name | None = None
    raw_code: Name | None = None


class SensorReading(Data):
    """Any other number, with its quantity and unit (UCUM, for example ``Cel``)."""

    quantity: Name
    value: Annotated[float, Field(ge=-1e15, le=1e15)]
    unit: Annotated[str, Field(max_length=24)]


class DeviceHealth(Data):
    """What the edge knows about a device's health."""

    online: bool
    cause: Literal["device", "gateway", "bus", "network", "credentials", "protocol"] | None = None
    """Where the fault lies, when it is known."""
    root: Name | None = None
    """The gateway or bus that is at fault, where more than this device hangs on it; its own
    ``edge.gateway`` says how it is."""
    error: Text | None = None
    latency_ms: Annotated[float, Field(ge=0, le=1e7)] | None = None
    error_rate: Share | None = None
    last_contact: EpochMs | None = None


class DeviceTamper(Data):
    """Somebody opens or removes a device (active), or it is closed again."""

    active: bool
    part: Literal["controller", "reader", "cover", "keypad", "other"]
    reader: Name | None = None
    raw_code: Name | None = None


class DeviceFault(Data):
    """A device says that something in it is broken (active), or whole again."""

    fault: Literal[
        "storage_full", "storage_error", "recording", "network", "address_conflict",
        "illegal_access", "temperature", "fan", "battery_low", "mains_off", "clock",
        "reader_offline", "configuration", "self_test", "sensor", "other",
    ]  # fmt: skip
    active: bool
    part: Name | None = None
    """The reader, disk or channel that it is about."""
    raw_code: Name | None = None


class DeviceState(Data):
    """One standing state of a device: it began at ``since`` and still holds."""

    kind: Name
    since: EpochMs
    data: Annotated[dict[str, Text | Whole | Number | bool | None], Field(max_length=64)]
    """The ``data`` of that kind; a state's fields are flat."""


class DeviceSnapshot(Data):
    """The fresh state of a device, sent down the event lane on reconnect, before the backlog."""

    states: Annotated[list[DeviceState], Field(max_length=64)]


class EdgeOnline(Data):
    """A collector heard an edge's birth; written by the collector."""

    epoch: Name
    backlog: Count
    """Batches that wait in the edge's outbox."""
    through: Annotated[dict[str, int], Field(max_length=8)]
    """Per lane the last seq sealed before this birth: what is at or below it is backlog."""


class EdgeOffline(Data):
    """An edge's last will, or its farewell, or that no edge is heard; written by the collector."""

    epoch: Name
    clean: bool
    cause: Literal["broker"] | None = None
    """``broker``: the collector cannot reach the broker, and nobody knows of the edge itself."""


class EdgeDropped(Data):
    """A journal had to drop entries of a lane's head: the counted tombstone."""

    lane: Literal["urgent", "event", "state", "reading", "media"]
    first_seq: Count
    last_seq: Count
    events: Count
    reason: Literal["budget", "disk_full", "operator"]


class EdgeHole(Data):
    """Batches that an edge can no longer send; written by the collector when it passes them."""

    epoch: Name
    lane: Name
    first_seq: Count
    last_seq: Count


class EdgeEpochAbandoned(Data):
    """An epoch ended with its outbox unsent: possible loss of unknown count."""

    epoch: Name
    successor: Name


class EdgeIdentityClash(Data):
    """One batch identity arrived with two contents: a cloned or restored disk."""

    epoch: Name
    lane: Name
    seq: Count


class EdgeGateway(Data):
    """A gateway or bus of an edge, with everything behind it, can be reached or cannot."""

    gateway: Name
    """Its address, or the name that the configuration gives it."""
    online: bool
    devices: Count
    """How many devices hang on it."""
    cause: Literal["gateway", "bus", "network", "credentials", "protocol"] | None = None
    error: Text | None = None


class EdgeCommand(Data):
    """The audit of one command: what an edge did, or why it did not."""

    command: Name
    action: Literal["relay_output", "unlock", "snapshot", "report", "reload"]
    target: Name | None = None
    """The device that it was meant for; none: the edge itself."""
    outcome: Literal["done", "refused", "failed", "expired"]
    by: Text
    reason: Text | None = None
    """Why it was asked, and where it was not done, why."""
    local: bool | None = None
    """A local rule of the edge asked for it."""


class EdgeRule(Data):
    """A local rule of an edge fired (active) or is over; it works without the uplink."""

    rule: Name
    key: Annotated[str, Field(min_length=1, max_length=200)]
    active: bool
    colour: Literal["blue", "yellow", "orange", "red"]
    target: Name | None = None
    outputs: Annotated[list[Name], Field(max_length=32)]
    """The devices that the rule switched."""


class EdgeConfiguration(Data):
    """An edge took a new configuration, or refused it and goes on with the one before."""

    outcome: Literal["applied", "refused"]
    digest: Name
    drivers: Count
    devices: Count
    error: Annotated[str, Field(max_length=1_000)] | None = None


class EdgeClock(Data):
    """An edge's or a device's clock differs from the collector's by more than five seconds."""

    skew_s: Annotated[float, Field(ge=-1e10, le=1e10)]
