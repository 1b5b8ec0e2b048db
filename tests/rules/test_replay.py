"""A restart anywhere in a log (snapshot, then replay) gives the same outputs and ids."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts.outputs import AlertOutput, Output, StepKind
from rules.backtest import alerts, backtest
from rules.engine import Engine
from rules.snapshot import SnapshotError
from tests.rules.lifts import TRAPPED_RULE, rules
from tests.rules.script import EPOCH, Script, topology
from tests.rules.test_outages import FREE, TRAPPED

TEXTS = rules() | {
    "shared.yaml": """
version: 1
rules:
  - id: building-doors
    title: {zh: 楼门, en: "Doors of {node}"}
    advice: {zh: 看, en: Look}
    on: access.door
    type: sustained
    for: 20s
    when: open
    key: building
    colour: blue
    grades: [{colour: yellow, after: 1m}]
  - id: no-status
    title: {zh: 无状态, en: No status}
    advice: {zh: 看, en: Look}
    on: elevator.status
    type: absent
    families: elevator
    within: 20s
    colour: blue
"""
}

moves = st.sampled_from(
    [
        "free1", "trap1", "free2", "trap2", "open1", "shut1", "open2", "shut2", "forced", "held",
        "denied", "over", "well", "high", "fault", "mended", "sick", "cured", "tick", "wait",
        "long", "off", "on", "on", "on_empty", "snap_free", "snap_trap", "late", "plain",
        "dropped", "rules", "stranger", "old", "epoch", "rooted", "gateway", "mended_gateway",
        "snap_edge", "broker", "pin", "unpin", "on_state", "on_both", "urgent_forced",
        "urgent_shut1", "urgent_denied", "urgent_fault", "urgent_mended", "urgent_forced",
        "urgent_denied",
    ]
)  # fmt: skip


class Player:
    """Plays a list of moves as a log, keeping to what a collector would write."""

    def __init__(self) -> None:
        self.script = Script(TEXTS)
        self.through: dict[str, int] = {}
        self.away = False
        self.epochs = 1

    def play(self, move: str) -> None:
        script = self.script
        script.now += 1
        simple: dict[str, tuple[str, str, dict[str, Any]]] = {
            "free1": ("lift1", "elevator.status", FREE),
            "trap1": ("lift1", "elevator.status", TRAPPED),
            "free2": ("lift2", "elevator.status", FREE),
            "trap2": ("lift2", "elevator.status", TRAPPED),
            "open1": ("door1", "access.door", {"open": True}),
            "shut1": ("door1", "access.door", {"open": False}),
            "open2": ("door2", "access.door", {"open": True}),
            "shut2": ("door2", "access.door", {"open": False}),
            "forced": ("door1", "access.forced", {}),
            "held": ("door2", "access.held_open", {}),
            "denied": ("door1", "access.denied", {"reason": "expired"}),
            "over": ("meter1", "meter.reading", {"medium": "electricity", "power_w": 9000.0}),
            "high": ("meter1", "meter.reading", {"medium": "electricity", "power_w": 12000.0}),
            "well": ("meter1", "meter.reading", {"medium": "electricity", "power_w": 100.0}),
            "fault": (
                "lift1",
                "elevator.fault",
                {"fault": "door_open", "active": True, "raw_code": "3"},
            ),
            "mended": (
                "lift1",
                "elevator.fault",
                {"fault": "door_open", "active": False, "raw_code": "3"},
            ),
            "sick": ("cam1", "device.health", {"online": False, "cause": "gateway"}),
            "cured": ("cam1", "device.health", {"online": True}),
            "rooted": ("meter1", "device.health", {"online": False, "root": "g1"}),
            "gateway": ("e1", "edge.gateway", {"gateway": "g1", "online": False, "devices": 9}),
            "mended_gateway": (
                "e1",
                "edge.gateway",
                {"gateway": "g1", "online": True, "devices": 9},
            ),
            "stranger": ("nobody", "access.forced", {}),
        }
        if move.startswith("urgent_"):
            device, kind, data = simple[move.removeprefix("urgent_")]
            script.urgent(device, kind, **data)
        elif move in simple:
            device, kind, data = simple[move]
            t = script.now
            if self.away:
                # Written at the edge now, heard later: it waits in the backlog.
                return
            script.send(device, kind, t, **data)
        elif move in ("tick", "wait", "long"):
            script.run(
                script.now + {"tick": 1, "wait": 25, "long": 200}[move],
                step=5 if move == "long" else 1,
            )
        elif move == "old":
            script.send("lift1", "elevator.status", script.now - 30, **TRAPPED)
        elif move == "plain":
            script.plain("plain1", "sensor.reading", quantity="t", value=1.0, unit="Cel")
        elif move == "dropped":
            data = {
                "lane": "reading",
                "first_seq": 1,
                "last_seq": 2,
                "events": 7,
                "reason": "budget",
            }
            script.send("e1", "edge.dropped", **data)
        elif move == "rules":
            fewer = dict(list(TEXTS.items())[: 3 + len(script.entries) % 4])
            script.activate(fewer, topology(coverage_minimum=0.4))
        elif move in ("pin", "unpin"):
            intervals = {"lift1": 40, "lift2": 2, "cam1": 20, "meter1": None}
            raw = topology()
            for device in raw["devices"] if move == "pin" else ():
                device["expect_s"] = intervals.get(device["id"], device.get("expect_s"))
            script.activate(TEXTS, raw)
        else:
            self._edge(move)

    def _edge(self, move: str) -> None:
        script = self.script
        if move in ("off", "broker"):
            script.offline(**({"cause": "broker"} if move == "broker" else {}))
            self.away = True
        elif move == "epoch":
            self.epochs += 1
            script.online(epoch=f"{EPOCH}-{self.epochs}")
        elif move in ("on", "on_empty"):
            waiting = 0 if move == "on_empty" else 3
            through = {lane: script.seq(lane) + waiting for lane in ("event", "state")}
            script.online(through=through, backlog=waiting)
            self.away = False
        elif move == "on_state":
            script.online(through={"state": script.seq("state") + 2})
            self.away = False
        elif move == "on_both":
            through = {lane: script.seq(lane) + 2 for lane in ("urgent", "event")}
            script.online(through=through)
            self.away = False
        elif move == "late":
            script.batch([("lift1", "elevator.status", script.now - 100, TRAPPED),
                          ("lift2", "elevator.status", script.now - 50, FREE)])  # fmt: skip
            script.batch([("door1", "access.forced", script.now - 90, {}),
                          ("door2", "access.door", script.now - 40, {"open": True})])  # fmt: skip
        else:
            status = TRAPPED if move == "snap_trap" else FREE
            if move == "snap_edge":
                script.snapshot("e1")
                return
            script.snapshot("lift1", ("elevator.status", script.now - 40, status))
            script.snapshot(
                "door2", ("access.door", script.now - 10, {"open": move == "snap_trap"})
            )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(moves, min_size=3, max_size=25), st.data())
def test_a_restart_at_any_entry_changes_nothing(played: list[str], data: st.DataObject) -> None:
    player = Player()
    for move in played:
        player.play(move)
    script = player.script
    cut = data.draw(st.integers(0, len(script.entries)))
    first = Engine()
    outputs: list[Output] = []
    for entry in script.entries[:cut]:
        outputs += first.apply(entry)
    blob = first.dump()
    second = Engine.load(blob)
    assert second.dump() == blob
    for entry in script.entries[cut:]:
        outputs += second.apply(entry)
    assert outputs == script.outputs
    assert second.dump() == script.engine.dump()
    laws(script.outputs)


def laws(outputs: list[Output]) -> None:
    """Check what must hold of any output: revisions count up, ends come after beginnings."""
    revisions: dict[str, int] = {}
    for output in outputs:
        if not isinstance(output, AlertOutput):
            continue
        alert = output.alert
        assert alert.revision == revisions.get(alert.id, 0) + 1
        revisions[alert.id] = alert.revision
        assert alert.attention <= alert.revision
        assert alert.began_at <= alert.raised_at
        assert alert.cleared_at is None or alert.cleared_at >= alert.began_at
        if output.step is StepKind.HISTORY:
            assert alert.late
            assert alert.cleared_at is not None
        elif not alert.late:
            assert (alert.cleared_at is not None) or output.step is not StepKind.CLEARED


def test_a_snapshot_of_something_else_is_refused() -> None:
    script = Script(TEXTS)
    script.online()
    whole = script.engine.dump()
    state = msgspec.msgpack.decode(whole)
    newer = msgspec.msgpack.encode(state | {"version": 99})
    strange = msgspec.msgpack.encode(state | {"cells": {"no-such-rule": []}})
    for blob in (b"", b"nonsense", b"\x81\xa7version\x01", whole[:-9], newer, strange):
        with pytest.raises(SnapshotError):
            Engine.load(blob)


def test_a_backtest_is_the_live_engine_with_other_rules() -> None:
    player = Player()
    for move in ("on_empty", "trap1", "wait", "wait", "forced", "free1"):
        player.play(move)
    entries = player.script.entries
    assert list(backtest(entries, TEXTS)) == player.script.outputs
    few = TRAPPED_RULE
    found = alerts(backtest(entries, few))
    assert {output.alert.rule for output in found.values()} == {"trapped"}
