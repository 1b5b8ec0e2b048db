"""Devices and edges as the engine knows them: fixed facts from the topology, and what is new."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from core.contracts.outputs import Cause, Presence
from core.contracts.topology import Device, DeviceFamily, Edge, Level, Node, Text, Topology
from rules.cells import Cell
from rules.model import Wording

if TYPE_CHECKING:
    from rules.edges import EdgeState
    from rules.plan import ActiveRule, KindPlan
    from rules.rhythm import Rhythm

NEVER = 1 << 62
#: Kinds that a device and an edge can both be the subject of.
_EITHERS = frozenset({"edge.clock", "device.snapshot"})
#: Nearly every device has no cell nearly always; all of these share one mapping.
_NO_CELLS: Mapping[tuple[str, str], Cell] = MappingProxyType({})


class Subject:
    """One device or edge.

    The first block is fixed by a topology; ``facts``, ``limits`` and ``names`` are those of many
    devices and not to be changed. ``now`` is the newest time of its own events,
    ``heard_at``/``heard_q`` when it was last heard, in its own and in listening time. It is
    ``unwell`` while its edge says that it cannot reach it; ``well_q`` is when that was last over.
    """

    __slots__ = (
        "_names", "cause", "cells", "edge", "edge_id", "expect_ms", "facts", "family", "heard_at",
        "heard_q", "id", "is_edge", "levels", "limits", "name", "next_due", "node", "now", "plans",
        "presence", "rhythm", "site", "unwell", "wake_q", "well_q",
    )  # fmt: skip

    def __init__(self, id: str, name: Wording, kin: _Kin, limits: dict[str, float]) -> None:
        place = kin.place
        self.id = id
        self.name = name
        self.family = kin.family
        self.is_edge = kin.family is DeviceFamily.EDGE and kin.edge_id == id
        self.node = place.node
        self.site = place.site
        self.edge_id = kin.edge_id
        self.expect_ms = kin.expect_ms
        self.limits = limits
        self.facts = kin.facts
        self.levels = place.levels
        self._names = kin.names
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
        self.cells = _NO_CELLS
        self.next_due = NEVER
        self.wake_q = NEVER

    @property
    def names(self) -> dict[str, Wording]:
        """Return what texts may name: the device, and what it belongs to."""
        return {**self._names, "device": self.name}

    def keep(self, name: tuple[str, str], cell: Cell) -> None:
        """Hold a cell by rule and key."""
        if isinstance(self.cells, dict):
            self.cells[name] = cell
        else:
            self.cells = {name: cell}

    def forget(self, name: tuple[str, str]) -> None:
        """Hold a cell no more, if there is one."""
        if isinstance(self.cells, dict):
            self.cells.pop(name, None)
            if not self.cells:
                self.cells = _NO_CELLS

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

    node: str
    site: str
    levels: dict[Level, str]
    names: dict[str, Wording]
    facts: dict[str, Any]


class _Kin(NamedTuple):
    """What devices of one node share that are of one kind and have one edge."""

    place: _Place
    family: DeviceFamily
    edge_id: str | None
    expect_ms: int | None
    names: dict[str, Wording]
    facts: dict[str, Any]


def subjects_of(topology: Topology) -> dict[str, Subject]:
    """Return a topology's devices and edges by id, with nothing known of their present."""
    return _Register(topology).subjects


class _Register:
    """Enters a topology's edges and devices; what several have in common is held once.

    Nothing of the topology itself is held on to, not even its strings and numbers: a few of them,
    scattered over the memory of a whole parsed street, would keep all of it from being given back.
    """

    def __init__(self, topology: Topology) -> None:
        self._places = {own(node.id): _place(topology, node) for node in topology.nodes}
        self._words: dict[tuple[str, str], Wording] = {}
        self._kin: dict[tuple[object, ...], _Kin] = {}
        self._limits: dict[tuple[tuple[str, float], ...], dict[str, float]] = {}
        self.subjects: dict[str, Subject] = {}
        for edge in topology.edges:
            self._enter_edge(edge)
        for device in topology.devices:
            self._enter(device)

    def _enter_edge(self, edge: Edge) -> None:
        place = self._places[edge.site]
        name = self._wording(edge.name)
        facts = {**place.facts, "device.family": DeviceFamily.EDGE.value}
        edge_id = own(edge.id)
        kin = _Kin(place, DeviceFamily.EDGE, edge_id, None, {**place.names, "edge": name}, facts)
        self.subjects[edge_id] = Subject(edge_id, name, kin, {})

    def _enter(self, device: Device) -> None:
        shared = (device.node, device.family, device.model, device.expect_s, device.edge)
        kin = self._kin.get(shared)
        if kin is None:
            kin = self._kin[shared] = self._kin_of(device)
        subject = Subject(own(device.id), self._wording(device.name), kin, self._limits_of(device))
        self.subjects[subject.id] = subject

    def _kin_of(self, device: Device) -> _Kin:
        place = self._places[device.node]
        names, edge_id = place.names, None
        if device.edge is not None:
            edge = self.subjects[device.edge]
            names, edge_id = {**names, "edge": edge.name}, edge.id
        expect_s = None if device.expect_s is None else device.expect_s * 1.0
        facts = {
            **place.facts,
            "device.family": device.family.value,
            "device.model": own(device.model),
            "device.expect_s": expect_s,
            "device.edge": edge_id,
        }
        expect_ms = None if expect_s is None else round(expect_s * 1000)
        return _Kin(place, device.family, edge_id, expect_ms, names, facts)

    def _limits_of(self, device: Device) -> dict[str, float]:
        given = tuple(device.limits.items())
        limits = self._limits.get(given)
        if limits is None:
            limits = self._limits[given] = {own(name): value * 1.0 for name, value in given}
        return limits

    def _wording(self, name: Text) -> Wording:
        words = self._words.get((name.zh, name.en))
        if words is None:
            words = _wording(name)
            self._words[words.zh, words.en] = words
        return words


def own(text: str) -> str:
    """Return an equal string that is another object; see :class:`_Register`."""
    return text.encode().decode()


def _wording(name: Text) -> Wording:
    return Wording(own(name.zh), own(name.en))


def _place(topology: Topology, node: Node) -> _Place:
    path = list(topology.ancestors(node.id))
    names = {"node": _wording(node.name)}
    facts: dict[str, Any] = {
        "node.id": own(node.id),
        "node.level": node.level.value,
        "node.number": node.number,
        "node.occupants": node.occupants,
    }
    site = next((above for above in path if above.level is Level.SITE), None)
    if site is not None:
        names["site"] = _wording(site.name)
        kind = None if site.site_kind is None else site.site_kind.value
        facts |= {"site.id": own(site.id), "site.kind": kind}
    return _Place(facts["node.id"], facts.get("site.id", ""), _levels(path), names, facts)


def _levels(path: list[Node]) -> dict[Level, str]:
    """Return for each level the node that a key of it means: the nearest at or above it."""
    by_level = {node.level: own(node.id) for node in path}
    found: dict[Level, str] = {}
    nearest = own(path[-1].id)
    for level in Level:  # from the street down
        nearest = found[level] = by_level.get(level, nearest)
    return found
