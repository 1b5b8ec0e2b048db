"""Acceptance scripts for the rule engine: push at a time, expect.

A :class:`Script` writes a collector's log entry by entry, with a clock of its own (seconds
from the start), folds it, and keeps every entry and every output for later questions.
"""

from __future__ import annotations

from typing import Any

from core.contracts.alerts import RuleSide
from core.contracts.batch import Batch
from core.contracts.codec import make_event
from core.contracts.events import KINDS, Lane
from core.contracts.log import (
    Activation,
    ActivationEntry,
    BatchEntry,
    EventEntry,
    LogEntry,
    TickEntry,
)
from core.contracts.outputs import (
    AlertOutput,
    ColourOutput,
    EdgeOutput,
    LossOutput,
    Output,
    PresenceOutput,
    StepKind,
)
from rules.engine import Engine

T0 = 1_767_225_600_000
EPOCH = "0d7e6c9e-epoch-1"
SITE = "jinxiu"


def at(seconds: float) -> int:
    """Return a moment of the script in ms."""
    return T0 + round(seconds * 1000)


def topology(**changes: Any) -> dict[str, Any]:
    """Return a small estate with two edges, and one device that speaks for itself."""

    def text(name: str) -> dict[str, str]:
        return {"zh": f"{name}（中）", "en": name}

    def node(id: str, level: str, parent: str | None, **more: Any) -> dict[str, Any]:
        return {"id": id, "level": level, "parent": parent, "name": text(id), **more}

    def device(
        id: str, family: str, node: str, edge: str | None = "e1", **more: Any
    ) -> dict[str, Any]:
        return {"id": id, "family": family, "name": text(id), "node": node, "edge": edge, **more}

    raw: dict[str, Any] = {
        "datum": "wgs84",
        "coverage_minimum": 0.5,
        "nodes": [
            node("street", "street", None),
            node("community", "community", "street"),
            node("grid", "grid", "community"),
            node(SITE, "site", "grid", site_kind="residential_estate"),
            node("b1", "building", SITE),
            node("b1-u1", "unit", "b1"),
            node("b2", "building", SITE),
            node("empty", "building", SITE),
        ],
        "edges": [
            {"id": "e1", "site": SITE, "name": text("edge one")},
            {"id": "e2", "site": SITE, "name": text("edge two")},
        ],
        "devices": [
            device("lift1", "elevator", "b1-u1", expect_s=5),
            device("lift2", "elevator", "b1-u1", expect_s=5),
            device("door1", "door", "b1"),
            device("door2", "door", "b1"),
            device("meter1", "meter", "b1-u1", expect_s=60, limits={"power_w": 8000}),
            device("cam1", "camera", SITE),
            device("fire1", "fire_panel", "b1"),
            device("meter2", "meter", "b2", "e2", expect_s=60, limits={"power_w": 8000}),
            device("plain1", "sensor", SITE, None, expect_s=10),
        ],
    }
    return raw | changes


class Script:
    """A log under construction and the engine that folds it."""

    def __init__(self, rules: dict[str, str], raw: dict[str, Any] | None = None) -> None:
        self.engine = Engine()
        self.entries: list[LogEntry] = []
        self.outputs: list[Output] = []
        self.now = 0.0
        self._seqs: dict[tuple[str, str, str], int] = {}
        self._epochs = {"e1": EPOCH, "e2": EPOCH}
        self.activate(rules, raw)

    # -- writing the log -------------------------------------------------------------------------

    def push(self, entry: LogEntry) -> list[Output]:
        self.entries.append(entry)
        outputs = self.engine.apply(entry)
        self.outputs.extend(outputs)
        return outputs

    @property
    def _next(self) -> tuple[int, int]:
        return len(self.entries) + 1, at(self.now)

    def activate(self, rules: dict[str, str], raw: dict[str, Any] | None = None) -> list[Output]:
        pos, now = self._next
        return self.push(ActivationEntry(pos, now, Activation(raw or topology(), rules)))

    def run(self, until: float, step: float = 1.0) -> list[Output]:
        """Let time pass with a tick each step."""
        found: list[Output] = []
        while self.now + step <= until + 1e-9:
            self.now = round(self.now + step, 3)
            pos, now = self._next
            found += self.push(TickEntry(pos, now))
        self.now = until
        return found

    def push_tick(self) -> list[Output]:
        """Let a tick come at once."""
        pos, now = self._next
        return self.push(TickEntry(pos, now))

    def online(
        self,
        edge: str = "e1",
        through: dict[str, int] | None = None,
        backlog: int | None = None,
        epoch: str | None = None,
    ) -> list[Output]:
        self._epochs[edge] = epoch or self._epochs[edge]
        through = through or {}
        waiting = sum(through.values()) if backlog is None else backlog
        data = {"epoch": self._epochs[edge], "backlog": waiting, "through": through}
        return self.control("edge.online", data, edge)

    def offline(self, edge: str = "e1", **cause: str) -> list[Output]:
        data = {"epoch": self._epochs[edge], "clean": False, **cause}
        return self.control("edge.offline", data, edge)

    def control(self, kind: str, data: dict[str, Any], edge: str = "e1") -> list[Output]:
        pos, now = self._next
        event = make_event(kind, device=edge, at=now, seen=now, data=data)
        return self.push(EventEntry(pos, now, SITE, edge, pos, event))

    def send(
        self, device: str, kind: str, t: float | None = None, edge: str = "e1", **data: Any
    ) -> list[Output]:
        """Send one event in a batch of its own, as of ``t`` (now unless told otherwise)."""
        return self.batch([(device, kind, self.now if t is None else t, data)], edge)

    def urgent(self, device: str, kind: str, t: float | None = None, **data: Any) -> list[Output]:
        """Send one event in the lane of what happens while the edge is heard."""
        moment = self.now if t is None else t
        return self.batch([(device, kind, moment, data)], lane=Lane.URGENT)

    def batch(self, events: list[tuple[str, str, float, dict[str, Any]]], edge: str = "e1",
              seq: int | None = None, lane: Lane | None = None) -> list[Output]:  # fmt: skip
        lane = lane or KINDS[events[0][1]].lane
        name = (edge, self._epochs[edge], lane.value)
        if seq is None:
            seq = self._seqs.get(name, 0) + 1
        self._seqs[name] = max(seq, self._seqs.get(name, 0))
        made = [
            (i, make_event(kind, device=device, at=at(t), seen=at(t), data=data))
            for i, (device, kind, t, data) in enumerate(events)
        ]
        pos, now = self._next
        batch = Batch(edge, self._epochs[edge], lane, seq, 1, now, made, [])
        return self.push(BatchEntry(pos, now, SITE, batch))

    def plain(self, device: str, kind: str, t: float | None = None, **data: Any) -> list[Output]:
        pos, now = self._next
        moment = now if t is None else at(t)
        event = make_event(kind, device=device, at=moment, seen=moment, data=data)
        return self.push(EventEntry(pos, now, SITE, None, pos, event))

    def snapshot(
        self, device: str, *states: tuple[str, float, dict[str, Any]], edge: str = "e1"
    ) -> list[Output]:
        listed = [{"kind": kind, "since": at(t), "data": data} for kind, t, data in states]
        return self.send(device, "device.snapshot", edge=edge, states=listed)

    def seq(self, lane: str, edge: str = "e1") -> int:
        return self._seqs.get((edge, self._epochs[edge], lane), 0)

    # -- asking ----------------------------------------------------------------------------------

    def steps(self, rule: str | None = None) -> list[AlertOutput]:
        return [
            o for o in self.outputs if isinstance(o, AlertOutput) and rule in (None, o.alert.rule)
        ]

    def said(self, rule: str | None = None) -> list[tuple[str, str]]:
        """Return (step, colour) of everything said about a rule's alerts."""
        return [(o.step.value, o.alert.colour.value) for o in self.steps(rule)]

    def alerts(self, rule: str | None = None) -> list[RuleSide]:
        """Return the last state of each alert."""
        return list({o.alert.id: o.alert for o in self.steps(rule)}.values())

    def standing(self, rule: str | None = None) -> list[RuleSide]:
        return [a for a in self.alerts(rule) if a.cleared_at is None]

    def presence(self, device: str) -> tuple[str, str | None] | None:
        found = [o for o in self.outputs if isinstance(o, PresenceOutput) and o.device == device]
        return (found[-1].presence.value, found[-1].cause) if found else None

    def colour(self, node: str) -> ColourOutput:
        return [o for o in self.outputs if isinstance(o, ColourOutput) and o.node == node][-1]

    def edge(self, edge: str = "e1") -> EdgeOutput:
        return [o for o in self.outputs if isinstance(o, EdgeOutput) and o.edge == edge][-1]

    def losses(self) -> list[LossOutput]:
        return [o for o in self.outputs if isinstance(o, LossOutput)]


def raised(outputs: list[Output]) -> list[RuleSide]:
    """Return the alerts that were raised among some outputs."""
    return [o.alert for o in outputs if isinstance(o, AlertOutput) and o.step is StepKind.RAISED]


def rule(body: str, *, name: str = "r") -> dict[str, str]:
    """Return a rule file of one rule, given what follows its texts."""
    lines = [
        "version: 1",
        "rules:",
        f"  - id: {name}",
        "    title: {zh: 题, en: Title}",
        "    advice: {zh: 做, en: Do}",
        *(f"    {line}" for line in body.strip().splitlines()),
    ]
    return {f"{name}.yaml": "\n".join(lines) + "\n"}
