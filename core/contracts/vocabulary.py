"""The data of every event kind: closed models, units in the names, physical ranges.

A model here says what ``data`` may hold for one kind. Fields that a device cannot give are
left out, never filled in. Only shapes, ranges and lengths are declared (no validators in
code), so that the compiled decoder in ``codec`` can enforce exactly the same.

Sources: DL/T 645-2007 (meters), GB/T 24476-2023 and GB/T 42616-2023 (lifts; the normalised
fault names follow the codes that implementations share), ISAPI and ONVIF (doors, cameras).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
#: A keyed pseudonym made at the edge; never a name, a card number or a plate.
Pseudonym = Annotated[str, Field(min_length=1, max_length=64)]
EpochMs = Annotated[int, Field(ge=0, le=4_102_444_800_000)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
#: Plain numbers of a repeated state; the bounds are those of exact integers in JSON.
Whole = Annotated[int, Field(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
Number = Annotated[float, Field(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
Volts = Annotated[float, Field(ge=0, le=1_000_000)]
Amperes = Annotated[float, Field(ge=-100_000, le=100_000)]
Watts = Annotated[float, Field(ge=-1e9, le=1e9)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
Floor = Annotated[int, Field(ge=-20, le=200)]
Credential = Literal["card", "face", "fingerprint", "pin", "qr", "phone", "remote", "button"]
Direction = Literal["in", "out"]


class Data(BaseModel):
    """Base of every data model: strict types, no unknown fields, no NaN."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


# -- doors, turnstiles and barriers ----------------------------------------------------------


class DoorEvent(Data):
    """What every door event can carry."""

    person: Pseudonym | None = None
    """Keyed pseudonym of the person; a face image or template never leaves the edge."""
    credential: Credential | None = None
    direction: Direction | None = None
    reader: Name | None = None
    serial: Count | None = None
    """The controller's own serial number of the event, for spotting duplicates and holes."""
    raw_code: Name | None = None
    """The vendor's code as received, for example ``5/75`` (major/minor)."""


class AccessGranted(DoorEvent):
    """A door let somebody through."""


class AccessDenied(DoorEvent):
    """A door refused somebody."""

    reason: Literal[
        "unknown_credential", "no_permission", "wrong_time", "expired", "anti_passback",
        "interlock", "no_match", "liveness", "too_many_attempts", "other",
    ]  # fmt: skip


class AccessForced(DoorEvent):
    """A door opened without a grant, an exit button or a fire release."""


class AccessHeldOpen(DoorEvent):
    """A door has stood open for longer than it may."""

    open_s: Seconds | None = None


class AccessDuress(DoorEvent):
    """Somebody used the duress credential."""


class AccessTailgate(DoorEvent):
    """More people passed than were granted."""

    persons: Annotated[int, Field(ge=2, le=1000)] | None = None


class AccessBlacklisted(DoorEvent):
    """A credential on the blacklist was presented."""


class AccessExitButton(DoorEvent):
    """The exit button released the door."""


class AccessFireRelease(DoorEvent):
    """The fire input released the door (active) or let it lock again."""

    active: bool


class AccessDoor(DoorEvent):
    """The door leaf opened or closed."""

    open: bool


class VehiclePassed(Data):
    """A vehicle passed a barrier."""

    vehicle: Pseudonym | None = None
    direction: Direction | None = None
    vehicle_class: Literal["car", "truck", "bus", "motorcycle", "e_bike", "emergency", "other"] | (
        None
    ) = None
    serial: Count | None = None
    raw_code: Name | None = None


class VehicleDenied(VehiclePassed):
    """A barrier stayed shut."""

    reason: Literal["unknown", "blacklisted", "expired", "full", "unpaid", "other"]


# -- lifts -----------------------------------------------------------------------------------


class ElevatorStatus(Data):
    """Status of a lift, after the status fields of GB/T 24476."""

    service_mode: Literal[
        "stopped", "normal", "inspection", "fire_return", "firefighter", "emergency_power",
        "earthquake", "unknown",
    ]  # fmt: skip
    moving: bool
    direction: Literal["none", "up", "down"]
    in_door_zone: bool
    floor: Floor
    door_closed: bool
    occupied: bool
    power_on: bool | None = None
    alarm_button: bool | None = None
    load_kg: Annotated[float, Field(ge=0, le=20_000)] | None = None
    running_h: Annotated[float, Field(ge=0, le=1e7)] | None = None
    trips: Count | None = None
    """Runs since commissioning."""
    door_cycles: Count | None = None


class ElevatorFault(Data):
    """A fault began (active) or ended; ``raw_code`` keeps what the lift said."""

    fault: Literal[
        "safety_circuit", "door_close", "door_open", "stopped_outside_zone",
        "unintended_movement", "run_time_limiter", "position_lost", "anti_restart", "overspeed",
        "overtravel_top", "overtravel_bottom", "door_open_running", "door_cycling", "entrapment",
        "main_power_off", "out_of_service", "other",
    ]  # fmt: skip
    active: bool
    raw_code: Name
    floor: Floor | None = None


class ElevatorAccess(Data):
    """A credential in the car opened or was refused floors (智能梯控)."""

    person: Pseudonym | None = None
    credential: Credential | None = None
    granted_floors: Annotated[list[Floor], Field(max_length=200)]
    refused_floors: Annotated[list[Floor], Field(max_length=200)]
    serial: Count | None = None


class ElevatorAlarmButton(Data):
    """The alarm button in the car was pressed (active) or released."""

    active: bool


# -- meters ----------------------------------------------------------------------------------

Medium = Literal["electricity", "water", "gas", "heat"]


class MeterReading(Data):
    """Readings of one meter at one moment; energies and volumes are registers, never deltas."""

    medium: Medium
    energy_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    """Forward active energy (DL/T 645 item 00010000 or 00000000)."""
    energy_export_kwh: Annotated[float, Field(ge=0, le=1e12)] | None = None
    voltage_l1_v: Volts | None = None
    voltage_l2_v: Volts | None = None
    voltage_l3_v: Volts | None = None
    current_l1_a: Amperes | None = None
    current_l2_a: Amperes | None = None
    current_l3_a: Amperes | None = None
    power_w: Watts | None = None
    power_factor: Annotated[float, Field(ge=-1, le=1)] | None = None
    frequency_hz: Annotated[float, Field(ge=0, le=500)] | None = None
    demand_w: Watts | None = None
    relay_closed: bool | None = None
    """The supply relay (DL/T 645 status word 3, bit 4 inverted)."""
    temperature_c: Annotated[float, Field(ge=-60, le=200)] | None = None
    volume_m3: Annotated[float, Field(ge=0, le=1e12)] | None = None
    flow_m3_h: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None


class MeterEvent(Data):
    """Something happened at a meter: began (active) or ended."""

    medium: Medium
    event: Literal[
        "relay_opened", "cover_opened", "terminal_cover_opened", "overload", "overcurrent",
        "overvoltage", "undervoltage", "phase_loss", "reverse_power", "power_off", "battery_low",
        "leak", "register_rollover", "meter_replaced", "register_backwards", "other",
    ]  # fmt: skip
    active: bool
    raw_code: Name | None = None


# -- cameras ---------------------------------------------------------------------------------


class CameraEvent(Data):
    """What every camera event can carry."""

    active: bool
    zone: Name | None = None
    score: Share | None = None
    """Share of the zone's (or picture's) pixels, or a detector's confidence."""
    snapshot: Name | None = None
    """Id of a snapshot that follows on the media lane."""
    raw_code: Name | None = None


class CameraMotion(CameraEvent):
    """Something moves."""


class CameraIntrusion(CameraEvent):
    """Something is inside a forbidden polygon."""


class CameraLineCrossed(CameraEvent):
    """A track crossed a line."""

    direction: Direction | None = None


class CameraZoneOccupied(CameraEvent):
    """Something stands in a zone that must stay free, for example a fire lane."""

    dwell_s: Seconds | None = None


class CameraLeftObject(CameraEvent):
    """An object was left behind."""


class CameraTamper(CameraEvent):
    """The camera is covered, blinded, defocused or turned."""

    cause: Literal["covered", "dark", "bright", "defocused", "turned", "unknown"]


class CameraVideoLoss(CameraEvent):
    """No picture arrives."""


class CameraFrozen(CameraEvent):
    """The picture no longer changes."""


class CameraCount(Data):
    """People or vehicles in a zone."""

    count: Count
    zone: Name | None = None
    target: Literal["person", "vehicle", "e_bike", "other"]


# -- fire, sensors, devices, edges -----------------------------------------------------------


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
    error: Text | None = None
    latency_ms: Annotated[float, Field(ge=0, le=1e7)] | None = None
    error_rate: Share | None = None
    last_contact: EpochMs | None = None


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
    """An edge's last will, or its farewell; written by the collector."""

    epoch: Name
    clean: bool


class EdgeDropped(Data):
    """A journal had to drop entries of a lane's head: the counted tombstone."""

    lane: Literal["event", "state", "reading", "media"]
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


class EdgeClock(Data):
    """An edge's or a device's clock differs from the collector's by more than five seconds."""

    skew_s: Annotated[float, Field(ge=-1e10, le=1e10)]
