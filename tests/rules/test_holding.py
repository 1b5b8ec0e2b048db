"""What an engine holds on to of a topology and of what was said, and what it does not."""

from __future__ import annotations

import gc
import types
import zlib
from typing import Any

import msgspec
import pytest

from core.contracts.log import Activation, ActivationEntry
from core.contracts.topology import DeviceFamily, Level, SiteKind, load
from rules.builtin import builtin
from rules.colours import Colours
from rules.engine import Engine
from rules.snapshot import SnapshotError
from rules.subjects import subjects_of
from tests.rules.script import T0, Script, topology

_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def reached(root: object) -> dict[int, object]:
    """Return everything that an object leads to, by identity; code and types are not followed."""
    found: dict[int, object] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, _CODE):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return found


def street(devices: int) -> dict[str, Any]:
    """Return a topology as it comes out of the log, with so many meters."""
    raw = topology()
    meter = next(device for device in raw["devices"] if device["family"] == "meter")
    raw["devices"] = [
        {
            **meter, "id": f"meter-{number:05d}",
            "name": {"zh": f"电表 {number}", "en": f"Meter {number}"}, "expect_s": 60.5,
            "limits": {"power_w": 8_800.5}, "model": "DDS-102",
        }
        for number in range(devices)
    ]  # fmt: skip
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raw))
    return decoded


def test_nothing_of_a_topology_itself_is_held_on_to() -> None:
    world = load(street(200))
    names = reached([*DeviceFamily, *Level, *SiteKind])
    given = {
        key: value
        for key, value in reached(world).items()
        if isinstance(value, (str, float)) and len(str(value)) > 1  # one character is Python's own
    }
    assert len(given) > 600
    held = reached([subjects_of(world), Colours(world)])
    assert [given[key] for key in (given.keys() - names.keys()) & held.keys()] == []


def test_a_device_of_a_street_takes_less_than_half_a_kibibyte() -> None:
    def held(devices: int) -> int:
        engine = Engine()
        engine.apply(ActivationEntry(1, T0, Activation(street(devices), dict(builtin()))))
        engine.live.outputs = []
        return sum(one.__sizeof__() for one in reached(engine).values())

    assert (held(1_200) - held(200)) / 1_000 < 512


def test_an_engine_that_need_not_explain_says_and_keeps_the_same() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("door1", "access.forced")
    script.send("meter1", "meter.reading", medium="electricity", power_w=90_000.0)
    script.run(600, step=5)
    engine = Engine(explains=False)
    outputs = [output for entry in script.entries for output in engine.apply(entry)]
    assert outputs == script.outputs
    assert engine.dump() == script.engine.dump()
    restarted = Engine.load(engine.dump(), explains=False)
    for one in (engine, restarted):
        with pytest.raises(ValueError, match="not to explain"):
            one.explain("door-forced", "door1")
    assert Engine.load(engine.dump()).explain("nothing", "door1")["why"] == "rule_unknown"


def test_a_snapshot_of_before_activations_were_packed_is_read() -> None:
    script = Script(dict(builtin()))
    script.online()
    script.send("fire1", "fire.alarm", active=True)
    whole = script.engine.dump()
    state = msgspec.msgpack.decode(whole)
    body = zlib.decompress(state["activation"])
    older = msgspec.msgpack.encode(state | {"version": 5, "activation": body})
    assert Engine.load(older).dump() == whole
    damaged = msgspec.msgpack.encode(state | {"activation": body})
    with pytest.raises(SnapshotError):
        Engine.load(damaged)
