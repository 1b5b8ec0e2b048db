"""A seeded community: its topology, what is installed, and the configuration of its edges.

The same seed gives the same community, down to the meters' addresses and the doors' passwords.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulators.devices.scene import SceneKind
from simulators.estate_plan import (
    GATE,
    JINXIU,
    NORTH,
    SOUTH,
    TOWER,
    YUNQI,
    Building,
    Position,
    Shape,
    place,
    rectangle,
)
from simulators.furnishing import furnish
from simulators.installation import (
    CameraPlan,
    Community,
    ControllerPlan,
    DoorPlan,
    GatewayPlan,
    LiftPlan,
    MeterPlan,
)
from simulators.loads import LoadKind, LoadSpec
from simulators.people import holders
from simulators.plans.base import Plan
from simulators.seeds import stream

#: Within how many seconds a device is heard, by family; meters depend on their period.
_EXPECT_S = {
    "elevator": 45.0, "door": 150.0, "camera": 150.0, "barrier": 150.0, "fire_panel": 150.0,
    "output": 150.0, "sensor": 150.0,
}  # fmt: skip
_LIMITS_W = {
    LoadKind.HOUSEHOLD: 8_000.0,
    LoadKind.PUBLIC: 40_000.0,
    LoadKind.SHOP: 45_000.0,
    LoadKind.OFFICE: 60_000.0,
}


def generate(seed: int, *, meter_period_s: float = 10) -> Community:
    """Return the community of a seed."""
    builder = Builder(seed, meter_period_s)
    builder.street()
    builder.gate()
    for building in JINXIU:
        builder.building("jinxiu", building, _edge_of(building))
    builder.office()
    furnish(builder)
    return builder.finish()


def _edge_of(building: Building) -> str:
    if building.shape is Shape.PODIUM:
        return GATE
    return SOUTH if building.number <= 4 else NORTH


def _name(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


@dataclass(slots=True)
class Builder:
    """Collects nodes and devices; the methods follow the order of the tree."""

    seed: int
    meter_period_s: float
    nodes: list[dict[str, Any]] = field(default_factory=list)
    devices: list[dict[str, Any]] = field(default_factory=list)
    meters: dict[str, list[MeterPlan]] = field(default_factory=dict)
    gateway_edges: dict[str, str] = field(default_factory=dict)
    lifts: list[LiftPlan] = field(default_factory=list)
    doors: dict[str, list[DoorPlan]] = field(default_factory=dict)
    cameras: list[CameraPlan] = field(default_factory=list)
    more: list[Plan] = field(default_factory=list)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    # -- nodes -------------------------------------------------------------------------------

    def street(self) -> None:
        """Add what lies above the buildings."""
        node = self._node
        node("jinxiu-street", "street", None, "锦绣街道", "Jinxiu Subdistrict")
        node("jinxiu-community", "community", "jinxiu-street", "金绣社区", "Jinxiu Community",
             outline=rectangle(60, 0, 620, 420))  # fmt: skip
        node("jinxiu-grid-1", "grid", "jinxiu-community", "第一网格", "Grid 1",
             outline=rectangle(-2, 2, 262, 262))  # fmt: skip
        node("jinxiu-grid-2", "grid", "jinxiu-community", "第二网格", "Grid 2",
             outline=rectangle(240, -16, 150, 150))  # fmt: skip
        node("jinxiu", "site", "jinxiu-grid-1", "金绣家园", "Jinxiu Garden",
             site_kind="residential_estate", outline=rectangle(-2, 2, 244, 236))  # fmt: skip

    def gate(self) -> None:
        """Add the estate's gates with their doors and camera."""
        gates = (
            (1, "main-in", "南大门入口", "Main gate, entry", (-6, -112), 8.0),
            (2, "main-out", "南大门出口", "Main gate, exit", (6, -112), 7.0),
            (3, "east", "东门", "East gate", (116, 12), 3.5),
            (4, "west", "西门", "West gate", (-120, 8), 2.0),
        )
        for number, suffix, zh, en, at, busy in gates:
            self._door("jinxiu-gate-controller", number, f"jinxiu-gate-{suffix}", zh, en,
                       "jinxiu", GATE, at, busy)  # fmt: skip
        self._camera("jinxiu-gate-camera", "南大门摄像机", "Main gate camera", "jinxiu", GATE,
                     (2, -104), SceneKind.GATE, "MAIN GATE")  # fmt: skip
        self._camera("jinxiu-court-south-camera", "南庭院摄像机", "South courtyard camera",
                     "jinxiu", SOUTH, (-38, -34), SceneKind.COURTYARD, "SOUTH COURT")  # fmt: skip
        self._camera("jinxiu-court-north-camera", "北庭院摄像机", "North courtyard camera",
                     "jinxiu", NORTH, (10, 34), SceneKind.COURTYARD, "NORTH COURT")  # fmt: skip

    def building(self, site: str, building: Building, edge: str) -> None:
        """Add a residential building or the shops, with meters, lifts and doors."""
        number = building.number
        own = f"{site}-b{number}"
        zh, en = f"{number}号楼", f"Building {number}"
        if building.shape is Shape.PODIUM:
            zh, en = f"{number}号楼 邻里商业", f"Building {number} (shops)"
        self._node(own, "building", site, zh, en, outline=building.outline(),
                   height_m=building.height_m)  # fmt: skip
        random = stream(self.seed, own, "people")
        flats: list[tuple[str, int, int, int]] = []
        for unit in range(1, building.units + 1):
            parent, label_zh, label_en = own, zh, en
            if building.shape is not Shape.PODIUM:
                parent = f"{own}-u{unit}"
                label_zh, label_en = f"{number}号楼{unit}单元", f"Building {number}, unit {unit}"
                self._node(parent, "unit", own, f"{unit}单元", f"Unit {unit}")
            for level in range(1, building.floors + 1):
                floor = f"{parent}-f{level}"
                people = sum(random.choice((0, 1, 2, 2, 3, 3, 4, 5)) for _ in range(building.flats))
                if building.shape is Shape.PODIUM:
                    people = random.randrange(4, 15)
                self._node(floor, "floor", parent, f"{level}层", f"Floor {level}",
                           number=level, occupants=people)  # fmt: skip
                flats += [(floor, unit, level, flat) for flat in range(1, building.flats + 1)]
            if building.shape is not Shape.PODIUM:
                self._door(f"{edge}-controller", None, f"{parent}-door", f"{label_zh}单元门",
                           f"{label_en}, door", parent, edge,
                           (building.x, building.y - 9), 0.75 * building.floors / 9)  # fmt: skip
            self._lifts(building, parent, label_zh, label_en, edge)
        if building.shape is Shape.PODIUM:
            self._shops(own, edge, building)
        else:
            self._flats(own, building, edge, flats)
            self._meter(_gateway(own), edge, f"{own}-meter", own, f"{number}号楼公共用电",
                        f"Building {number}, common supply", LoadKind.PUBLIC, building,
                        0.6 + building.floors / 24)  # fmt: skip

    def office(self) -> None:
        """Add the office tower across the road."""
        site, own, edge = "yunqi", "yunqi-b1", TOWER
        self._node(site, "site", "jinxiu-grid-2", "云栖中心", "Yunqi Centre",
                   site_kind="office_building", outline=rectangle(236, -18, 66, 58))  # fmt: skip
        self._node(own, "building", site, "云栖大厦", "Yunqi Tower", outline=YUNQI.outline(),
                   height_m=round(YUNQI.floors * 3.9 + 2, 1))  # fmt: skip
        random = stream(self.seed, own, "people")
        for level in range(1, YUNQI.floors + 1):
            self._node(f"{own}-f{level}", "floor", own, f"{level}层", f"Floor {level}",
                       number=level, occupants=random.randrange(18, 60))  # fmt: skip
            if level in (2, 4, 6, 8):
                self._meter("yunqi-gateway", edge, f"{own}-meter-{level}", f"{own}-f{level}",
                            f"云栖大厦{level}层电表", f"Yunqi Tower, floor {level} meter",
                            LoadKind.OFFICE, YUNQI, random.uniform(0.7, 1.3))  # fmt: skip
        self._meter("yunqi-gateway", edge, f"{own}-meter", own, "云栖大厦公共用电",
                    "Yunqi Tower, common supply", LoadKind.PUBLIC, YUNQI, 1.2)  # fmt: skip
        self._lift(f"{own}-lift-1", "云栖大厦1号电梯", "Yunqi Tower, lift 1", own, edge, YUNQI,
                   (236, -14), work=True)  # fmt: skip
        for number, zh, en in ((1, "东", "east"), (2, "西", "west")):
            self._door("yunqi-tower-controller", number, f"{own}-turnstile-{number}",
                       f"云栖大厦{zh}闸机", f"Yunqi Tower, {en} turnstile", own, edge,
                       (230 + 6 * number, -32), 1.6, work=True)  # fmt: skip

    def finish(self) -> Community:
        """Return the community."""
        names = {
            GATE: ("jinxiu", "金绣家园门岗", "Jinxiu Garden gatehouse"),
            SOUTH: ("jinxiu", "金绣家园南区", "Jinxiu Garden south"),
            NORTH: ("jinxiu", "金绣家园北区", "Jinxiu Garden north"),
            TOWER: ("yunqi", "云栖大厦", "Yunqi Tower"),
        }
        topology = {
            "version": 1,
            "datum": "wgs84",
            "coverage_minimum": 0.5,
            "nodes": self.nodes,
            "edges": [
                {"id": edge, "site": site, "name": _name(zh, en)}
                for edge, (site, zh, en) in names.items()
            ],
            "devices": self.devices,
            "groups": [
                {
                    "id": "business-community",
                    "name": _name("楼宇社区", "Business community"),
                    "members": ["jinxiu-b8", "yunqi-b1"],
                }
            ],
        }
        controllers = tuple(
            ControllerPlan(
                id=controller,
                edge=next(d["edge"] for d in self.devices if d["id"] == doors[0].device),
                doors=tuple(doors),
                password=f"{stream(self.seed, controller, 'password').getrandbits(64):016x}",
            )
            for controller, doors in self.doors.items()
        )
        gateways = tuple(
            GatewayPlan(gateway, self.gateway_edges[gateway], tuple(meters))
            for gateway, meters in self.meters.items()
        )
        return Community(
            seed=self.seed,
            topology=topology,
            gateways=gateways,
            lifts=tuple(self.lifts),
            controllers=controllers,
            cameras=tuple(self.cameras),
            holders=holders(self.seed),
            meter_period_s=self.meter_period_s,
            more=tuple(self.more),
            sections=self.sections,
        )

    def install(self, plan: Plan) -> None:
        """Add a peer of any other kind."""
        self.more.append(plan)

    # -- devices -----------------------------------------------------------------------------

    def _flats(
        self, own: str, building: Building, edge: str, flats: list[tuple[str, int, int, int]]
    ) -> None:
        random = stream(self.seed, own, "meters")
        for floor, unit, level, flat in sorted(random.sample(flats, building.sampled)):
            room = f"{level}{flat:02d}"
            in_unit = building.units > 1
            zh = f"{building.number}号楼{f'{unit}单元' if in_unit else ''}{room}室电表"
            en = f"Building {building.number}{f', unit {unit}' if in_unit else ''}, flat {room}"
            self._meter(_gateway(own), edge, f"{own}-u{unit}-{room}-meter", floor, zh,
                        f"{en} meter", LoadKind.HOUSEHOLD, building,
                        random.choice((0.5, 0.8, 1.0, 1.2, 1.5)))  # fmt: skip

    def _shops(self, own: str, edge: str, building: Building) -> None:
        for level, zh, en in ((1, "超市", "supermarket"), (2, "餐厅", "restaurant"),
                              (3, "社区食堂", "canteen")):  # fmt: skip
            size = stream(self.seed, own, level).uniform(0.7, 1.3)
            self._meter(_gateway(own), edge, f"{own}-meter-{level}", f"{own}-f{level}",
                        f"8号楼{zh}电表", f"Building 8, {en} meter", LoadKind.SHOP, building,
                        size)  # fmt: skip

    def _lifts(self, building: Building, node: str, zh: str, en: str, edge: str) -> None:
        each = building.lifts // building.units
        for index in range(each):
            number = index + 1
            self._lift(f"{node}-lift-{number}", f"{zh}{number}号电梯", f"{en}, lift {number}",
                       node, edge, building, (building.x, building.y + 3 * index))  # fmt: skip

    def _lift(
        self, device: str, zh: str, en: str, node: str, edge: str, building: Building,
        at: tuple[float, float], *, work: bool = False,
    ) -> None:  # fmt: skip
        floors = tuple(range(1, building.floors + 1))
        if building.shape is Shape.TOWER:
            floors = (-1, *floors)
        random = stream(self.seed, device)
        self.device(device, "elevator", zh, en, node, edge, at, "TKJ 1000/1.75")
        busy = (1.4 if work else 0.5 + building.floors / 22) * random.uniform(0.85, 1.2)
        self.lifts.append(
            LiftPlan(device, edge, floors, busy, work, random.randrange(9_000, 60_000))
        )

    def _door(
        self, controller: str, number: int | None, device: str, zh: str, en: str, node: str,
        edge: str, at: tuple[float, float], busy: float, *, work: bool = False,
    ) -> None:  # fmt: skip
        doors = self.doors.setdefault(controller, [])
        doors.append(DoorPlan(device, number or len(doors) + 1, busy, work))
        self.device(device, "door", zh, en, node, edge, at, "DS-K2604")

    def _camera(
        self, device: str, zh: str, en: str, node: str, edge: str, at: tuple[float, float],
        kind: SceneKind, label: str,
    ) -> None:  # fmt: skip
        self.device(device, "camera", zh, en, node, edge, at, "DS-2CD2")
        self.cameras.append(CameraPlan(device, edge, kind, label))

    def _meter(
        self, gateway: str, edge: str, device: str, node: str, zh: str, en: str,
        kind: LoadKind, building: Building, size: float,
    ) -> None:  # fmt: skip
        phases = 1 if kind is LoadKind.HOUSEHOLD else 3
        limit = _LIMITS_W[kind]
        meters = self.meters.setdefault(gateway, [])
        self.gateway_edges[gateway] = edge
        total = sum(len(line) for line in self.meters.values())
        address = f"{330100 + self.seed % 90:06d}{total + 1:06d}"
        meters.append(MeterPlan(device, address, phases, LoadSpec(kind, limit, size)))
        random = stream(self.seed, device, "place")
        at = (building.x + random.uniform(-9, 9), building.y + random.uniform(-5, 5))
        model = "DDZY 220 V 5(60) A" if phases == 1 else "DTZY 3x220/380 V"
        self.device(device, "meter", zh, en, node, edge, at, model,
                     expect_s=max(12 * self.meter_period_s, 120.0),
                     limits={"power_w": limit})  # fmt: skip

    def device(
        self, id: str, family: str, zh: str, en: str, node: str, edge: str,
        at: Position, model: str, **more: Any,
    ) -> None:  # fmt: skip
        """Add a device to the topology."""
        device = {
            "id": id,
            "family": family,
            "name": _name(zh, en),
            "node": node,
            "edge": edge,
            "position": list(place(*at)),
            "model": model,
        }
        self.devices.append({**device, "expect_s": _EXPECT_S.get(family), **more})

    def _node(
        self, id: str, level: str, parent: str | None, zh: str, en: str, *,
        outline: list[tuple[float, float]] | None = None, height_m: float = 0, **more: Any,
    ) -> None:  # fmt: skip
        node: dict[str, Any] = {"id": id, "level": level, "name": _name(zh, en), **more}
        if parent is not None:
            node["parent"] = parent
        if outline is not None:
            node["geometry"] = {"outline": [list(p) for p in outline], "height_m": height_m}
        self.nodes.append(node)


def _gateway(building: str) -> str:
    """Return the gateway of a building; the walk-ups and the slabs share one in pairs."""
    pairs = {"jinxiu-b2": "jinxiu-b1", "jinxiu-b4": "jinxiu-b3"}
    return f"{pairs.get(building, building)}-gateway"
