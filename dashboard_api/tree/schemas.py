"""The tree over the wire."""

from __future__ import annotations

from typing import Any

from core.contracts.colours import Colour
from core.contracts.topology import Datum, Level, SiteKind
from dashboard_api.schemas import Ms, Names, Schema, example

_NODE: dict[str, Any] = {
    "id": "jinxiu-b1",
    "level": "building",
    "parent": "jinxiu",
    "site": "jinxiu",
    "name": {"zh": "1号楼", "en": "Building 1"},
    "site_kind": None,
    "geometry": {
        "outline": [[120.1, 30.2], [120.101, 30.2], [120.101, 30.201]],
        "height_m": 54.0,
        "base_m": 0.0,
    },
    "occupants": 212,
    "number": None,
    "colour": "green",
    "alert_colour": "green",
    "heard": 12,
    "total": 12,
}


class Outline(Schema):
    """Where a node is, in the topology's datum."""

    outline: list[tuple[float, float]]
    """Longitude and latitude of the corners."""
    height_m: float
    base_m: float


class TreeNode(Schema):
    """A node with its colour now."""

    model_config = example(_NODE)

    id: str
    level: Level
    parent: str | None
    site: str | None
    name: Names
    site_kind: SiteKind | None
    geometry: Outline | None
    occupants: int | None
    number: int | None
    """A floor's number; basements are negative."""
    colour: Colour
    """Grey where fewer devices are heard than ``coverage_minimum`` asks for."""
    alert_colour: Colour
    """The worst standing alert's colour, which grey may hide."""
    heard: int
    total: int


class TreeGroup(Schema):
    """Nodes taken together across the tree."""

    id: str
    name: Names
    members: list[str]


class Tree(Schema):
    """The whole tree, parents before their children."""

    model_config = example(
        {
            "datum": "wgs84",
            "coverage_minimum": 0.5,
            "nodes": [_NODE],
            "still": {},
            "groups": [
                {
                    "id": "towers",
                    "name": {"zh": "楼宇社区", "en": "Tower community"},
                    "members": ["jinxiu-b1"],
                }
            ],
        }
    )

    datum: Datum | None
    """None while no topology has been activated."""
    coverage_minimum: float | None
    still: dict[str, Ms]
    """Sites whose rules stand still, with when these last moved: nothing is known of them since."""
    nodes: list[TreeNode]
    groups: list[TreeGroup]
