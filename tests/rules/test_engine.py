"""Presence, colours, keys, activations, strangers and explanations."""

from __future__ import annotations

from core.contracts.outputs import ColourOutput, TopologyOutput
from rules.engine import Engine
from tests.rules.lifts import rules
from tests.rules.script import Script, at, rule, topology
from tests.rules.test_outages import TRAPPED

DOORS = rule("on: access.door\nwhen: open\nkey: building\ncolour: blue", name="doors")


def reading(script: Script, device: str = "meter1", edge: str = "e1") -> None:
    script.send(device, "meter.reading", edge=edge, medium="electricity", power_w=1.0)


# -- presence ------------------------------------------------------------------------------------


def test_late_after_one_interval_offline_after_three_and_back() -> None:
    script = Script({})
    script.online()
    reading(script)
    assert script.presence("meter1") == ("online", None)
    script.run(71)
    assert script.presence("meter1") == ("online", None)
    script.run(72)
    assert script.presence("meter1") == ("late", "device")
    script.run(180)
    assert script.presence("meter1") == ("offline", "device")
    reading(script)
    assert script.presence("meter1") == ("online", None)
    script.run(240)
    reading(script)
    script.run(300)
    assert script.presence("meter1") == ("online", None)


def test_a_device_that_never_speaks_is_missed_only_where_an_edge_should_read_it() -> None:
    script = Script({})
    script.run(100)
    assert script.presence("meter1") is None
    script.online()
    script.run(300)
    assert script.presence("meter1") == ("offline", "device")
    assert script.presence("plain1") is None


def test_while_its_edge_is_away_a_device_is_not_to_blame() -> None:
    script = Script({})
    script.online()
    reading(script)
    script.run(30)
    script.offline()
    assert script.presence("meter1") == ("offline", "edge")
    script.run(1000)
    script.online(through={"reading": script.seq("reading") + 2})
    assert script.presence("meter1") == ("unknown", None)
    script.run(1200)
    script.batch([("meter1", "meter.reading", 60, {"medium": "electricity"})])
    assert script.presence("meter1") == ("unknown", None)
    script.batch([("meter1", "meter.reading", 900, {"medium": "electricity"})])
    assert script.edge().drained
    script.run(1271)
    assert script.presence("meter1") == ("unknown", None)
    script.run(1273)
    assert script.presence("meter1") == ("late", "device")
    script.snapshot("meter1")
    assert script.presence("meter1") == ("online", None)


def test_health_tells_the_cause() -> None:
    script = Script({})
    script.online()
    script.send("cam1", "device.health", online=True)
    assert script.presence("cam1") == ("online", None)
    script.send("cam1", "device.health", online=False, cause="bus")
    assert script.presence("cam1") == ("offline", "gateway")
    script.snapshot("cam1", ("device.health", 0, {"online": False, "cause": "device"}))
    assert script.presence("cam1") == ("offline", "device")
    script.send("cam1", "camera.motion", active=True)
    assert script.presence("cam1") == ("online", None)


def test_a_gap_between_ticks_is_nobodys_silence() -> None:
    script = Script({})
    script.online()
    reading(script)
    script.run(30)
    script.now += 3600
    script.run(script.now + 35)
    assert script.presence("meter1") == ("online", None)
    script.run(script.now + 10)
    assert script.presence("meter1") == ("late", "device")


# -- colours -------------------------------------------------------------------------------------


def test_green_is_earned_and_coverage_hides_no_alert() -> None:
    script = Script(rules())
    assert script.colour("b2") == ColourOutput("b2", at(0), "grey", "green", 0, 1)
    assert script.colour("empty").colour == "grey"
    script.online("e2")
    reading(script, "meter2", "e2")
    assert script.colour("b2").colour == "green"
    assert script.colour("jinxiu").colour == "grey"
    script.send("meter2", "meter.reading", edge="e2", medium="electricity", relay_closed=False)
    assert (script.colour("b2").colour, script.colour("b2").heard) == ("blue", 1)
    assert (script.colour("street").colour, script.colour("street").alert_colour) == (
        "grey",
        "blue",
    )
    script.offline("e2")
    assert (script.colour("b2").colour, script.colour("b2").alert_colour) == ("grey", "blue")


def test_a_node_takes_the_worst_of_its_subtree_and_gives_it_back() -> None:
    script = Script(rules(), topology(coverage_minimum=0.0))
    script.online()
    script.send("fire1", "fire.alarm", active=True)
    script.send("door1", "access.forced")
    assert [script.colour(n).alert_colour for n in ("b1", "jinxiu", "street")] == ["red"] * 3
    assert script.colour("b1-u1").alert_colour == "green"
    script.send("fire1", "fire.alarm", active=False)
    assert [script.colour(n).alert_colour for n in ("b1", "jinxiu", "street")] == ["orange"] * 3


# -- keys, activations, strangers ----------------------------------------------------------------


def test_a_shared_key_stands_while_any_device_holds_it() -> None:
    script = Script(DOORS)
    script.online()
    script.send("door1", "access.door", open=True)
    script.send("door2", "access.door", open=True)
    script.send("door1", "access.door", open=False)
    (alert,) = script.standing()
    assert (alert.key, alert.node, alert.device) == ("b1", "b1", None)
    script.send("door2", "access.door", open=False)
    assert script.said() == [("raised", "blue"), ("cleared", "blue")]


def test_an_activation_keeps_what_still_has_a_rule_and_clears_the_rest() -> None:
    script = Script(rules())
    script.online()
    script.send("fire1", "fire.alarm", active=True)
    script.send("door1", "access.forced")
    kept = {name: text for name, text in rules().items() if "fire" in name}
    outputs = script.activate(kept)
    assert any(isinstance(o, TopologyOutput) for o in outputs)
    assert [a.rule for a in script.standing()] == ["fire-alarm"]
    assert script.colour("b1").alert_colour == "red"
    without = topology()
    without["devices"] = [d for d in without["devices"] if d["id"] != "fire1"]
    script.activate(kept, without)
    assert not script.standing()
    assert script.colour("b1").alert_colour == "green"


def test_an_activation_that_cannot_be_used_changes_nothing() -> None:
    script = Script(rules())
    script.online()
    script.activate({"bad.yaml": "rules: []"})
    script.activate(rules(), {"datum": "mars"})
    assert script.engine.counters["refused_activations"] == 2
    assert "datum" in script.engine.problem
    script.send("fire1", "fire.alarm", active=True)
    assert script.standing("fire-alarm")


def test_strangers_are_counted_and_never_fire() -> None:
    script = Script(rules())
    script.online()
    script.send("ghost", "access.duress")
    script.send("meter2", "meter.event", medium="gas", event="leak", active=True)
    dropped = {"lane": "event", "first_seq": 1, "last_seq": 2, "events": 3, "reason": "budget"}
    script.send("door1", "edge.dropped", **dropped)
    assert not script.alerts()
    assert not script.losses()
    assert script.engine.unknown == {"ghost": 1}
    assert script.engine.counters == {"unknown_devices": 1, "foreign_devices": 2}


def test_a_plain_event_of_a_device_without_an_edge() -> None:
    script = Script(
        rule("on: sensor.reading\nwhen: value > 3\ncolour: yellow\ntype: sustained\nfor: 5s")
    )
    script.plain("plain1", "sensor.reading", quantity="t", value=4.0, unit="Cel")
    assert script.presence("plain1") == ("online", None)
    script.run(6)
    (alert,) = script.standing()
    assert (alert.began_at, alert.raised_at) == (at(0), at(5))
    assert alert.reason["event"]["pos"] == 2


def test_the_future_is_not_believed_and_disorder_does_not_go_back() -> None:
    script = Script(rules())
    script.online()
    script.run(10)
    script.send("fire1", "fire.alarm", 4000, active=True)
    (alert,) = script.standing("fire-alarm")
    assert alert.began_at == at(10)
    script.send("fire1", "fire.alarm", 3, active=False)
    (alert,) = script.alerts("fire-alarm")
    assert alert.cleared_at == at(10)
    assert script.engine.counters["future_events"] == 1


def test_a_lone_batch_of_an_edge_means_that_it_is_online() -> None:
    script = Script(rules())
    reading(script)
    assert (script.edge().online, script.edge().drained) == (True, True)


# -- explanations --------------------------------------------------------------------------------


def test_why_did_it_not_fire() -> None:
    script = Script(rules())

    def why(rule_id: str, key: str) -> str:
        found = script.engine.explain(rule_id, key)
        assert found["zh"]
        assert found["en"]
        return str(found["why"])

    assert why("nothing", "lift1") == "rule_unknown"
    assert why("trapped", "ghost") == "device_unknown"
    assert why("trapped", "door1") == "other_family"
    assert why("trapped", "lift1") == "edge_away"
    script.online()
    assert why("trapped", "lift1") == "not_heard"
    script.send("lift1", "elevator.status", **TRAPPED)
    script.run(12)
    script.send("lift1", "elevator.status", **TRAPPED)
    found = script.engine.explain("trapped", "lift1")
    assert (found["why"], found["en"]) == ("not_long_enough", "true for 12 s of 30 s")
    assert found["last"]["values"]["occupied"] is True
    script.offline()
    assert why("trapped", "lift1") == "edge_away"
    script.online()
    script.run(80)
    script.send("lift1", "elevator.status", **TRAPPED)
    assert why("trapped", "lift1") == "standing"
    reading(script)
    assert why("meter-overload", "meter1") == "not_true"
    script.send("meter1", "meter.reading", medium="electricity")
    assert script.engine.explain("meter-overload", "meter1")["missing"] == ["power_w"]
    script.send("meter1", "meter.reading", medium="water")
    assert why("meter-overload", "meter1") in ("other_case", "value_missing")
    assert why("device-silent", "door1") == "no_interval"
    assert script.engine.explain("device-silent", "meter1")["left_ms"] == 180_000
    script.send("door1", "access.denied", reason="expired")
    assert why("door-repeated-denials", "door1") == "too_few"


def test_explanations_and_counters_survive_a_restart() -> None:
    script = Script(rules())
    script.online()
    script.send("ghost", "access.duress")
    script.send("lift1", "elevator.status", **TRAPPED)
    script.engine = Engine.load(script.engine.dump())
    assert script.engine.unknown == {"ghost": 1}
    assert script.engine.explain("trapped", "lift1")["why"] == "not_long_enough"
