"""Devices and edges as the engine knows them: fixed facts from the topology, and what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.contracts.codec import Event
from core.contracts.outputs import Cause, Presence
from core.contracts.topology import Device, DeviceFamily, Edge, Level, Node, Topology
from rules.cells import Cell
from rules.model import Wording

if TYPE_CHECKING:
    from rules.edges import EdgeState
    from rules.plan import KindPlan

NEVER = 1 << 62


class Subject:
    """One device or edge.

    The first block is fixed by a topology. ``now`` is the newest time of its own events,
    ``heard_at``/``heard_q`` when it was last heard, in its own and in listening time.
    """

    __slots__ = (
        "cause", "cells", "edge", "edge_id", "expect_ms", "facts", "family", "heard_at", "heard_q",
        "id", "is_edge", "last", "levels", "limits", "names", "next_due", "node", "now", "plans",
        "presence", "site", "wake_q",
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
        self.cells: dict[tuple[str, str], Cell] = {}
        self.next_due = NEVER
        self.wake_q = NEVER
        self.last: dict[str, Event] = {}

    @property
    def running(self) -> bool:
        """Tell whether ticks run its timers: its edge is online and drained, or it has none."""
        return self.edge is None or self.is_edge or self.edge.listening

    def offset(self, listening: int, at: int) -> int:
        """Return what to add to its own time for listening time: its skew and its delay."""
        return listening - at if self.heard_at is None else self.heard_q - self.heard_at


def subjects_of(topology: Topology) -> dict[str, Subject]:
    """Return a topology's devices and edges by id, with nothing known of their present."""
    found: dict[str, Subject] = {}
    for edge in topology.edges:
        found[edge.id] = _edge(topology, edge)
    for device in topology.devices:
        found[device.id] = _device(topology, device)
    return found


def _edge(topology: Topology, edge: Edge) -> Subject:
    subject = Subject(edge.id, DeviceFamily.EDGE, node=edge.site, site=edge.site, edge_id=edge.id)
    _place(subject, topology)
    subject.names["device"] = subject.names["edge"] = Wording(edge.name.zh, edge.name.en)
    return subject


def _device(topology: Topology, device: Device) -> Subject:
    subject = Subject(
        device.id,
        device.family,
        node=device.node,
        site=topology.site_of(device.node) or "",
        edge_id=device.edge,
    )
    _place(subject, topology)
    subject.expect_ms = None if device.expect_s is None else round(device.expect_s * 1000)
    subject.limits = dict(device.limits)
    subject.facts |= {"device.model": device.model, "device.expect_s": device.expect_s}
    subject.names["device"] = Wording(device.name.zh, device.name.en)
    if device.edge is not None:
        edge = topology.edge_by_id[device.edge]
        subject.names["edge"] = Wording(edge.name.zh, edge.name.en)
    return subject


def _place(subject: Subject, topology: Topology) -> None:
    path = list(topology.ancestors(subject.node))
    own = path[0]
    subject.levels = _levels(path)
    subject.names["node"] = Wording(own.name.zh, own.name.en)
    site = topology.node_by_id.get(subject.site)
    if site is not None:
        subject.names["site"] = Wording(site.name.zh, site.name.en)
    subject.facts = {
        "device.id": subject.id,
        "device.family": subject.family.value,
        "node.id": own.id,
        "node.level": own.level.value,
        "node.number": own.number,
        "node.occupants": own.occupants,
        "site.id": subject.site or None,
        "site.kind": None if site is None or site.site_kind is None else site.site_kind.value,
    }


def _levels(path: list[Node]) -> dict[Level, str]:
    """Return for each level the node that a key of it means: the nearest at or above it."""
    found: dict[Level, str] = {}
    for level in Level:
        at_or_above = (node for node in path if node.level.depth <= level.depth)
        found[level] = next(at_or_above, path[-1]).id
    return found
