"""The closed table of event kinds: for each its data model and its lane.

The lane follows from the kind alone: ``event`` (something happened) goes before ``state``
(status), ``reading`` (bulk) and ``media`` (snapshots).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from core.contracts import vocabulary as v


class Lane(StrEnum):
    """A first-in-first-out way of one class; the order of the members is the priority.

    ``urgent`` and ``event`` are of one class: what happens while the edge is heard travels in
    ``urgent``, what happened while it was away waits in ``event``, so that a door that is forced
    now does not queue behind last week's (ADR 0015).
    """

    URGENT = "urgent"
    EVENT = "event"
    STATE = "state"
    READING = "reading"
    MEDIA = "media"

    @property
    def priority(self) -> int:
        """Return 0 for the lane that goes first and is evicted last."""
        return _PRIORITY[self]


#: For each lane of a kind the lanes in which it may travel.
WAYS: dict[Lane, frozenset[Lane]] = {
    lane: frozenset({Lane.URGENT, Lane.EVENT}) if lane is Lane.EVENT else frozenset({lane})
    for lane in Lane
}
_PRIORITY = {lane: index for index, lane in enumerate(Lane)}


@dataclass(frozen=True, slots=True)
class KindSpec:
    """One event kind: its dotted name, its data model and the lane of its class.

    ``standing`` kinds describe a state that holds until the next event of that kind, so they
    are repeated in a ``device.snapshot`` after a reconnect.
    """

    kind: str
    data: type[v.Data]
    lane: Lane
    standing: bool = False


def _specs() -> tuple[KindSpec, ...]:
    event, state, reading = Lane.EVENT, Lane.STATE, Lane.READING
    return (
        KindSpec("access.granted", v.AccessGranted, event),
        KindSpec("access.denied", v.AccessDenied, event),
        KindSpec("access.forced", v.AccessForced, event),
        KindSpec("access.held_open", v.AccessHeldOpen, event),
        KindSpec("access.duress", v.AccessDuress, event),
        KindSpec("access.tailgate", v.AccessTailgate, event),
        KindSpec("access.blacklisted", v.AccessBlacklisted, event),
        KindSpec("access.exit_button", v.AccessExitButton, event),
        KindSpec("access.fire_release", v.AccessFireRelease, event, standing=True),
        KindSpec("access.door", v.AccessDoor, event, standing=True),
        KindSpec("vehicle.passed", v.VehiclePassed, event),
        KindSpec("vehicle.denied", v.VehicleDenied, event),
        KindSpec("elevator.status", v.ElevatorStatus, state, standing=True),
        KindSpec("elevator.fault", v.ElevatorFault, event, standing=True),
        KindSpec("elevator.access", v.ElevatorAccess, event),
        KindSpec("elevator.alarm_button", v.ElevatorAlarmButton, event, standing=True),
        KindSpec("meter.reading", v.MeterReading, reading),
        KindSpec("meter.event", v.MeterEvent, event, standing=True),
        KindSpec("camera.motion", v.CameraMotion, event),
        KindSpec("camera.intrusion", v.CameraIntrusion, event, standing=True),
        KindSpec("camera.line_crossed", v.CameraLineCrossed, event),
        KindSpec("camera.zone_occupied", v.CameraZoneOccupied, event, standing=True),
        KindSpec("camera.left_object", v.CameraLeftObject, event, standing=True),
        KindSpec("camera.count", v.CameraCount, reading),
        KindSpec("camera.object", v.CameraObject, event, standing=True),
        KindSpec("camera.unarmed", v.CameraUnarmed, event, standing=True),
        KindSpec("camera.tamper", v.CameraTamper, event, standing=True),
        KindSpec("camera.video_loss", v.CameraVideoLoss, event, standing=True),
        KindSpec("camera.frozen", v.CameraFrozen, event, standing=True),
        KindSpec("fire.alarm", v.FireSignal, event, standing=True),
        KindSpec("fire.fault", v.FireSignal, event, standing=True),
        KindSpec("sensor.reading", v.SensorReading, reading),
        KindSpec("device.health", v.DeviceHealth, state, standing=True),
        KindSpec("device.tamper", v.DeviceTamper, event, standing=True),
        KindSpec("device.fault", v.DeviceFault, event, standing=True),
        KindSpec("device.snapshot", v.DeviceSnapshot, event),
        KindSpec("edge.online", v.EdgeOnline, event),
        KindSpec("edge.offline", v.EdgeOffline, event),
        KindSpec("edge.dropped", v.EdgeDropped, event),
        KindSpec("edge.hole", v.EdgeHole, event),
        KindSpec("edge.epoch_abandoned", v.EdgeEpochAbandoned, event),
        KindSpec("edge.identity_clash", v.EdgeIdentityClash, event),
        KindSpec("edge.gateway", v.EdgeGateway, event, standing=True),
        KindSpec("edge.command", v.EdgeCommand, event),
        KindSpec("edge.rule", v.EdgeRule, event),
        KindSpec("edge.configuration", v.EdgeConfiguration, event),
        KindSpec("edge.clock", v.EdgeClock, event),
    )


KINDS: dict[str, KindSpec] = {spec.kind: spec for spec in _specs()}

#: Kinds that only a collector may write; an edge that sends one is answered with a dead letter.
COLLECTOR_KINDS = frozenset(
    {"edge.online", "edge.offline", "edge.hole", "edge.epoch_abandoned", "edge.identity_clash"}
)

#: Kinds that only an edge or a collector may write: no device says them of itself.
NOT_PLAIN_KINDS = frozenset(
    kind for kind in KINDS if kind.startswith("edge.") or kind == "device.snapshot"
)

#: An event that its device dates further (ms) ahead of when it was heard has a wrong time: it is
#: judged as of now, and is not stored.
FUTURE_MS = 300_000

#: Ids of devices, edges and sites: safe in MQTT topics, file names and tags.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$"
Id = Annotated[str, Field(pattern=ID_PATTERN)]


class EventModel(BaseModel):
    """The envelope of every event.

    ``at`` is the device's time and ``seen`` the edge's, both in milliseconds since the Unix
    epoch (UTC). ``id`` is optional and free: an id that the source gave.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    at: v.EpochMs
    seen: v.EpochMs
    device: Id
    id: Annotated[str, Field(max_length=64)] | None = None


def _event_model(spec: KindSpec) -> type[EventModel]:
    name = "".join(part.title() for part in spec.kind.replace("_", ".").split(".")) + "Event"
    return create_model(
        name,
        __base__=EventModel,
        __doc__=spec.data.__doc__,
        kind=(Literal[spec.kind], ...),  # type: ignore[arg-type]
        data=(spec.data, ...),
    )


#: The pydantic model of each kind's whole event; the source of the JSON Schemas.
EVENT_MODELS: dict[str, type[EventModel]] = {s.kind: _event_model(s) for s in KINDS.values()}

_ANY: Any = Annotated[Union[tuple(EVENT_MODELS.values())], Field(discriminator="kind")]  # noqa: UP007
#: Validates any event, discriminated by ``kind``; slow but with the best messages.
EVENT_ADAPTER: TypeAdapter[Any] = TypeAdapter(_ANY)
