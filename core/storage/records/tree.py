"""The tree: replacing a topology as a whole, and reading nodes with their colours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from core.contracts.colours import Colour
from core.contracts.topology import Node, Topology
from core.storage.records.errors import NotFoundError
from core.storage.records.models import (
    DeviceRow,
    EdgeRow,
    GroupRow,
    NodeColour,
    NodeRow,
    TopologyMeta,
)
from core.storage.records.sql import chunks, execute_many, table, upsert

#: Gives bytes at once, where a street as text would be 25 MiB beside them.
_TOPOLOGY = TypeAdapter(Topology)


def replace_topology(session: Session, topology: Topology, at: int) -> bool:
    """Store a topology that holds from ``at`` (ms); tell whether it differs from the stored."""
    digest = topology_digest(topology)
    stored = session.scalar(select(TopologyMeta.digest))
    meta = {
        "id": 1,
        "at": at,
        "digest": digest,
        "datum": topology.datum.value,
        "coverage_minimum": topology.coverage_minimum,
    }
    upsert(session, TopologyMeta, [meta])
    if stored == digest:
        return False
    for model in (NodeRow, DeviceRow, EdgeRow, GroupRow):
        session.execute(delete(model))
    execute_many(session, insert(table(NodeRow)), _node_rows(topology))
    for rows in chunks(_device_rows(topology)):  # a street's at once would be 100 MiB
        execute_many(session, insert(table(DeviceRow)), rows)
    execute_many(
        session,
        insert(table(EdgeRow)),
        [
            {"id": e.id, "site": e.site, "name_zh": e.name.zh, "name_en": e.name.en}
            for e in topology.edges
        ],
    )
    execute_many(
        session,
        insert(table(GroupRow)),
        [
            {"id": g.id, "name_zh": g.name.zh, "name_en": g.name.en, "members": list(g.members)}
            for g in topology.groups
        ],
    )
    return True


def topology_digest(topology: Topology) -> str:
    """Return 64 hex digits over everything a topology says."""
    return hashlib.blake2b(_TOPOLOGY.dump_json(topology), digest_size=32).hexdigest()


def _node_rows(topology: Topology) -> list[dict[str, Any]]:
    children: dict[str | None, list[Node]] = {}
    for node in topology.nodes:
        children.setdefault(node.parent, []).append(node)
    rows: list[dict[str, Any]] = []

    def walk(node: Node, above: str, site: str | None) -> None:
        lineage = f"{above}/{node.id}" if above else node.id
        site = node.id if node.level == "site" else site
        row: dict[str, Any] = {
            "id": node.id,
            "level": node.level.value,
            "parent": node.parent,
            "site": site,
            "name_zh": node.name.zh,
            "name_en": node.name.en,
            "site_kind": node.site_kind.value if node.site_kind else None,
            "geometry": node.geometry.model_dump(mode="json") if node.geometry else None,
            "occupants": node.occupants,
            "number": node.number,
            "lineage": lineage,
            "entry": len(rows),
        }
        rows.append(row)
        for child in children.get(node.id, ()):
            walk(child, lineage, site)
        row["last"] = len(rows) - 1

    for root in children.get(None, ()):
        walk(root, "", None)
    return rows


def _device_rows(topology: Topology) -> Iterator[dict[str, Any]]:
    for device in topology.devices:
        yield {
            "id": device.id,
            "family": device.family.value,
            "name_zh": device.name.zh,
            "name_en": device.name.en,
            "node": device.node,
            "site": topology.site_of(device.node),
            "edge": device.edge,
            "expect_s": device.expect_s,
            "position": list(device.position) if device.position else None,
            "model": device.model,
            "limits": dict(device.limits),
        }


def in_nodes(column: InstrumentedAttribute[str], node: str) -> ColumnElement[bool]:
    """Return the condition that ``column`` names ``node`` or a node below it."""
    top, below = aliased(NodeRow), aliased(NodeRow)
    return column.in_(
        select(below.id).join(top, below.entry.between(top.entry, top.last)).where(top.id == node)
    )


def node_exists(session: Session, node: str) -> bool:
    """Tell whether the topology has a node."""
    return session.scalar(select(NodeRow.id).where(NodeRow.id == node)) is not None


def paths_of(session: Session, nodes: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return each known node's path from the street down: ``{id, name: {zh, en}, level}``."""
    wanted = sorted(set(nodes))
    lineages: dict[str, list[str]] = {}
    for ids in chunks(wanted):
        found = session.execute(select(NodeRow.id, NodeRow.lineage).where(NodeRow.id.in_(ids)))
        lineages |= {row.id: row.lineage.split("/") for row in found}
    steps: dict[str, dict[str, Any]] = {}
    for ids in chunks(sorted({step for lineage in lineages.values() for step in lineage})):
        for row in session.execute(
            select(NodeRow.id, NodeRow.name_zh, NodeRow.name_en, NodeRow.level).where(
                NodeRow.id.in_(ids)
            )
        ):
            steps[row.id] = {
                "id": row.id,
                "name": {"zh": row.name_zh, "en": row.name_en},
                "level": row.level,
            }
    return {node: [steps[step] for step in lineage] for node, lineage in lineages.items()}


def topology_meta(session: Session) -> TopologyMeta | None:
    """Return what holds for the whole topology; None before the first."""
    return session.get(TopologyMeta, 1)


def tree_view(session: Session) -> dict[str, Any]:
    """Return the whole tree as the interface shows it, parents before children.

    A node without a colour yet is grey. Without a topology there are no nodes, and ``datum``
    and ``coverage_minimum`` are None.
    """
    meta = topology_meta(session)
    rows = session.execute(
        select(NodeRow, NodeColour)
        .outerjoin(NodeColour, NodeColour.node == NodeRow.id)
        .order_by(NodeRow.entry)
    )
    groups = session.scalars(select(GroupRow).order_by(GroupRow.id))
    return {
        "datum": meta.datum if meta else None,
        "coverage_minimum": meta.coverage_minimum if meta else None,
        "nodes": [node_view(node, colour) for node, colour in rows],
        "groups": [
            {"id": g.id, "name": {"zh": g.name_zh, "en": g.name_en}, "members": g.members}
            for g in groups
        ],
    }


def node_view(node: NodeRow, colour: NodeColour | None) -> dict[str, Any]:
    """Return one node as the interface shows it."""
    return {
        "id": node.id,
        "level": node.level,
        "parent": node.parent,
        "site": node.site,
        "name": {"zh": node.name_zh, "en": node.name_en},
        "site_kind": node.site_kind,
        "geometry": node.geometry,
        "occupants": node.occupants,
        "number": node.number,
        "colour": colour.colour if colour else Colour.GREY.value,
        "alert_colour": colour.alert_colour if colour else Colour.GREEN.value,
        "heard": colour.heard if colour else 0,
        "total": colour.total if colour else 0,
    }


def get_node(session: Session, node: str) -> NodeRow:
    """Return a node; raise :class:`NotFoundError`."""
    row = session.get(NodeRow, node)
    if row is None:
        raise NotFoundError("node", node)
    return row
