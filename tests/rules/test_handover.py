"""What a collector takes over from another: its rules go on in a log that begins anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.contracts.log import Activation, ActivationEntry, BatchEntry, EventEntry, LogEntry
from core.contracts.outputs import (
    AlertOutput,
    ColourOutput,
    EdgeOutput,
    Output,
    PresenceOutput,
    TopologyOutput,
)
from core.contracts.topology import Topology, load, narrowed
from rules.builtin import builtin
from rules.engine import Engine
from rules.handover import divide, inherit
from rules.snapshot import SnapshotError
from tests.rules.script import EPOCH, SITE, Script, at, raised, rule, topology


def taken_over(script: Script) -> Script:
    """Return a script whose log begins anew, with the state that the other led to."""
    after = Script(dict(builtin()))
    after.engine = Engine.load(inherit(script.engine.dump()).snapshot)
    after.entries, after.outputs = [], []
    after.now = script.now + 5
    after._seqs = dict(script._seqs)
    after.activate(dict(builtin()))
    return after


def test_an_alert_goes_on_and_is_the_same() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("fire1", "fire.alarm", active=True)
    (alert,) = script.standing("fire-alarm")
    script.run(3)

    after = taken_over(script)
    assert inherit(script.engine.dump()).online == {"e1": EPOCH}
    after.offline()
    after.online()
    seq = script.seq("event")
    again = after.batch([("fire1", "fire.alarm", 0, {"active": True})], seq=seq)
    assert not raised(again), "it was folded by the other"
    after.send("fire1", "fire.alarm", active=False)
    (cleared,) = after.alerts("fire-alarm")
    assert cleared.id == alert.id
    assert cleared.cleared_at is not None
    assert cleared.revision > alert.revision


def test_what_the_other_had_not_folded_is_told_now() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("door1", "device.health", online=True)
    after = taken_over(script)
    after.offline()
    after.online(through={"event": 1})
    after.send("fire1", "fire.alarm", active=True)
    assert after.standing("fire-alarm")


def test_a_position_of_another_log_names_another_alert() -> None:
    """Positions begin anew with each log; who falls silent today is not who did last year."""

    def opened(later: float) -> str:
        script = Script(rule("on: sensor.reading\nwhen: value > 3\ncolour: yellow"))
        script.now = later
        script.plain("plain1", "sensor.reading", quantity="t", value=4.0, unit="Cel")
        (alert,) = script.standing()
        return alert.id

    assert opened(0) != opened(60)
    assert opened(60) == opened(60)


def test_bytes_that_are_no_state_are_refused() -> None:
    with pytest.raises(SnapshotError):
        inherit(b"nothing")


#: Two sites of one community: the second has the edge e2 and what it reads.
OTHER = "yunqi"
HOMES = {"e1": SITE, "e2": OTHER}


class Pair(Script):
    """A log of one collector for two sites."""

    def __init__(self, rules: dict[str, str]) -> None:
        raw = topology()
        name = raw["nodes"][0]["name"]
        site = {"level": "site", "site_kind": "residential_estate", "name": name}
        raw["nodes"].append({"id": OTHER, "parent": "grid", **site})
        raw["edges"][1]["site"] = OTHER
        for device in raw["devices"]:
            if device["edge"] == "e2":
                device["node"] = OTHER
        raw["devices"] += [
            {"id": "door9", "family": "door", "name": name, "node": OTHER, "edge": "e2"},
            {"id": "s1", "family": "sensor", "name": name, "node": SITE, "edge": "e1"},
            {"id": "s2", "family": "sensor", "name": name, "node": OTHER, "edge": "e2"},
        ]
        self.raw = raw
        super().__init__(rules, raw)

    def push(self, entry: LogEntry) -> list[Output]:
        if isinstance(entry, BatchEntry):
            entry = replace(entry, site=HOMES[entry.batch.edge])
        elif isinstance(entry, EventEntry) and entry.edge is not None:
            entry = replace(entry, site=HOMES[entry.edge])
        return super().push(entry)

    def live(self) -> None:
        """Have something of everything: alerts that stand, others about to, silence, an outage."""
        for edge in ("e1", "e2"):
            self.online(edge)
        self.send("fire1", "fire.alarm", active=True)
        self.send("door9", "access.forced", edge="e2")
        self.send("meter2", "meter.reading", edge="e2", medium="electricity", power_w=20.0)
        self.send("door1", "device.health", online=True)
        self.plain("plain1", "sensor.reading", quantity="t", value=4.0, unit="Cel")
        self.run(30)
        self.offline("e2")
        self.run(40)


def site_of(out: Output, tree: Topology) -> str | None:
    """Return what site an output is about, None for what is above the sites."""
    if isinstance(out, AlertOutput):
        return out.alert.site
    if isinstance(out, ColourOutput):
        return tree.site_of(out.node)
    if isinstance(out, PresenceOutput):
        device = tree.device_by_id.get(out.device)
        return HOMES[out.device] if device is None else tree.site_of(device.node)
    return out.site if isinstance(out, EdgeOutput) else None


def said_of(site: str, outputs: list[Output], tree: Topology) -> list[str]:
    return sorted(repr(out) for out in outputs if site_of(out, tree) == site)


def test_each_site_goes_on_as_if_it_had_always_been_alone() -> None:
    script = Pair(dict(builtin()))
    script.live()
    standing = {alert.id for alert in script.standing()}
    found = divide(script.engine.dump())
    parts = {site: Engine.load(state) for site, state in found.items()}
    assert sorted(parts) == [SITE, OTHER]
    assert (sorted(parts[SITE].edges), sorted(parts[OTHER].edges)) == (["e1"], ["e2"])
    assert {inherit(state).online.get("e1") for state in found.values()} == {EPOCH, None}
    since, script.outputs = len(script.entries), []
    script.online("e2", through={"state": 1})
    script.send("fire1", "fire.alarm", active=False)
    script.send("door9", "access.door", edge="e2", open=False)
    script.run(900)
    script.send("meter2", "meter.reading", edge="e2", medium="electricity", power_w=20.0)
    script.run(1000)
    tree = load(script.raw)
    for site, engine in parts.items():
        assert engine.position == 0
        entries = [e for e in script.entries[since:] if getattr(e, "site", site) == site]
        said = [out for entry in entries for out in engine.apply(entry)]
        assert said_of(site, said, tree) == said_of(site, script.outputs, tree)
        cleared = {o.alert.id for o in said if isinstance(o, AlertOutput) and o.alert.cleared_at}
        assert cleared & standing, "what stood clears by itself"


def test_a_part_starts_with_the_topology_of_its_site() -> None:
    """The same as its collector activates, which then changes nothing."""
    script = Pair(dict(builtin()))
    script.live()
    for site, state in divide(script.engine.dump()).items():
        engine = Engine.load(state)
        activation = Activation(narrowed(load(script.raw), site), dict(builtin()))
        before = engine.activation
        outputs = engine.apply(ActivationEntry(1, at(script.now), activation))
        assert [type(out) for out in outputs] == [TopologyOutput]
        assert engine.activation == before


def test_what_devices_of_several_sites_hold_stays_with_one_that_holds_it() -> None:
    """A rule above the sites: its alert goes on where it is still true, and clears there."""
    script = Pair(rule("on: sensor.reading\nkey: community\nwhen: value > 3\ncolour: yellow"))
    script.online("e1")
    script.online("e2")
    hot, cold = {"quantity": "t", "value": 4.0}, {"quantity": "t", "value": 1.0}
    script.send("s1", "sensor.reading", unit="Cel", **hot)
    script.send("s2", "sensor.reading", edge="e2", unit="Cel", **hot)
    script.send("s1", "sensor.reading", unit="Cel", **cold)
    (alert,) = script.standing()
    parts = divide(script.engine.dump())
    script.outputs, script.engine = [], Engine.load(parts[OTHER])
    script.entries = []
    script.send("s2", "sensor.reading", edge="e2", unit="Cel", **cold)
    (cleared,) = script.alerts()
    assert (cleared.id, cleared.cleared_at is None) == (alert.id, False)
    assert not any(Engine.load(parts[SITE]).plan.rules["r"].cells)


def test_a_site_that_no_topology_names_gets_a_part_too() -> None:
    script = Pair(dict(builtin()))
    assert sorted(divide(script.engine.dump(), more=["nowhere"])) == [SITE, "nowhere", OTHER]


def test_a_state_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(SnapshotError):
        divide(Engine().dump())
