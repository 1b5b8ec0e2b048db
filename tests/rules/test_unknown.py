"""Whom no topology names: told once for each event, and bounded."""

from __future__ import annotations

import pytest

from core.contracts.batch import Batch
from core.contracts.codec import make_event
from core.contracts.events import Lane
from core.contracts.log import Activation, ActivationEntry, BatchEntry
from core.contracts.outputs import UnknownOutput
from rules import engine as engines
from rules.engine import Engine
from tests.rules.script import SITE, T0, topology


def said(pos: int, edge: str, device: str, seq: int = 1) -> BatchEntry:
    event = make_event(
        "meter.reading", device=device, at=T0, seen=T0, data={"medium": "electricity"}
    )
    batch = Batch(edge, "epoch-0001", Lane.READING, seq, 1, T0, [(0, event)], [])
    return BatchEntry(pos, T0 + pos, SITE, batch)


def told(engine: Engine, entry: BatchEntry) -> list[tuple[str, str | None, bool]]:
    outputs = engine.apply(entry)
    return [(o.id, o.edge, o.edge_known) for o in outputs if isinstance(o, UnknownOutput)]


def test_each_event_of_an_unknown_device_is_told_and_none_of_a_known_one() -> None:
    engine = Engine()
    engine.apply(ActivationEntry(1, T0, Activation(topology(), {})))
    assert told(engine, said(2, "e1", "ghost")) == [("ghost", "e1", True)]
    assert told(engine, said(3, "e1", "meter1", 2)) == []
    assert told(engine, said(4, "stranger", "ghost")) == [("ghost", "stranger", False)]
    assert engine.unknown == {"ghost": 2}


def test_who_speaks_for_a_device_of_another_edge_is_told() -> None:
    engine = Engine()
    engine.apply(ActivationEntry(1, T0, Activation(topology(), {})))
    assert told(engine, said(2, "e1", "meter2")) == [("meter2", "e1", True)]
    assert told(engine, said(3, "stranger", "meter1")) == [("meter1", "stranger", False)]
    assert engine.counters == {"foreign_devices": 2}
    assert engine.subjects["meter1"].heard_at is None


def test_unknown_edges_are_followed_up_to_a_bound_and_told_beyond_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "MOST_UNKNOWN_EDGES", 2)
    engine = Engine()
    engine.apply(ActivationEntry(1, T0, Activation(topology(), {})))
    for pos, edge in enumerate(("u1", "u2", "u3", "u4", "u3"), 2):
        assert told(engine, said(pos, edge, f"d-{edge}", pos)) == [(f"d-{edge}", edge, False)]
    assert set(engine.edges) == {"e1", "e2", "u1", "u2"}
    assert engine.counters["edges_beyond_bound"] == 3
    assert told(engine, said(9, "e2", "meter2", 9)) == []
    assert Engine.load(engine.dump()).dump() == engine.dump()


def test_an_adopted_device_makes_room_among_the_names() -> None:
    engine = Engine()
    engine.apply(ActivationEntry(1, T0, Activation(topology(), {})))
    told(engine, said(2, "e1", "ghost"))
    raw = topology()
    raw["devices"].append({**raw["devices"][0], "id": "ghost", "family": "meter"})
    engine.apply(ActivationEntry(3, T0, Activation(raw, {})))
    assert engine.unknown == {}
    assert told(engine, said(4, "e1", "ghost", 2)) == []
