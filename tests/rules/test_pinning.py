"""Another interval is configured for a device: its silence is judged by that one, at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.outputs import PresenceOutput
from rules.builtin import builtin
from rules.engine import Engine
from rules.rhythm import ENOUGH
from tests.rules.script import Script, topology


def with_interval(device: str, expect_s: float | None) -> dict[str, Any]:
    raw = topology()
    for entry in raw["devices"]:
        if entry["id"] == device:
            entry["expect_s"] = expect_s
    return raw


def pin(script: Script, device: str, expect_s: float | None) -> None:
    script.activate(builtin(), with_interval(device, expect_s))


def learned(device: str, every: int) -> Script:
    """A device that was heard every so many seconds until its interval was known."""
    script = Script(builtin())
    script.online()
    for _ in range(ENOUGH + 2):
        script.run(script.now + every)
        script.send(device, "access.granted")
    return script


def last(script: Script, device: str) -> PresenceOutput:
    said = [o for o in script.outputs if isinstance(o, PresenceOutput) and o.device == device]
    return said[-1]


def test_a_longer_interval_than_was_learned_takes_back_that_it_is_offline() -> None:
    script = learned("door1", 5)
    heard = script.now
    script.run(heard + 20)
    assert script.presence("door1") == ("offline", "device")
    before = script.colour("b1").heard
    pin(script, "door1", 30)
    assert script.presence("door1") == ("online", None)
    assert last(script, "door1").learned_ms is None
    assert script.colour("b1").heard == before + 1
    script.run(heard + 37)
    assert script.presence("door1") == ("late", "device")
    script.run(heard + 91)
    assert script.presence("door1") == ("offline", "device")


def test_it_may_still_be_late_by_the_longer_one() -> None:
    script = learned("door1", 5)
    script.run(script.now + 45)
    pin(script, "door1", 30)
    assert script.presence("door1") == ("late", "device")


def test_a_shorter_one_finds_it_late_with_the_next_tick() -> None:
    script = Script(builtin())
    script.online()
    script.snapshot("meter1")
    script.run(30)
    assert script.presence("meter1") == ("online", None)
    pin(script, "meter1", 20)
    script.run(script.now + 1)
    assert script.presence("meter1") == ("late", "device")


def test_a_pinned_interval_hides_the_learned_one_and_gives_it_back() -> None:
    script = learned("door1", 25)
    assert last(script, "door1").learned_ms == 30_000
    pin(script, "door1", 30)
    assert (last(script, "door1").presence, last(script, "door1").learned_ms) == ("online", None)
    pin(script, "door1", None)
    assert last(script, "door1").learned_ms == 30_000


def test_one_that_was_never_heard_is_unknown_again() -> None:
    script = Script(builtin())
    script.online()
    script.run(100)
    assert script.presence("meter1") == ("late", "device")
    pin(script, "meter1", 600)
    assert script.presence("meter1") == ("unknown", None)


def test_what_is_no_silence_stays() -> None:
    script = Script(builtin())
    script.online()
    script.snapshot("meter1")
    script.send("meter1", "device.health", online=False, cause="device")
    pin(script, "meter1", 600)
    assert script.presence("meter1") == ("offline", "device")
    script.offline(cause="broker")
    pin(script, "meter1", 60)
    assert script.presence("meter1") == ("offline", "broker")


def test_the_alert_of_its_silence_is_over_with_it_and_comes_again() -> None:
    script = Script(builtin())
    script.online()
    script.snapshot("meter1")
    script.run(200)
    assert [a.device for a in script.standing("device-silent") if a.device == "meter1"]
    pin(script, "meter1", 100)
    assert not [a for a in script.standing("device-silent") if a.device == "meter1"]
    script.run(299)
    assert not [a for a in script.standing("device-silent") if a.device == "meter1"]
    script.run(301)
    assert [a for a in script.standing("device-silent") if a.device == "meter1"]


INTERVALS = st.sampled_from([None, 5, 20, 60, 300])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), INTERVALS, st.booleans()), min_size=1, max_size=6),
    st.data(),
)
def test_silence_is_judged_as_if_the_interval_had_always_held(
    steps: list[tuple[int, int | None, bool]], data: st.DataObject
) -> None:
    """Whatever intervals came before, and wherever it is restarted."""
    script = Script(builtin(), with_interval("door1", 20))
    script.online()
    script.send("door1", "access.granted")
    heard = script.now
    for seconds, expect_s, speaks in steps:
        script.run(script.now + seconds)
        if speaks:
            script.send("door1", "access.granted")
            heard = script.now
        pin(script, "door1", expect_s)
        script.push_tick()
        silence = script.now - heard
        wanted = (
            "online" if expect_s is None or silence < expect_s * 1.2
            else "late" if silence < expect_s * 3
            else "offline"
        )  # fmt: skip
        assert script.presence("door1") == (wanted, None if wanted == "online" else "device")
    cut = data.draw(st.integers(0, len(script.entries)))
    engine = Engine()
    outputs = [o for entry in script.entries[:cut] for o in engine.apply(entry)]
    engine = Engine.load(engine.dump())
    outputs += [o for entry in script.entries[cut:] for o in engine.apply(entry)]
    assert outputs == script.outputs
    assert engine.dump() == script.engine.dump()


@pytest.mark.parametrize("expect_s", [60, 600])
def test_the_same_interval_again_says_nothing(expect_s: float) -> None:
    script = Script(builtin(), with_interval("meter1", expect_s))
    script.online()
    script.snapshot("meter1")
    script.run(30)
    raw = with_interval("meter1", expect_s)
    said = script.activate(builtin(), raw | {"coverage_minimum": 0.4})
    assert not [o for o in said if isinstance(o, PresenceOutput)]
