"""One dead gateway is one alert: whatever hangs on it is told by that, and only by that."""

from __future__ import annotations

from typing import Any

from rules.builtin import builtin
from rules.engine import Engine
from tests.rules.script import SITE, Script, topology

COUNT = 80
GATEWAY = "10.0.0.9:8001"
METERS = [f"m{number:02}" for number in range(COUNT)]
OWN = """
version: 1
rules:
  - id: no-reading
    title: {zh: 无读数, en: No reading}
    advice: {zh: 看, en: Look}
    on: meter.reading
    type: absent
    families: meter
    within: 2m
    colour: blue
"""


def estate() -> Script:
    """Eighty meters behind one gateway, all of them heard."""
    text = {"zh": "表", "en": "meter"}
    meters = [
        {"id": m, "family": "meter", "name": text, "node": SITE, "edge": "e1", "expect_s": 60}
        for m in METERS
    ]
    script = Script(builtin() | {"own.yaml": OWN}, topology(devices=meters))
    script.online()
    read(script)
    for meter in METERS:
        script.send(meter, "device.health", online=True)
    return script


def read(script: Script, meters: list[str] = METERS) -> None:
    events = [(m, "meter.reading", script.now, {"medium": "electricity"}) for m in meters]
    script.batch(events)


def gateway(script: Script, *, online: bool) -> None:
    data: dict[str, Any] = {"gateway": GATEWAY, "online": online, "devices": COUNT}
    script.send("e1", "edge.gateway", **data, **({} if online else {"cause": "network"}))


def health(script: Script, meters: list[str], *, root: bool) -> None:
    data: dict[str, Any] = {"online": False, "cause": "network"}
    data |= {"root": GATEWAY} if root else {}
    script.batch([(meter, "device.health", script.now, data) for meter in meters])


def test_a_dead_gateway_is_one_alert_and_not_eighty() -> None:
    script = estate()
    script.run(30)
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.run(script.now + 3600)
    (alert,) = script.standing()
    assert (alert.rule, alert.key, alert.colour.value) == (
        "gateway-unreachable", f"e1/{GATEWAY}", "orange",
    )  # fmt: skip
    assert GATEWAY in alert.title_en
    assert {script.presence(meter) for meter in METERS} == {("offline", "gateway")}


def test_when_it_is_back_nothing_is_left_and_silence_counts_anew() -> None:
    script = estate()
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.run(600)
    gateway(script, online=True)
    script.batch([(m, "device.health", script.now, {"online": True}) for m in METERS])
    assert script.standing() == []
    script.run(script.now + 119)
    assert script.standing() == [], "the ten minutes without the gateway are not their silence"
    script.run(script.now + 2)
    assert {alert.rule for alert in script.standing()} == {"no-reading"}
    assert len(script.standing()) == COUNT
    read(script)
    assert script.standing() == []


def test_one_that_stays_away_when_the_gateway_is_back_is_told_by_itself() -> None:
    script = estate()
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.run(300)
    gateway(script, online=True)
    health(script, METERS[:1], root=False)
    script.batch([(m, "device.health", script.now, {"online": True}) for m in METERS[1:]])
    for _ in range(3):
        read(script, METERS[1:])
        script.run(script.now + 30)
    (alert,) = script.standing()
    assert (alert.rule, alert.device) == ("device-unreachable", METERS[0])


def test_devices_that_were_told_first_are_told_by_their_gateway_then() -> None:
    script = estate()
    health(script, METERS[:2], root=False)
    for _ in range(4):
        script.run(script.now + 30)
        read(script, METERS[2:])
    assert {a.rule for a in script.standing()} == {"device-unreachable"}
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.run(script.now + 61)
    assert [a.rule for a in script.standing()] == ["gateway-unreachable"]


def test_silence_that_stands_is_over_when_the_edge_says_why() -> None:
    script = estate()
    script.run(200)
    assert len(script.standing("device-silent")) == COUNT
    gateway(script, online=False)
    health(script, METERS, root=True)
    assert script.standing("device-silent") == []
    assert script.engine.explain("device-silent", METERS[0])["why"] == "unreachable"


def test_a_fresh_state_says_it_again_after_a_restart() -> None:
    script = estate()
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.run(120)
    script.offline()
    script.run(script.now + 5)
    script.online()
    down = {"gateway": GATEWAY, "online": False, "devices": COUNT, "cause": "network"}
    script.snapshot("e1", ("edge.gateway", 0.0, down))
    gone = ("device.health", 0.0, {"online": False, "cause": "network", "root": GATEWAY})
    for meter in METERS:
        script.snapshot(meter, gone)
    script.run(script.now + 600)
    assert [a.rule for a in script.standing()] == ["gateway-unreachable"]
    script.snapshot("e1")
    assert script.standing() == [], "a gateway that is not listed any more is none of the edge's"


def test_devices_of_which_the_edge_says_nothing_any_more_are_silent() -> None:
    script = estate()
    health(script, METERS, root=True)
    script.run(60)
    script.offline()
    script.online()
    script.run(script.now + 200)
    assert len(script.standing("device-silent")) == COUNT


def test_what_is_known_to_be_out_of_reach_is_still_known_after_a_restart_of_the_engine() -> None:
    script = estate()
    gateway(script, online=False)
    health(script, METERS, root=True)
    script.engine = Engine.load(script.engine.dump())
    script.run(3600)
    assert [a.rule for a in script.standing()] == ["gateway-unreachable"]
