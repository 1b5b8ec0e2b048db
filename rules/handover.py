"""What one collector takes over from another: the rules' state, without its place in a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from core.contracts import topology as topologies
from core.contracts.errors import ContractError
from core.contracts.log import ACTIVATION_BODY, Activation
from core.contracts.outputs import Cause
from core.contracts.packing import pack_json, unpack
from core.contracts.topology import Topology, check_parts, narrowed
from rules import snapshot as states
from rules.cells import Cell
from rules.engine import Engine
from rules.snapshot import SnapshotError, State

_Owners = dict[str, str]
"""Whose each device and each edge is."""
_Homes = dict[str, dict[str | None, list[Cell]]]
"""The cells of each rule by the site that they go to."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """An engine's state before the first entry of a new log.

    ``online`` gives the epochs of edges that were online, as far as anybody knew: also of those
    that were not heard because of the broker.
    """

    snapshot: bytes
    online: dict[str, str]


def inherit(snapshot: bytes) -> Inheritance:
    """Return a state that another log led to; raise SnapshotError on other bytes.

    What its edges had sent is known to it, so that what comes again is not folded again.
    """
    engine = Engine.load(snapshot, explains=False)
    engine.position = 0
    online = {
        edge.id: edge.epoch
        for edge in engine.edges.values()
        if edge.known and (edge.online or edge.away_by is Cause.BROKER)
    }
    return Inheritance(engine.dump(), online)


def divide(snapshot: bytes, more: Iterable[str] = ()) -> dict[str, bytes]:
    """Return each site's part of a state, as if its collector had never had another site.

    Sites are the topology's, and ``more`` that it does not name. What a rule above the sites holds
    stays with one of them, that of a device that makes it true. Raises SnapshotError on bytes that
    are no state, or one whose topology cannot be several collectors'.
    """
    state = states.read(snapshot)
    try:
        activation = ACTIVATION_BODY.decode(unpack(state.activation))
        topology = topologies.load(activation.topology)
        check_parts(topology)
    except (ContractError, msgspec.MsgspecError) as error:
        raise SnapshotError(f"a snapshot that cannot be divided: {error}") from None
    sites = {node.id for node in topology.nodes if topology.site_of(node.id) == node.id}
    parts = {site: narrowed(topology, site) for site in sorted(sites.union(more))}
    owners = _owners(topology, parts)
    homes = {rule_id: _by_home(cells, owners) for rule_id, cells in state.cells.items()}
    found = {}
    for site, part in parts.items():
        kept = pack_json(Activation(topology=part, rules=activation.rules))
        nodes = {node["id"] for node in part.get("nodes", ())}
        found[site] = states.write(_part(state, site, kept, nodes, owners, homes))
    return found


def _owners(topology: Topology, parts: Mapping[str, Mapping[str, list[dict[str, str]]]]) -> _Owners:
    owners = {edge.id: edge.site for edge in topology.edges}
    for site, part in parts.items():
        owners |= {device["id"]: site for device in part.get("devices", ())}
    return owners


def _by_home(cells: Iterable[Cell], owners: _Owners) -> dict[str | None, list[Cell]]:
    found: dict[str | None, list[Cell]] = {}
    for cell in cells:
        found.setdefault(_home(cell, owners), []).append(cell)
    return found


def _home(cell: Cell, owners: _Owners) -> str | None:
    """Return the site that a cell goes to, having left to it only what is in that site."""
    home = owners.get(cell.subject)
    if cell.holders and all(owners.get(device) != home for device in cell.holders):
        # The device that it was opened by does not hold it any more: others do, elsewhere.
        cell.subject = min(cell.holders)
        home = owners.get(cell.subject)
    cell.holders = {d: since for d, since in cell.holders.items() if owners.get(d) == home}
    return home


def _part(
    state: State, site: str, activation: bytes, nodes: set[str], owners: _Owners, homes: _Homes
) -> State:
    def own(names: Iterable[str]) -> Iterator[str]:
        return (name for name in names if owners.get(name) == site)

    cells = {rule_id: by_home[site] for rule_id, by_home in homes.items() if site in by_home}
    heard = {rule_id: {d: said[d] for d in own(said)} for rule_id, said in state.heard.items()}
    return State(
        version=states.VERSION,
        position=0,
        at=state.at,
        activation=activation,
        problem=state.problem,
        # Nobody knows which of them were of this site.
        counters={},
        unknown={},
        clock=state.clock,
        subjects=[subject for subject in state.subjects if owners.get(subject[0]) == site],
        rhythms={name: state.rhythms[name] for name in own(state.rhythms)},
        edges=[edge for edge in state.edges if edge.site == site],
        cells=cells,
        heard={rule_id: said for rule_id, said in heard.items() if said},
        published=[said for said in state.published if said[0] in nodes],
    )
