"""What is installed in a community, and the configuration that its edges get for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulators.devices.isapi import Holder
from simulators.devices.scene import LAYOUTS, SceneKind
from simulators.handles.base import Handle
from simulators.handles.cameras import CameraHandle
from simulators.handles.doors import IsapiDoorHandle
from simulators.handles.lifts import ModbusLiftHandle
from simulators.handles.meters import DltMeterHandle
from simulators.loads import LoadSpec
from simulators.plans.base import Plan
from simulators.plans.lifts import LiftPlan

__all__ = [
    "CameraPlan",
    "Community",
    "ControllerPlan",
    "DoorPlan",
    "GatewayPlan",
    "LiftPlan",
    "MeterPlan",
]

#: How long the edges wait for a meter's answer (s, real time).
METER_TIMEOUT_S = 3
#: How often meters are asked for what they suffered (status words, covers), run time.
METER_OFTEN_S = 60
#: How long something must stand in a fire lane until it counts (s).
DWELL_S = 20


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """One meter: its 12-digit address, its phases and what hangs on it."""

    device: str
    address: str
    phases: int
    load: LoadSpec


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """One DL/T 645 gateway and the meters on its line."""

    id: str
    edge: str
    meters: tuple[MeterPlan, ...]


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """One door of a controller; ``busy`` scales the rhythm of people."""

    device: str
    number: int
    busy: float
    work: bool = False


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """One door controller, its doors and the credentials that it asks the edge for."""

    id: str
    edge: str
    doors: tuple[DoorPlan, ...]
    password: str
    username: str = "edge"


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera and what it looks at."""

    device: str
    edge: str
    kind: SceneKind
    label: str


@dataclass(frozen=True, slots=True)
class Community:
    """Everything that is installed, and the topology that describes it."""

    seed: int
    topology: dict[str, Any]
    gateways: tuple[GatewayPlan, ...]
    lifts: tuple[LiftPlan, ...]
    controllers: tuple[ControllerPlan, ...]
    cameras: tuple[CameraPlan, ...]
    holders: tuple[Holder, ...]
    meter_period_s: float
    more: tuple[Plan, ...] = ()
    """What is installed beside these."""
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further sections of each edge's file (commands, rules of its own, what it derives)."""

    @property
    def handles(self) -> dict[str, type[Handle]]:
        """Return device -> what a scenario can do to it."""
        found: dict[str, type[Handle]] = {
            meter.device: DltMeterHandle for plan in self.gateways for meter in plan.meters
        }
        found |= {plan.device: ModbusLiftHandle for plan in self.lifts}
        found |= {door.device: IsapiDoorHandle for plan in self.controllers for door in plan.doors}
        found |= {plan.device: CameraHandle for plan in self.cameras}
        for plan in self.more:
            found |= plan.handles()
        return found

    def files(self) -> dict[str, bytes]:
        """Return what lies beside the edges' files: keys, lists."""
        return {name: content for plan in self.more for name, content in plan.files().items()}

    @property
    def edges(self) -> dict[str, str]:
        """Return edge -> site."""
        return {edge["id"]: edge["site"] for edge in self.topology["edges"]}

    def edge_file(
        self, edge: str, ports: dict[str, int], host: str = "127.0.0.1"
    ) -> dict[str, Any]:
        """Return an edge's configuration; ``ports`` maps peers (gateway, lift …) to ports."""
        drivers = [self._meter_driver(plan, host, ports) for plan in self.gateways
                   if plan.edge == edge]  # fmt: skip
        drivers += [_lift_driver(plan, host, ports) for plan in self.lifts if plan.edge == edge]
        drivers += [_door_driver(plan, host, ports) for plan in self.controllers
                    if plan.edge == edge]  # fmt: skip
        drivers += [_camera_driver(plan, host, ports) for plan in self.cameras
                    if plan.edge == edge]  # fmt: skip
        for plan in self.more:
            if plan.edge == edge:
                drivers += plan.entries(ports[plan.id])
        own = self.sections.get(edge, {})
        return {"edge": edge, "site": self.edges[edge], "drivers": drivers, **own}

    def _meter_driver(self, plan: GatewayPlan, host: str, ports: dict[str, int]) -> dict[str, Any]:
        return {
            "driver": "dlt645",
            "host": host,
            "port": ports[plan.id],
            "period_s": self.meter_period_s,
            "timeout_s": METER_TIMEOUT_S,
            "often_s": METER_OFTEN_S,
            # A line carries many meters: what hardly changes is asked for less often.
            "items": {"factor": "often", "frequency": "often"},
            "meters": [
                {"device": meter.device, "address": meter.address, "phases": meter.phases}
                for meter in plan.meters
            ],
        }


def _lift_driver(plan: LiftPlan, host: str, ports: dict[str, int]) -> dict[str, Any]:
    return {
        "driver": "elevator_modbus",
        "host": host,
        "port": ports[plan.device],
        "unit": 1,
        "period_s": 1,
        "map": "default",
        "device": plan.device,
    }


def _door_driver(plan: ControllerPlan, host: str, ports: dict[str, int]) -> dict[str, Any]:
    return {
        "driver": "isapi_door",
        "base_url": f"http://{host}:{ports[plan.id]}",
        "username": plan.username,
        "password": plan.password,
        "doors": {str(door.number): door.device for door in plan.doors},
    }


def _camera_driver(plan: CameraPlan, host: str, ports: dict[str, int]) -> dict[str, Any]:
    return {
        "driver": "camera",
        "url": f"http://{host}:{ports[plan.device]}/stream",
        "device": plan.device,
        "fps": 5,
        "zones": [
            {
                "name": "fire-lane",
                "kind": "fire_lane",
                "polygon": [list(point) for point in LAYOUTS[plan.kind].fire_lane],
                "dwell_s": DWELL_S,
            }
        ],
        "tamper": True,
    }
