"""What stands in a street of a given size, and the topology that describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: A street as docs/architecture.md sizes it.
HOUSEHOLDS, LIFTS, DOORS, CAMERAS = 73_000, 2_000, 3_000, 10_000
COMMUNITIES, SITES = 25, 100
_BUILDINGS = 8
#: How often each family is heard (s of run time), with room for one that is late.
EXPECT_S = {"meter": 180, "elevator": 20, "door": 180, "camera": 180}
_KINDS = ("residential_estate", "residential_estate", "apartment_block", "office_building",
          "industrial_park")  # fmt: skip
_ROADS = (
    ("锦绣", "Jinxiu"), ("云栖", "Yunqi"), ("滨河", "Binhe"), ("望江", "Wangjiang"),
    ("文汇", "Wenhui"), ("桂花", "Guihua"), ("和平", "Heping"), ("凤凰", "Fenghuang"),
    ("东湖", "Donghu"), ("新华", "Xinhua"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SitePlan:
    """One site, read by one edge: the ids of its devices, family by family."""

    site: str
    edge: str
    meters: tuple[str, ...]
    lifts: tuple[str, ...]
    doors: tuple[str, ...]
    cameras: tuple[str, ...]

    @property
    def devices(self) -> int:
        """Return the number of devices."""
        return len(self.meters) + len(self.lifts) + len(self.doors) + len(self.cameras)


@dataclass(frozen=True, slots=True)
class StreetPlan:
    """A street's sites; ``share`` 1 is a whole street, 0.01 a hundredth of it."""

    share: float = 1.0
    sites: tuple[SitePlan, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 10:
            raise ValueError(f"share: {self.share} is not above 0 and at most 10")
        count = max(round(SITES * self.share), 1)
        object.__setattr__(
            self, "sites", tuple(_site(number, count, self.share) for number in range(count))
        )

    @property
    def devices(self) -> int:
        """Return the number of devices."""
        return sum(site.devices for site in self.sites)

    def topology(self) -> dict[str, Any]:
        """Return the topology: street, communities, sites, buildings, edges and devices."""
        nodes: list[dict[str, Any]] = [
            {
                "id": "street",
                "level": "street",
                "name": {"zh": "模拟街道", "en": "Simulated street"},
            }
        ]
        communities = min(COMMUNITIES, len(self.sites))
        for number in range(communities):
            name = {"zh": f"第{number + 1}社区", "en": f"Community {number + 1}"}
            nodes.append(
                {"id": f"c{number + 1:02d}", "level": "community", "name": name, "parent": "street"}
            )
        devices: list[dict[str, Any]] = []
        for number, site in enumerate(self.sites):
            nodes += _nodes(number, site, communities)
            devices += _devices(site)
        edges = [
            {"id": s.edge, "site": s.site, "name": {"zh": f"{s.site} 边缘节点", "en": s.edge}}
            for s in self.sites
        ]
        return {"datum": "wgs84", "nodes": nodes, "edges": edges, "devices": devices}


def _site(number: int, count: int, share: float) -> SitePlan:
    name = f"s{number + 1:03d}"

    def ids(total: int, letter: str) -> tuple[str, ...]:
        whole = max(round(total * share), 1)
        mine = whole * (number + 1) // count - whole * number // count
        return tuple(f"{name}-{letter}{index + 1:04d}" for index in range(mine))

    return SitePlan(
        name, f"{name}-edge", ids(HOUSEHOLDS, "m"), ids(LIFTS, "l"), ids(DOORS, "d"),
        ids(CAMERAS, "c"),
    )  # fmt: skip


def _nodes(number: int, site: SitePlan, communities: int) -> list[dict[str, Any]]:
    zh, en = _ROADS[number % len(_ROADS)]
    block = number // len(_ROADS) + 1
    found: list[dict[str, Any]] = [
        {
            "id": site.site, "level": "site", "parent": f"c{number % communities + 1:02d}",
            "site_kind": _KINDS[number % len(_KINDS)],
            "name": {"zh": f"{zh}{block}期", "en": f"{en} {block}"},
        }
    ]  # fmt: skip
    found += [
        {
            "id": f"{site.site}-b{building + 1}", "level": "building", "parent": site.site,
            "name": {"zh": f"{building + 1}号楼", "en": f"Building {building + 1}"},
        }
        for building in range(_BUILDINGS)
    ]  # fmt: skip
    return found


def _devices(site: SitePlan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for family, ids, zh, en in (
        ("meter", site.meters, "电表", "Meter"),
        ("elevator", site.lifts, "电梯", "Lift"),
        ("door", site.doors, "门禁", "Door"),
        ("camera", site.cameras, "摄像机", "Camera"),
    ):
        for index, device in enumerate(ids):
            entry: dict[str, Any] = {
                "id": device, "family": family, "edge": site.edge, "expect_s": EXPECT_S[family],
                "node": f"{site.site}-b{index % _BUILDINGS + 1}",
                "name": {"zh": f"{zh} {index + 1}", "en": f"{en} {index + 1}"},
            }  # fmt: skip
            if family == "meter":
                entry["limits"] = {"power_w": 8_800}
            found.append(entry)
    return found
