"""A topology file and what was adopted beside it, as one topology. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopted:
    """One adopted device or edge; ``body`` is its entry as it would stand in the file."""

    id: str
    is_edge: bool
    body: Json


@dataclass(frozen=True, slots=True)
class Merged:
    """The whole topology; whom the file names itself by now; and who has no place, and why."""

    topology: Json
    superseded: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def merge(file: Json, adopted: Sequence[Adopted]) -> Merged:
    """Add what was adopted to a checked topology; the file wins, whatever it says.

    Without anything to add the topology is the file's, unchanged.
    """
    nodes: dict[str, Json] = {node["id"]: node for node in file["nodes"]}
    edges: list[Json] = list(file.get("edges", ()))
    devices: list[Json] = list(file.get("devices", ()))
    names = {edge["id"] for edge in edges}
    taken = nodes.keys() | names | {device["id"] for device in devices}
    merged = Merged(file, [one.id for one in adopted if one.id in taken])
    added = False
    for one in sorted(adopted, key=lambda one: (not one.is_edge, one.id)):  # edges first
        if one.id in taken:
            continue
        if (problem := _problem(one, nodes, names)) is not None:
            merged.problems[one.id] = problem
            continue
        added = True
        if one.is_edge:
            edges.append(one.body)
            names.add(one.id)
        else:
            devices.append(one.body)
    if not added:
        return merged
    whole = {**file, "edges": edges, "devices": devices}
    return Merged(whole, merged.superseded, merged.problems)


def _problem(one: Adopted, nodes: dict[str, Json], edges: set[str]) -> str | None:
    place = one.body["site" if one.is_edge else "node"]
    node = nodes.get(place)
    if node is None:
        return f"the topology has no node {place} any more"
    if one.is_edge:
        return None if node["level"] == "site" else f"{place} is not a site any more"
    edge = one.body.get("edge")
    if edge is not None and edge not in edges:
        return f"the topology has no edge {edge} any more"
    return None
