"""The interval of a device of which nobody has said how often it is heard."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.outputs import PresenceOutput
from rules.engine import Engine
from rules.rhythm import ENOUGH, LENGTHS_S, Rhythm
from tests.rules.script import Script

DAY_S = 86_400.0


def learned(script: Script, device: str) -> list[int | None]:
    """Return what was said of a device's interval (ms), repetitions left out."""
    said = [
        o.learned_ms for o in script.outputs if isinstance(o, PresenceOutput) and o.device == device
    ]
    return [now for n, now in enumerate(said) if n == 0 or said[n - 1] != now]


def heard_each(script: Script, device: str, every: float, times: int) -> None:
    for _ in range(times):
        script.run(script.now + every)
        script.send(device, "access.granted")


def test_a_regular_device_is_known_soon_and_missed_then() -> None:
    script = Script({})
    script.online()
    script.send("door1", "access.granted")
    heard_each(script, "door1", 25, ENOUGH - 1)
    script.run(script.now + 25 * 20)
    assert script.presence("door1") == ("online", None)  # not known yet, so not missed
    heard_each(script, "door1", 25, 2)
    assert learned(script, "door1") == [None, 30_000]
    script.run(script.now + 30 * 1.2 + 2)
    assert script.presence("door1") == ("late", "device")
    script.run(script.now + 60)
    assert script.presence("door1") == ("offline", "device")
    script.send("door1", "access.granted")
    assert script.presence("door1") == ("online", None)


def test_a_learned_interval_counts_for_coverage() -> None:
    script = Script({})
    script.online()
    for _ in range(ENOUGH + 2):
        script.run(script.now + 5)
        for device in ("door1", "fire1", "lift1", "lift2", "meter1"):
            kind = "access.granted" if device == "door1" else "device.health"
            data = {} if device == "door1" else {"online": True}
            script.send(device, kind, **data)
        script.send("door2", "access.granted")
    heard = script.colour("b1").heard
    for _ in range(6):  # both doors fall silent
        script.run(script.now + 5)
        for device in ("fire1", "lift1", "lift2", "meter1"):
            script.send(device, "device.health", online=True)
    assert script.colour("b1").heard == heard - 2


def test_what_passes_while_the_edge_is_away_is_nobodys_silence() -> None:
    script = Script({})
    script.online()
    script.send("door1", "access.granted")
    for _ in range(ENOUGH + 1):
        heard_each(script, "door1", 8, 1)
        script.offline()
        script.run(script.now + 300)
        script.online()
        heard_each(script, "door1", 3, 1)
    assert learned(script, "door1")[-1] == 10_000


def test_several_words_at_one_moment_are_one() -> None:
    script = Script({})
    script.online()
    for _ in range(ENOUGH + 1):
        script.run(script.now + 50)
        for _ in range(3):
            script.send("door1", "access.granted")
    assert learned(script, "door1") == [None, 60_000]


def test_a_configured_interval_is_never_learned_over() -> None:
    script = Script({})
    script.online()
    for _ in range(ENOUGH + 5):
        script.run(script.now + 30)
        script.send("meter1", "device.health", online=True)
    assert learned(script, "meter1") == [None]


def test_it_outlives_a_restart() -> None:
    script = Script({})
    script.online()
    script.send("door1", "access.granted")
    heard_each(script, "door1", 25, ENOUGH + 1)
    script.engine = Engine.load(script.engine.dump())
    script.run(script.now + 40)
    assert script.presence("door1") == ("late", "device")


def counted(gaps_s: list[float]) -> Rhythm:
    rhythm, now = Rhythm(0, 0), 0
    for gap in gaps_s:
        now += round(gap * 1000)
        rhythm.heard(round(gap * 1000), now)
    return rhythm


def test_quiet_nights_are_learned_in_three_days_and_one_outage_never() -> None:
    day = [300.0] * 150 + [10.2 * 3600]  # a door with twelve busy hours
    assert counted(day * 2).learned_ms is None
    assert counted(day * 4).learned_ms == 14.4e6 * 4  # 16 h
    assert counted([60.0] * 5000 + [9 * 3600.0] + [60.0] * 5000).learned_ms == 60_000


def test_what_was_is_forgotten_after_two_weeks() -> None:
    slow, fast = [7000.0] * 200, [55.0] * 26_000
    assert counted(slow).learned_ms == 7_200_000
    assert counted(slow + fast).learned_ms == 60_000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.1, 700_000), max_size=80))
def test_the_learned_interval_holds_all_but_one(gaps: list[float]) -> None:
    rhythm = counted(gaps)
    if rhythm.learned_ms is None:
        return  # too few, or too unlike for now
    assert rhythm.learned_ms in {length * 1000 for length in LENGTHS_S}
    recent, total = [], 0.0
    for gap in reversed(gaps):
        total += gap
        if total > 7 * DAY_S:
            break
        recent.append(gap)
    longer = [gap for gap in recent if gap * 1000 > rhythm.learned_ms + 1]
    if len(recent) >= ENOUGH:
        assert len(longer) <= 1


@pytest.mark.parametrize(
    ("gap", "interval"), [(0.001, 1000), (43_000.0, 57_600_000), (80_000.0, None), (1e7, None)]
)
def test_who_speaks_less_than_ten_times_a_week_is_not_expected(
    gap: float, interval: int | None
) -> None:
    assert counted([gap] * 400).learned_ms == interval
