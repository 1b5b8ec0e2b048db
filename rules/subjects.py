"""Devices and edges as the engine knows them: fixed facts from the topology, and what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from core.contracts.codec import Event
from core.contracts.outputs import Cause, Presence
from core.contracts.topology import Device, DeviceFamily, Edge, Level, Node, Topology
from rules.cells import Cell
from rules.model import Wording

if TYPE_CHECKING:
    from rules.edges import EdgeState
    from rules.plan import ActiveRule, KindPlan
    from rules.rhythm import Rhythm

NEVER = 1 << 62
#: Kinds that a device and an edge can both be the subject of.
_EITHERS = frozenset({"edge.clock", "device.snapshot"})


class Subject:
    """One device or edge.

    The first block is fixed by a topology. ``now`` is the newest time of its own events,
    ``heard_at``/``heard_q`` when it was last heard, in its own and in listening time. It is
    ``unwell`` while its edge says that it cannot reach it; ``well_q`` is when that was last over.
    """

    __slots__ = (
        "cause", "cells", "edge", "edge_id", "expect_ms", "facts", "family", "heard_at", "heard_q",
        "id", "is_edge", "last", "levels", "limits", "names", "next_due", "node", "now", "plans",
        "presence", "rhythm", "site", "unwell", "wake_q", "well_q",
    )  # fmt: skip

    def __init__(
        self, id: str, family: DeviceFamily, *, node: str, site: str, edge_id: str | None
    ) -> None:
        self.id = id
        self.family = family
        self.is_edge = family is DeviceFamily.EDGE and edge_id == id
        self.node = node
        self.site = site
        self.edge_id = edge_id
        self.expect_ms: int | None = None
        self.limits: dict[str, float] = {}
        self.facts: dict[str, Any] = {}
        self.levels: dict[Level, str] = {}
        self.names: dict[str, Wording] = {}
        self.plans: dict[str, KindPlan] = {}
        self.edge: EdgeState | None = None

        self.now = 0
        self.heard_at: int | None = None
        self.heard_q = 0
        self.presence = Presence.UNKNOWN
        self.cause: Cause | None = None
        self.unwell = False
        self.well_q = 0
        self.rhythm: Rhythm | None = None
        self.cells: dict[tuple[str, str], Cell] = {}
        self.next_due = NEVER
        self.wake_q = NEVER
        self.last: dict[str, Event] = {}

    @property
    def learns(self) -> bool:
        """Tell whether its interval is to be learned: nobody has said it."""
        return self.expect_ms is None and not self.is_edge

    @property
    def interval_ms(self) -> int | None:
        """Return the interval within which it is to be heard: configured, else learned."""
        if self.expect_ms is not None or self.rhythm is None:
            return self.expect_ms
        return self.rhythm.learned_ms

    @property
    def running(self) -> bool:
        """Tell whether its silence is counted: its edge is online and drained, or it has none."""
        return self.edge is None or self.is_edge or self.edge.listening

    def runs(self, active: ActiveRule) -> bool:
        """Tell whether ticks run a rule's timers for it: nothing that could stop them waits."""
        edge = self.edge
        if edge is None or self.is_edge:
            return True
        return edge.online and not active.waits_for(edge.pending)

    def suits(self, kind: str) -> bool:
        """Tell whether a kind can be about it: edges have kinds of their own, as devices have."""
        if kind in _EITHERS:
            return True
        return kind.startswith("edge.") == self.is_edge

    def offset(self, listening: int, at: int) -> int:
        """Return what to add to its own time for listening time: its skew and its delay."""
        return listening - at if self.heard_at is None else self.heard_q - self.heard_at


class _Place(NamedTuple):
    """What all devices of one node share."""

    site: str
    levels: dict[Level, str]
    names: dict[str, Wording]
    facts: dict[str, Any]


def subjects_of(topology: Topology) -> dict[str, Subject]:
    """Return a topology's devices and edges by id, with nothing known of their present."""
    places = {node.id: _place(topology, node) for node in topology.nodes}
    edges = {
        edge.id: _edge(edge, places[edge.site], Wording(edge.name.zh, edge.name.en))
        for edge in topology.edges
    }
    found = dict(edges)
    for device in topology.devices:
        edge = None if device.edge is None else edges[device.edge]
        found[device.id] = _device(device, places[device.node], edge)
    return found


def _edge(edge: Edge, place: _Place, name: Wording) -> Subject:
    subject = Subject(edge.id, DeviceFamily.EDGE, node=edge.site, site=edge.site, edge_id=edge.id)
    subject.levels = place.levels
    subject.names = {**place.names, "device": name, "edge": name}
    subject.facts = {**place.facts, "device.id": edge.id, "device.family": subject.family.value}
    return subject


def _device(device: Device, place: _Place, edge: Subject | None) -> Subject:
    subject = Subject(
        device.id, device.family, node=device.node, site=place.site, edge_id=device.edge
    )
    subject.expect_ms = None if device.expect_s is None else round(device.expect_s * 1000)
    subject.limits = dict(device.limits)
    subject.levels = place.levels
    subject.names = {**place.names, "device": Wording(device.name.zh, device.name.en)}
    if edge is not None:
        subject.names["edge"] = edge.names["edge"]
    subject.facts = {
        **place.facts,
        "device.id": device.id,
        "device.family": device.family.value,
        "device.model": device.model,
        "device.expect_s": device.expect_s,
        "device.edge": device.edge,
    }
    return subject


def _place(topology: Topology, node: Node) -> _Place:
    path = list(topology.ancestors(node.id))
    names = {"node": Wording(node.name.zh, node.name.en)}
    facts: dict[str, Any] = {
        "node.id": node.id,
        "node.level": node.level.value,
        "node.number": node.number,
        "node.occupants": node.occupants,
    }
    site = next((above for above in path if above.level is Level.SITE), None)
    if site is not None:
        names["site"] = Wording(site.name.zh, site.name.en)
        kind = None if site.site_kind is None else site.site_kind.value
        facts |= {"site.id": site.id, "site.kind": kind}
    return _Place("" if site is None else site.id, _levels(path), names, facts)


def _levels(path: list[Node]) -> dict[Level, str]:
    """Return for each level the node that a key of it means: the nearest at or above it."""
    by_level = {node.level: node.id for node in path}
    found: dict[Level, str] = {}
    nearest = path[-1].id
    for level in Level:  # from the street down
        nearest = found[level] = by_level.get(level, nearest)
    return found
