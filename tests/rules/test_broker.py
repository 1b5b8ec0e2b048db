"""The collector loses the broker: one alert a site, and nobody else is blamed for it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.outputs import Cause, Presence, PresenceOutput
from rules.builtin import builtin
from rules.engine import Engine
from rules.handover import inherit
from tests.rules.script import EPOCH, SITE, Script, topology

EDGES = ("e1", "e2")
E1, E2 = ("lift1", "door1", "meter1"), ("meter2",)


def heard() -> Script:
    """A site with two edges whose devices are all heard, and the built-in rules."""
    script = Script(builtin(), topology())
    for edge in EDGES:
        script.online(edge)
    speak(script, *EDGES)
    return script


def speak(script: Script, *edges: str) -> None:
    for edge, devices in (("e1", E1), ("e2", E2)):
        if edge in edges:
            for device in devices:
                script.snapshot(device, edge=edge)


def lose_broker(script: Script) -> None:
    for edge in EDGES:
        script.offline(edge, cause="broker")


def presences(script: Script) -> set[tuple[str, str | None] | None]:
    return {script.presence(device) for device in (*E1, *E2)}


def test_all_devices_are_offline_by_the_broker_and_their_nodes_grey() -> None:
    script = heard()
    assert script.colour("b1").colour.value == "green"
    lose_broker(script)
    assert presences(script) == {("offline", "broker")}
    for node in ("b1", "b2", SITE):
        assert script.colour(node).colour.value == "grey"
        assert script.colour(node).heard == 0


def test_it_is_one_alert_a_site_and_names_no_edge() -> None:
    script = heard()
    lose_broker(script)
    script.run(3600)
    (alert,) = [a for a in script.standing() if a.rule != "device-silent"]
    assert (alert.rule, alert.key, alert.node, alert.device) == (
        "broker-unreachable", SITE, SITE, None,
    )  # fmt: skip
    assert SITE in alert.title_en
    silent = {a.device for a in script.standing("device-silent")}
    assert silent <= {"plain1"}, "who has no edge speaks to the broker itself"


def test_the_first_edge_that_is_heard_ends_it_and_devices_are_unknown_until_heard() -> None:
    script = heard()
    lose_broker(script)
    script.run(60)
    assert script.standing("broker-unreachable")
    script.online("e1")
    assert not script.standing("broker-unreachable")
    assert {script.presence(device) for device in E1} == {("unknown", None)}
    assert {script.presence(device) for device in E2} == {("offline", "broker")}
    speak(script, "e1")
    assert {script.presence(device) for device in E1} == {("online", None)}
    script.online("e2")
    speak(script, "e2")
    assert presences(script) == {("online", None)}
    script.run(script.now + 4)
    assert not script.standing()


def test_an_edge_that_does_not_follow_is_offline_by_itself_then() -> None:
    script = heard()
    lose_broker(script)
    script.run(60)
    script.online("e1")
    script.offline("e2")  # what the collector notes when it has waited long enough
    assert {script.presence(device) for device in E2} == {("offline", "edge")}
    script.run(script.now + 16)
    assert [a.key for a in script.standing("edge-offline")] == ["e2"]
    assert not script.standing("broker-unreachable")


def test_the_broker_is_there_though_no_edge_followed() -> None:
    script = heard()
    lose_broker(script)
    script.run(60)
    for edge in EDGES:
        script.offline(edge)
    script.run(script.now + 16)
    assert not script.standing("broker-unreachable")
    assert {a.key for a in script.standing("edge-offline")} == set(EDGES)


def test_a_collector_that_starts_without_a_broker_blames_no_edge() -> None:
    script = heard()
    for edge in EDGES:
        script.offline(edge)
    script.run(10)
    lose_broker(script)
    script.run(60)
    assert presences(script) == {("offline", "broker")}
    assert [a.rule for a in script.standing() if a.rule != "device-silent"] == [
        "broker-unreachable"
    ]


def test_a_device_that_comes_meanwhile_is_offline_by_the_broker_too() -> None:
    script = heard()
    lose_broker(script)
    raw = topology()
    name = {"zh": "表", "en": "meter"}
    raw["devices"] += [
        {"id": "new", "family": "meter", "name": name, "node": "b2", "edge": "e2", "expect_s": 60}
    ]
    script.activate(builtin(), raw)
    assert script.presence("new") == ("offline", "broker")


def test_a_snapshot_of_the_program_before_knows_of_edges_only() -> None:
    """Its edges lack the last field; they were away by themselves."""
    script = heard()
    script.offline("e2")
    state = msgspec.msgpack.decode(script.engine.dump())
    state["edges"] = [edge[:-1] for edge in state["edges"]]
    engine = Engine.load(msgspec.msgpack.encode(state))
    assert engine.edges["e2"].away_by is Cause.EDGE
    assert engine.dump() == script.engine.dump()


def test_who_takes_a_site_over_expects_the_edges_that_the_broker_hid() -> None:
    script = heard()
    script.offline("e2")
    script.offline("e1", cause="broker")
    assert inherit(script.engine.dump()).online == {"e1": EPOCH}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EDGES), st.sampled_from("ebbow")), max_size=25))
def test_whatever_comes_the_cause_is_what_was_noted_last(
    moves: list[tuple[str, str]],
) -> None:
    """By the edge, by the broker, online again, and a word; with a restart after each."""
    script = heard()
    away: dict[str, str | None] = dict.fromkeys(EDGES)
    for edge, move in moves:
        script.now += 1
        if move in "eb":
            away[edge] = "edge" if move == "e" else "broker"
            script.offline(edge, **({"cause": "broker"} if move == "b" else {}))
        elif move == "o":
            away[edge] = None
            script.online(edge)
        elif away[edge] is None:
            speak(script, edge)
        for name, devices in (("e1", E1), ("e2", E2)):
            for device in devices:
                presence, cause = script.presence(device) or ("", None)
                assert cause == away[name]
                assert (presence == "offline") == (away[name] is not None)
        blob = script.engine.dump()
        script.engine = Engine.load(blob)
        assert script.engine.dump() == blob
    for device in (*E1, *E2):
        said = [o for o in script.outputs if isinstance(o, PresenceOutput) and o.device == device]
        for before, after in pairwise(said):
            assert (before.presence, before.cause) != (after.presence, after.cause)
            if before.presence is Presence.OFFLINE:
                assert after.presence in (Presence.OFFLINE, Presence.UNKNOWN)
