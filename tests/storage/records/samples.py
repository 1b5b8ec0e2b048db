"""Topologies, outputs and a way to see everything that is stored."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.contracts.alerts import RuleSide, alert_id
from core.contracts.colours import Colour
from core.contracts.outputs import (
    AlertOutput,
    Cause,
    ColourOutput,
    EdgeOutput,
    LossOutput,
    Output,
    Presence,
    PresenceOutput,
    StepKind,
    TopologyOutput,
)
from core.contracts.topology import Topology, load
from core.storage.records.base import Base
from core.storage.records.sql import table

NOW = 1_790_000_000_000


def _name(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


def topology(*, without: frozenset[str] = frozenset(), minimum: float = 0.5) -> Topology:
    """A street with one estate of two buildings, two edges and four devices."""
    nodes: list[dict[str, Any]] = [
        {"id": "street", "level": "street", "name": _name("街道", "Street")},
        {"id": "comm", "level": "community", "parent": "street", "name": _name("社区", "Comm")},
        {
            "id": "jinxiu",
            "level": "site",
            "parent": "comm",
            "site_kind": "residential_estate",
            "name": _name("金绣家园", "Jinxiu Garden"),
            "geometry": {"outline": [[121, 31], [121.1, 31], [121, 31.1]], "height_m": 3},
        },
        {"id": "b1", "level": "building", "parent": "jinxiu", "name": _name("1号楼", "B1")},
        {"id": "b2", "level": "building", "parent": "jinxiu", "name": _name("2号楼", "B2")},
        {
            "id": "b1f1",
            "level": "floor",
            "parent": "b1",
            "number": -1,
            "occupants": 12,
            "name": _name("负一层", "Basement"),
        },
    ]
    devices = [
        {"id": "lift-1", "family": "elevator", "node": "b1", "edge": "edge-1", "expect_s": 5},
        {"id": "door-1", "family": "door", "node": "b1f1", "edge": "edge-1"},
        {"id": "lift-2", "family": "elevator", "node": "b2", "edge": "edge-2"},
        {"id": "meter-1", "family": "meter", "node": "jinxiu", "limits": {"power_w": 9000.0}},
    ]
    edges = [
        {"id": "edge-1", "site": "jinxiu", "name": _name("一号网关", "Gateway 1")},
        {"id": "edge-2", "site": "jinxiu", "name": _name("二号网关", "Gateway 2")},
    ]
    return load(
        {
            "datum": "wgs84",
            "coverage_minimum": minimum,
            "nodes": [n for n in nodes if n["id"] not in without],
            "edges": [e for e in edges if e["id"] not in without],
            "devices": [
                d | {"name": _name(f"设备{d['id']}", f"Device {d['id']}")}
                for d in devices
                if not without & {d["id"], d["node"], d.get("edge")}
            ],
            "groups": [{"id": "towers", "name": _name("楼群", "Towers"), "members": ["b1"]}],
        }
    )


FULL = topology()
SMALLER = topology(without=frozenset({"b2", "edge-2"}))
NODES = [node.id for node in FULL.nodes]
DEVICES = [device.id for device in FULL.devices]
EDGES = [edge.id for edge in FULL.edges]


def rule_side(key: str = "lift-1", revision: int = 1, **changes: Any) -> RuleSide:
    """An alert's rule side."""
    fields: dict[str, Any] = {
        "id": alert_id("lift.entrapment", key, "opening"),
        "rule": "lift.entrapment",
        "key": key,
        "site": "jinxiu",
        "node": "b1",
        "device": "lift-1",
        "colour": Colour.RED,
        "began_at": NOW - 60_000,
        "raised_at": NOW - 30_000,
        "noticed_at": NOW - 29_000,
        "revision": revision,
        "attention": 1,
        "title_en": "Somebody is trapped",
        "title_zh": "有人被困",
        "advice_en": "Call the rescuers",
        "advice_zh": "通知救援",
        "reason": {"condition": "occupied and stopped", "values": {"floor": 7}},
    }
    return RuleSide(**(fields | changes))


def raised(key: str = "lift-1", revision: int = 1, **changes: Any) -> AlertOutput:
    """An alert that was raised."""
    return AlertOutput(rule_side(key, revision, **changes), StepKind.RAISED, NOW - 30_000)


def everything(session: Session) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every table but the live sequence and the counters."""
    found: dict[str, list[dict[str, Any]]] = {}
    for mapper in Base.registry.mappers:
        target = table(mapper.class_)
        if target.name not in {"change", "counter"}:
            rows = session.execute(select(target).order_by(*target.primary_key.columns))
            found[target.name] = [dict(row) for row in rows.mappings()]
    return found


def wipe(session: Session) -> None:
    """Empty every table."""
    for target in reversed(Base.metadata.sorted_tables):
        session.execute(target.delete())


_times = st.integers(NOW, NOW + 5)
_texts = st.text(max_size=6) | st.just("nul \x00 here")
_json = st.dictionaries(
    _texts, st.none() | st.integers() | st.floats() | _texts | st.lists(_texts, max_size=2),
    max_size=3,
)  # fmt: skip


@st.composite
def _alerts(draw: st.DrawFn) -> AlertOutput:
    revision = draw(st.integers(1, 4))
    alert = rule_side(
        draw(st.sampled_from(["a", "b"])),
        revision,
        node=draw(st.sampled_from([*NODES, "unknown"])),
        colour=draw(st.sampled_from([Colour.BLUE, Colour.RED])),
        attention=draw(st.integers(1, revision)),
        cleared_at=draw(st.none() | _times),
        late=draw(st.booleans()),
        title_zh=draw(_texts),
        reason=draw(_json),
    )
    return AlertOutput(alert, draw(st.sampled_from(StepKind)), draw(_times), draw(_json))


def outputs(*, stable: bool = False) -> st.SearchStrategy[list[Output]]:
    """Lists of outputs; ``stable``: no topologies, and only ids that are in FULL."""
    extra = [] if stable else ["unknown"]
    count = st.integers(0, 3)
    kinds: list[st.SearchStrategy[Output]] = [
        _alerts(),
        st.builds(
            ColourOutput, st.sampled_from(NODES + extra), _times, st.sampled_from(Colour),
            st.sampled_from(Colour), count, count,
        ),
        st.builds(
            PresenceOutput, st.sampled_from(DEVICES + extra), _times, st.sampled_from(Presence),
            st.none() | _times, st.none() | st.sampled_from(Cause),
        ),
        st.builds(
            EdgeOutput, st.sampled_from(EDGES + extra), st.just("jinxiu"), _times, st.booleans(),
            st.booleans(), st.sampled_from(["epoch-01", "epoch-02"]), st.none() | count,
        ),
        st.builds(
            LossOutput, count, count, _times, st.just("jinxiu"), st.sampled_from(EDGES),
            st.just("epoch-01"), st.just("event"), count, count, st.none() | count, _texts,
        ),
    ]  # fmt: skip
    if not stable:
        kinds.append(st.builds(TopologyOutput, _times, st.sampled_from([FULL, SMALLER])))
    return st.lists(st.one_of(kinds), max_size=14)
