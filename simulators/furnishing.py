"""What a community has beside meters, lifts, doors and cameras of the first kind.

Of each protocol a few: on the main switchboard and in the pump room (Modbus), water and gas
(CJ/T 188), fire contacts and a siren, lifts on BACnet and behind a vendor's gateway, access
control in a car, a door on the edge's own bus, a barrier, cameras that see by themselves.
"""

from __future__ import annotations

from typing import Any, Protocol

from simulators.devices.scene import SceneKind
from simulators.estate_plan import GATE, JINXIU, NORTH, SOUTH, TOWER, YUNQI, Position
from simulators.loads import LoadKind, LoadSpec
from simulators.osdp_cards import cards
from simulators.plans.base import Plan
from simulators.plans.cameras import IsapiCameraPlan, OnvifCameraPlan, SceneCameraPlan
from simulators.plans.doors import BarrierPlan, OnvifDoorPlan, OsdpDoorPlan
from simulators.plans.lifts import BacnetPlan, JsonLiftPlan, LiftAccessPlan, LiftPlan
from simulators.plans.meters import COLD_WATER, GAS, FlowMeterPlan, FlowPlan
from simulators.plans.modbus import ModbusPlan, UnitPlan
from simulators.seeds import stream

_MAIN_W, _PLANT_W, _PUMPS_W = 180_000.0, 90_000.0, 30_000.0
_METER_S, _FLOW_S = 180.0, 240.0
_SIREN_S = 60


class Builder(Protocol):
    """Takes devices and plans."""

    seed: int
    sections: dict[str, dict[str, Any]]

    def device(
        self, id: str, family: str, zh: str, en: str, node: str, edge: str,
        at: Position, model: str, **more: Any,
    ) -> None:  # fmt: skip
        """Add a device to the topology."""
        ...

    def install(self, plan: Plan) -> None:
        """Add a peer."""
        ...


def furnish(builder: Builder) -> None:
    """Add everything."""
    _switchboard(builder)
    _pump_room(builder)
    _water_and_gas(builder)
    _tower_lifts(builder)
    _retrofitted_lifts(builder)
    _lift_access(builder)
    _plant_door(builder)
    _back_door(builder)
    _barrier(builder)
    _seeing_cameras(builder)
    _scene_cameras(builder)
    builder.sections[TOWER] = {
        "commands": {
            "unlock": ["yunqi-b1-plant-door"],
            "relay_output": ["yunqi-b1-siren"],
        },
        # A fire at the panel sounds the siren even when nobody hears the edge.
        "local_rules": {
            "builtin": ["fire-alarm"],
            "outputs": [
                {
                    "when": {"rules": ["fire-alarm"]}, "device": "yunqi-b1-siren",
                    "params": {"for_s": _SIREN_S},
                }
            ],
        },
    }  # fmt: skip
    builder.sections[NORTH] = {
        "derive": {
            "tailgating": [
                {"door": "jinxiu-b5-u1-door", "camera": "jinxiu-b5-u1-door-camera", "line": "door"}
            ]
        }
    }


def _password(builder: Builder, name: str) -> str:
    return f"{stream(builder.seed, name, 'password').getrandbits(64):016x}"


def _at(number: int, dx: float = 0, dy: float = 0) -> Position:
    building = JINXIU[number - 1]
    return building.x + dx, building.y + dy


# -- meters, contacts, sensors ----------------------------------------------------------------


def _switchboard(builder: Builder) -> None:
    node, edge, at = "yunqi-b1", TOWER, (YUNQI.x + 12, YUNQI.y + 8)
    main, plant = LoadSpec(LoadKind.OFFICE, _MAIN_W, 3.0), LoadSpec(LoadKind.OFFICE, _PLANT_W, 1.5)

    def meter(name: str, zh: str, en: str, model: str, watts: float) -> None:
        builder.device(f"{node}-{name}", "meter", zh, en, node, edge, at, model,
                       expect_s=_METER_S, limits={"power_w": watts})  # fmt: skip

    meter("main-meter", "云栖大厦总进线电表", "Yunqi Tower, main switchboard", "ADL3000", _MAIN_W)
    meter("plant-meter", "云栖大厦空调机房电表", "Yunqi Tower, cooling plant", "DTSU666", _PLANT_W)
    builder.device(f"{node}-server-room", "sensor", "云栖大厦机房温湿度",
                   "Yunqi Tower, server room", node, edge, at, "TH-10",
                   expect_s=_METER_S)  # fmt: skip
    builder.device(f"{node}-fire-panel", "fire_panel", "云栖大厦消防主机",
                   "Yunqi Tower, fire panel", node, edge, at, "JB-QB")  # fmt: skip
    builder.device(f"{node}-siren", "output", "云栖大厦声光报警器", "Yunqi Tower, siren",
                   node, edge, at, "relay 8")  # fmt: skip
    builder.install(
        ModbusPlan(
            "yunqi-modbus", edge,
            (
                UnitPlan(f"{node}-main-meter", 1, "acrel", main),
                UnitPlan(f"{node}-plant-meter", 2, "chint", plant),
                UnitPlan(f"{node}-server-room", 3, "sensor"),
                UnitPlan(f"{node}-fire-panel", 4, "fire_contacts",
                         points=("lobby", "plant", "roof")),
                UnitPlan(f"{node}-siren", 5, "relay"),
            ),
        )
    )  # fmt: skip


def _pump_room(builder: Builder) -> None:
    edge, at = SOUTH, (-30.0, -38.0)
    pumps = LoadSpec(LoadKind.PUBLIC, _PUMPS_W, 0.8)
    builder.device("jinxiu-pumps-meter", "meter", "金绣家园水泵房电表",
                   "Jinxiu Garden, pump room meter", "jinxiu", edge, at, "SDM630",
                   expect_s=_METER_S, limits={"power_w": _PUMPS_W})  # fmt: skip
    builder.device("jinxiu-water-main", "meter", "金绣家园总水表", "Jinxiu Garden, water main",
                   "jinxiu", edge, at, "LXS pulse counter", expect_s=_METER_S)  # fmt: skip
    builder.device("jinxiu-pump-room", "sensor", "金绣家园水泵房温湿度",
                   "Jinxiu Garden, pump room climate", "jinxiu", edge, at, "TH-10",
                   expect_s=_METER_S)  # fmt: skip
    builder.install(
        ModbusPlan(
            "jinxiu-pumps-serial", edge,
            (
                UnitPlan("jinxiu-pumps-meter", 1, "eastron", pumps),
                UnitPlan("jinxiu-water-main", 2, "pulse"),
                UnitPlan("jinxiu-pump-room", 3, "sensor"),
            ),
            framing="rtu",
        )
    )  # fmt: skip


def _water_and_gas(builder: Builder) -> None:
    meters = (
        ("water", COLD_WATER, "水表", "water meter", "LXSY"),
        ("gas", GAS, "燃气表", "gas meter", "G2.5"),
    )
    plans = []
    for index, (name, kind, zh, en, model) in enumerate(meters):
        device = f"jinxiu-b1-u1-f3-{name}"
        builder.device(
            device, "meter", f"1号楼1单元301室{zh}", f"Building 1, unit 1, flat 301 {en}",
            "jinxiu-b1-u1-f3", SOUTH, _at(1, -6, 2), model, expect_s=_FLOW_S,
        )  # fmt: skip
        address = f"7833{330100 + builder.seed % 90:06d}{index + 1:04d}"
        plans.append(FlowMeterPlan(device, address, kind))
    builder.install(FlowPlan("jinxiu-b1-mbus", SOUTH, tuple(plans)))


# -- lifts ------------------------------------------------------------------------------------


def _lift(
    builder: Builder, device: str, zh: str, en: str, node: str, edge: str, at: Position,
    floors: tuple[int, ...], *, work: bool, model: str,
) -> LiftPlan:  # fmt: skip
    builder.device(device, "elevator", zh, en, node, edge, at, model)
    random = stream(builder.seed, device)
    busy = (1.2 if work else 0.5) * random.uniform(0.85, 1.2)
    return LiftPlan(device, edge, floors, busy, work, random.randrange(500, 40_000))


def _tower_lifts(builder: Builder) -> None:
    floors = (-1, *range(1, YUNQI.floors + 1))
    lifts = tuple(
        _lift(builder, f"yunqi-b1-lift-{number}", f"云栖大厦{number}号电梯",
              f"Yunqi Tower, lift {number}", "yunqi-b1", TOWER,
              (YUNQI.x + 3 * number, YUNQI.y + 4), floors, work=True, model="BACnet")
        for number in (2, 3)
    )  # fmt: skip
    builder.install(BacnetPlan("yunqi-bacnet", TOWER, lifts))


def _retrofitted_lifts(builder: Builder) -> None:
    lifts = tuple(
        _lift(builder, f"jinxiu-b3-u{unit}-lift-1", f"3号楼{unit}单元加装电梯",
              f"Building 3, unit {unit}, retrofitted lift", f"jinxiu-b3-u{unit}", SOUTH,
              _at(3, 20 * unit - 30, 8), tuple(range(1, 8)), work=False, model="JSON gateway")
        for unit in (1, 2)
    )  # fmt: skip
    token = _password(builder, "jinxiu-b3-lifts")
    builder.install(JsonLiftPlan("jinxiu-b3-lifts", SOUTH, lifts, token))


def _lift_access(builder: Builder) -> None:
    device = "jinxiu-b7-u1-lift-1-access"
    builder.device(device, "elevator", "7号楼1号电梯梯控", "Building 7, lift 1, access control",
                   "jinxiu-b7-u1", NORTH, _at(7, 2, 2), "DS-K2210", expect_s=150.0)  # fmt: skip
    floors = (-1, *range(1, JINXIU[6].floors + 1))
    builder.install(LiftAccessPlan(device, NORTH, floors, _password(builder, device)))


# -- doors and barriers -----------------------------------------------------------------------


def _plant_door(builder: Builder) -> None:
    device, at = "yunqi-b1-plant-door", (YUNQI.x - 12, YUNQI.y + 6)
    builder.device(device, "door", "云栖大厦设备间门", "Yunqi Tower, plant room door", "yunqi-b1",
                   TOWER, at, "OSDP")  # fmt: skip
    builder.device(f"{device}-out", "door", "云栖大厦设备间门（内侧）",
                   "Yunqi Tower, plant room door, inside", "yunqi-b1", TOWER, at,
                   "OSDP")  # fmt: skip
    key = stream(builder.seed, device, "key").randbytes(16).hex()
    builder.install(OsdpDoorPlan(device, TOWER, key, cards(builder.seed, device)))


def _back_door(builder: Builder) -> None:
    device, controller = "jinxiu-b8-back-door", "jinxiu-b8-controller"
    builder.device(device, "door", "8号楼后门", "Building 8, back door", "jinxiu-b8", GATE,
                   _at(8, 10, 0), "ONVIF")  # fmt: skip
    password = _password(builder, controller)
    builder.install(OnvifDoorPlan(controller, GATE, (("Door-1", device),), password))


def _barrier(builder: Builder) -> None:
    device = "jinxiu-gate-barrier"
    builder.device(device, "barrier", "南大门道闸", "Main gate, barrier", "jinxiu", GATE,
                   (14.0, -108.0), "DS-TMG520")  # fmt: skip
    builder.install(BarrierPlan(device, GATE, _password(builder, device)))


# -- cameras ----------------------------------------------------------------------------------


def _seeing_cameras(builder: Builder) -> None:
    device = "jinxiu-b7-u1-lift-2-camera"
    builder.device(device, "camera", "7号楼2号电梯轿厢智能摄像机",
                   "Building 7, lift 2, camera in the car", "jinxiu-b7-u1", NORTH, _at(7, -3, 2),
                   "DS-2XD8 (e-bikes)")  # fmt: skip
    builder.install(
        IsapiCameraPlan(device, NORTH, SceneKind.LIFT_CAR, "B7 LIFT 2", _password(builder, device),
                        zone="car")
    )  # fmt: skip
    device = "jinxiu-wall-camera"
    builder.device(device, "camera", "东围墙摄像机", "East wall camera", "jinxiu", GATE,
                   (112.0, 40.0), "ONVIF S/M")  # fmt: skip
    builder.install(
        OnvifCameraPlan(device, GATE, SceneKind.COURTYARD, "EAST WALL", _password(builder, device),
                        zones=(("Yard", "wall"), ("Fence", "intrusion-fence")))
    )  # fmt: skip

    device = "yunqi-b1-shaft-camera"
    builder.device(
        device, "camera", "云栖大厦电梯底坑摄像机", "Yunqi Tower, camera in the lift pit",
        "yunqi-b1", TOWER, (YUNQI.x + 4, YUNQI.y + 4), "ONVIF M",
    )  # fmt: skip
    password = _password(builder, device)
    builder.install(
        OnvifCameraPlan(device, TOWER, SceneKind.LIFT_CAR, "LIFT PIT", password,
                        field_rule="Pit", person_in="pit")
    )  # fmt: skip


def _scene_cameras(builder: Builder) -> None:
    device = "jinxiu-b5-u1-door-camera"
    builder.device(device, "camera", "5号楼单元门摄像机", "Building 5, camera at the door",
                   "jinxiu-b5-u1", NORTH, _at(5, 0, -12), "DS-2CD2 (RTSP)")  # fmt: skip
    builder.install(
        SceneCameraPlan(device, NORTH, SceneKind.DOOR, "B5 DOOR", "rtsp",
                        door="jinxiu-b5-u1-door", line="door")
    )  # fmt: skip
    device = "jinxiu-b6-u1-lift-1-camera"
    builder.device(device, "camera", "6号楼电梯轿厢摄像机", "Building 6, camera in the lift",
                   "jinxiu-b6-u1", NORTH, _at(6, 0, 2), "DS-2CD2")  # fmt: skip
    builder.install(
        SceneCameraPlan(device, NORTH, SceneKind.LIFT_CAR, "B6 LIFT", fps=2, left_object="car")
    )
