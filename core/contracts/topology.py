"""The tree that a street looks after, and the devices in it.

street > community > grid > site > building > unit > floor > device. A level may be left out
(a construction site has no units), never reordered. Groups lie across the tree. Ids are
stable and unique in a topology; names are Chinese and English.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.contracts.errors import ContractError
from core.contracts.events import Id

Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Position = tuple[Longitude, Latitude]


class Level(StrEnum):
    """The levels of the tree, from the top."""

    STREET = "street"
    COMMUNITY = "community"
    GRID = "grid"
    SITE = "site"
    BUILDING = "building"
    UNIT = "unit"
    FLOOR = "floor"

    @property
    def depth(self) -> int:
        """Return 0 for a street to 6 for a floor."""
        return _DEPTH[self]


_DEPTH = {level: depth for depth, level in enumerate(Level)}


class SiteKind(StrEnum):
    """The five kinds of site (场景)."""

    RESIDENTIAL_ESTATE = "residential_estate"
    APARTMENT_BLOCK = "apartment_block"
    OFFICE_BUILDING = "office_building"
    INDUSTRIAL_PARK = "industrial_park"
    CONSTRUCTION_SITE = "construction_site"


class Datum(StrEnum):
    """The geodetic datum of every position in a topology.

    Chinese web maps publish GCJ-02, which lies up to some hundred metres off WGS 84.
    """

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    CGCS2000 = "cgcs2000"


class DeviceFamily(StrEnum):
    """What kind of thing a device is."""

    METER = "meter"
    ELEVATOR = "elevator"
    DOOR = "door"
    BARRIER = "barrier"
    CAMERA = "camera"
    FIRE_PANEL = "fire_panel"
    SENSOR = "sensor"
    OUTPUT = "output"
    """A siren, a light, a relay: something that can be switched."""
    EDGE = "edge"


#: In the place of the names of the fields that were given.
_GIVEN: set[str] = set()


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_post_init(self, _context: Any, /) -> None:
        """Forget which fields were given: nobody asks, and with a street it takes 80 MiB."""
        object.__setattr__(self, "__pydantic_fields_set__", _GIVEN)


class Text(_Model):
    """A name in both languages."""

    zh: Annotated[str, Field(min_length=1, max_length=120)]
    en: Annotated[str, Field(min_length=1, max_length=120)]


class Geometry(_Model):
    """Where a node is: its outline (a closed or open ring) and its heights above ground."""

    outline: Annotated[list[Position], Field(min_length=3, max_length=500)]
    height_m: Annotated[float, Field(ge=0, le=1000)] = 0
    base_m: Annotated[float, Field(ge=-200, le=1000)] = 0


class Device(_Model):
    """One device; ``node`` is where it is, ``edge`` who reads it (None: it speaks for itself).

    ``expect_s`` is the interval (s) within which it should be heard; ``limits`` are numbers
    that rules may use, named with their unit (``power_w``).
    """

    id: Id
    family: DeviceFamily
    name: Text
    node: Id
    edge: Id | None = None
    expect_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    position: Position | None = None
    model: str = ""
    limits: dict[str, float] = {}


class Node(_Model):
    """One node of the tree; ``parent`` is None for the street only."""

    id: Id
    level: Level
    name: Text
    parent: Id | None = None
    site_kind: SiteKind | None = None
    geometry: Geometry | None = None
    occupants: Annotated[int, Field(ge=0)] | None = None
    number: int | None = None
    """A floor's number; basements are negative, and there is no floor 0."""


class Group(_Model):
    """Nodes taken together across the tree, for example an office-tower community (楼宇社区)."""

    id: Id
    name: Text
    members: Annotated[list[Id], Field(min_length=1)]


class Edge(_Model):
    """An edge agent and the site that it serves."""

    id: Id
    site: Id
    name: Text


class Topology(_Model):
    """A whole topology; :func:`load` checks it."""

    version: Literal[1] = 1
    datum: Datum
    nodes: list[Node]
    edges: list[Edge] = []
    devices: list[Device] = []
    groups: list[Group] = []
    coverage_minimum: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Below this share of heard devices a node is grey, whatever its alerts."""

    @model_validator(mode="after")
    def _is_a_tree(self) -> Topology:
        nodes: dict[str, Node] = {}
        for node in self.nodes:
            _check_node(node, nodes)
            nodes[node.id] = node
        edges: set[str] = set()
        for edge in self.edges:
            if edge.id in nodes or edge.id in edges:
                raise ValueError(f"edges: the id {edge.id} is used twice")
            if edge.site not in nodes or nodes[edge.site].level is not Level.SITE:
                raise ValueError(f"edges.{edge.id}.site: {edge.site} is not a site")
            edges.add(edge.id)
        ids = set(nodes) | edges
        for device in self.devices:
            _check_device(device, ids, nodes, edges)
            ids.add(device.id)
        groups: set[str] = set()
        for group in self.groups:
            if group.id in groups:
                raise ValueError(f"groups: the id {group.id} is used twice")
            groups.add(group.id)
            if unknown := [member for member in group.members if member not in nodes]:
                raise ValueError(f"groups.{group.id}.members: {unknown[0]} is unknown")
        return self

    @cached_property
    def node_by_id(self) -> dict[str, Node]:
        """Index the nodes by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def device_by_id(self) -> dict[str, Device]:
        """Index the devices by id."""
        return {device.id: device for device in self.devices}

    @cached_property
    def edge_by_id(self) -> dict[str, Edge]:
        """Index the edges by id."""
        return {edge.id: edge for edge in self.edges}

    def ancestors(self, node_id: str) -> Iterator[Node]:
        """Yield the node itself and then its parents, up to the street."""
        node: Node | None = self.node_by_id.get(node_id)
        while node is not None:
            yield node
            node = self.node_by_id.get(node.parent) if node.parent else None

    @cached_property
    def _sites(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for node in self.nodes:  # parents come before their children
            above = None if node.parent is None else found[node.parent]
            found[node.id] = node.id if node.level is Level.SITE else above
        return found

    def site_of(self, node_id: str) -> str | None:
        """Return the id of the site that a node is in, or None above the sites."""
        return self._sites.get(node_id)


def _check_node(node: Node, above: dict[str, Node]) -> None:
    if node.id in above:
        raise ValueError(f"nodes: the id {node.id} is used twice")
    if (node.level is Level.STREET) != (node.parent is None):
        raise ValueError(f"nodes.{node.id}.parent: a street has none, all others have one")
    if node.parent is not None:
        parent = above.get(node.parent)
        if parent is None:
            raise ValueError(f"nodes.{node.id}.parent: {node.parent} is not defined above it")
        if parent.level.depth >= node.level.depth:
            raise ValueError(f"nodes.{node.id}: a {node.level} cannot be inside a {parent.level}")
    if (node.level is Level.SITE) != (node.site_kind is not None):
        raise ValueError(f"nodes.{node.id}.site_kind: sites have one, other nodes do not")


def _check_device(device: Device, ids: set[str], nodes: dict[str, Node], edges: set[str]) -> None:
    if device.id in ids:
        raise ValueError(f"devices: the id {device.id} is used twice")
    if device.node not in nodes:
        raise ValueError(f"devices.{device.id}.node: {device.node} is unknown")
    if device.edge is not None and device.edge not in edges:
        raise ValueError(f"devices.{device.id}.edge: {device.edge} is unknown")


def load(raw: Any) -> Topology:
    """Check a parsed topology file; raise :class:`ContractError` that names the field."""
    try:
        return Topology.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ContractError(first["msg"].removeprefix("Value error, "), field=path) from None


def check_parts(topology: Topology) -> None:
    """Raise :class:`ContractError` where two sites cannot be two collectors'.

    That is where an edge reads a device of another site than its own.
    """
    for device in topology.devices:
        site = topology.site_of(device.node)
        if device.edge is None or site is None:
            continue
        owner = topology.edge_by_id[device.edge].site
        if site != owner:
            raise ContractError(
                f"edge {device.edge} of site {owner} reads it, and it is in site {site}",
                field=f"devices.{device.id}.edge",
                remedy="give it an edge of its own site, or one collector to all sites",
            )


def narrowed(topology: Topology, site: str) -> dict[str, Any]:
    """Return the part of a topology that one site's collector works with, as a file has it.

    It keeps the nodes above the site, and of edges and devices the site's: what is in it, and
    what its edges read above it.
    """
    above = {node.id for node in topology.ancestors(site)}
    edges = [edge for edge in topology.edges if edge.site == site]
    own = {edge.id for edge in edges}

    def is_own(device: Device) -> bool:
        if topology.site_of(device.node) == site:
            return device.edge is None or device.edge in own
        return device.edge in own and device.node in above

    part = topology.model_copy(
        update={
            "nodes": [n for n in topology.nodes if n.id in above or topology.site_of(n.id) == site],
            "edges": edges,
            "devices": [device for device in topology.devices if is_own(device)],
            "groups": [],
        }
    )
    return part.model_dump(mode="json", exclude_defaults=True)
