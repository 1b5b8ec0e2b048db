"""Devices over the wire."""

from __future__ import annotations

from typing import Any

from core.contracts.outputs import Cause, Presence
from core.contracts.topology import DeviceFamily
from dashboard_api.alerts.schemas import Alert
from dashboard_api.schemas import Ms, Names, PathPart, Schema, example

_DEVICE: dict[str, Any] = {
    "id": "jinxiu-b1-lift-1",
    "family": "elevator",
    "name": {"zh": "1号楼1号梯", "en": "Building 1, lift 1"},
    "node": "jinxiu-b1",
    "site": "jinxiu",
    "edge": "jinxiu-b1",
    "model": "modbus-gb24476",
    "position": [120.1, 30.2],
    "expect_s": 10.0,
    "limits": {"load_kg": 1000.0},
    "presence": "offline",
    "presence_since": 1_763_000_030_000,
    "last_heard": 1_763_000_000_000,
    "cause": "device",
    "learned_s": None,
}
_EVENT: dict[str, Any] = {
    "at": 1_763_000_000_000,
    "kind": "elevator.alarm_button",
    "data": {"active": True},
}


class Device(Schema):
    """A device and whether it is heard."""

    model_config = example(_DEVICE)

    id: str
    family: DeviceFamily
    name: Names
    node: str
    site: str | None
    edge: str | None
    """Who reads it; none for a device that speaks for itself."""
    model: str
    position: tuple[float, float] | None
    expect_s: float | None
    """Seconds within which it should be heard."""
    limits: dict[str, float]
    presence: Presence
    presence_since: Ms | None
    """When its presence became what it is (another cause alone is no other presence); null where
    nothing is known of it yet."""
    last_heard: Ms | None
    """When a device that is not online was last heard. Null while it is online, that is, heard
    within its interval (`GET /devices/{device}` says when last), and for one never heard."""
    cause: Cause | None
    """Why it is not heard: the highest broken link on its way."""
    learned_s: float | None
    """Where no interval is configured: the one that was learned, once it is known."""


class DevicePage(Schema):
    """One page of devices, in the order of their ids."""

    model_config = example({"items": [_DEVICE], "next": None})

    items: list[Device]
    next: str | None
    """The ``after`` of the next page; none on the last."""


class DeviceEvent(Schema):
    """One stored event of a device."""

    model_config = example(_EVENT)

    at: Ms
    kind: str
    data: dict[str, Any]
    """The fields of that kind, as in `docs/asyncapi.yaml`."""


class DeviceEvents(Schema):
    """A device's events, newest first."""

    model_config = example({"items": [_EVENT], "complete": True, "next": None})

    items: list[DeviceEvent]
    complete: bool
    """False where older events of the window were left out."""
    next: str | None
    """What to ask for as ``before`` to get the next page; null where there is none."""


class DeviceDetail(Device):
    """A device with where it is, what it last said and what is wrong with it."""

    model_config = example(
        {**_DEVICE, "path": [], "latest": [_EVENT], "latest_known": True, "alerts": []}
    )

    last_heard: Ms | None
    """When it was last heard; of one that is online by the newest of ``latest``. Null for one that
    was never heard, and while the series store does not answer for one that is online."""
    path: list[PathPart]
    """From the street down to its node."""
    latest: list[DeviceEvent]
    """The newest event of each kind."""
    latest_known: bool
    """False while the series store does not answer: ``latest`` is then empty."""
    alerts: list[Alert]
    """Its open alerts, the most urgent first (at most 100)."""
