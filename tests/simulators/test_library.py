"""Each built-in rule has a scenario that fires it and a near miss that must not.

All that fires is played at once on the simulated community, and all near misses in a second
run: through real peers, real drivers, the edges' derivations and the real rule engine. What is
about the system itself has no device that a scenario could disturb; it is written into the log
here, as a collector or an edge writes it (and happens for real in tests/e2e and tests/wire).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rules.builtin import builtin
from rules.language import load
from simulators import scenario
from simulators.scenario import RuleScenario, Scenario
from tests.simulators.rig import EPOCH, Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

#: Run time that the near misses go on after their last step, so that what needs time can come.
AFTER_S = 20
#: Real time within which everything that is to fire has fired.
SOON_S = 70
TRAPPED = {
    "service_mode": "normal", "moving": False, "direction": "none", "in_door_zone": False,
    "floor": 3, "door_closed": True, "occupied": True,
}  # fmt: skip
EDGE = "jinxiu-gate"
TOWER = "yunqi-tower"
Write = Callable[[Rig], None]


def noted(kind: str, **data: object) -> Write:
    return lambda rig: rig.log.control(EDGE, kind, **data)


def told(kind: str, **data: object) -> Write:
    return lambda rig: rig.log.batch(EDGE, kind, EDGE, dict(data), rig.clock.now_ms())


def plain_lift(device: str) -> Write:
    return lambda rig: rig.log.plain("jinxiu", device, "elevator.status", **TRAPPED)


def sensor(device: str) -> Write:
    data = {"quantity": "level", "value": 1.0, "unit": "m"}
    return lambda rig: rig.log.plain("jinxiu", device, "sensor.reading", **data)


def broker_gone(rig: Rig) -> None:
    rig.log.control(TOWER, "edge.offline", epoch=EPOCH, clean=False, cause="broker")


def heard_again(rig: Rig) -> None:
    rig.log.control(TOWER, "edge.online", epoch=EPOCH, backlog=0, through={})


DROPPED = {"lane": "reading", "first_seq": 1, "last_seq": 9, "events": 9, "reason": "budget"}
CHANGED = {"digest": "d", "drivers": 3, "devices": 9}
#: Rule -> about what, what is written at which second for it to fire, and in the near miss.
WRITTEN: dict[str, tuple[str, dict[int, Write], str, dict[int, Write]]] = {
    "edge-offline": (
        # Its devices' timers stand still from then on: it comes last.
        EDGE, {180: noted("edge.offline", epoch=EPOCH, clean=False)},
        TOWER, {},
    ),
    "broker-unreachable": (
        "yunqi", {180: broker_gone}, "yunqi", {174: broker_gone, 180: heard_again},
    ),
    "data-dropped": (EDGE, {3: told("edge.dropped", **DROPPED)}, EDGE, {}),
    "data-lost": (
        EDGE, {4: noted("edge.epoch_abandoned", epoch=EPOCH, successor="epoch-2")}, EDGE, {},
    ),
    "clock-skew": (EDGE, {5: noted("edge.clock", skew_s=9.0)}, EDGE, {}),
    "configuration-refused": (
        EDGE, {6: told("edge.configuration", outcome="refused", error="drivers.0", **CHANGED)},
        EDGE, {6: told("edge.configuration", outcome="applied", **CHANGED)},
    ),
    "lift-entrapment-status": (
        "plain-lift", {at: plain_lift("plain-lift") for at in range(1, 40, 5)},
        "plain-near", {at: plain_lift("plain-near") for at in (1, 6, 11, 16)}
        | {18: lambda rig: rig.log.plain("jinxiu", "plain-near", "elevator.status",
                                         **{**TRAPPED, "occupied": False})},
    ),
    "device-silent": (
        "plain-sensor-1", {1: sensor("plain-sensor-1")},
        "plain-sensor-2", {at: sensor("plain-sensor-2") for at in range(1, 180, 80)},
    ),
}  # fmt: skip
CASES = {name: scenario.load_rule(name) for name in scenario.rule_names()}


def fires() -> tuple[Scenario, dict[str, str]]:
    """Return all that fires, which then stands, and for whom each rule is to fire."""
    steps = [step for case in CASES.values() for step in case.fires.steps]
    lasting = [step.model_copy(update={"lasts": None}) for step in steps]
    about = {name: case.fires.about for name, case in CASES.items()}
    about |= {name: entry[0] for name, entry in WRITTEN.items()}
    return Scenario(name="all rules", steps=lasting), about


def near_misses() -> tuple[Scenario, dict[str, str]]:
    """Return all near misses, and for whom each rule must not fire."""
    steps = [step for case in CASES.values() for step in case.near_miss.steps]
    about = {name: case.near_miss.about for name, case in CASES.items()}
    about |= {name: entry[2] for name, entry in WRITTEN.items()}
    return Scenario(name="near misses", steps=steps), about


async def play(rig: Rig, chosen: Scenario, which: int) -> None:
    """Play a scenario, write what belongs to it into the log, and see that nothing is refused."""

    async def beside(rig: Rig) -> None:
        writes = [item for entry in WRITTEN.values() for item in entry[which].items()]  # type: ignore[union-attr]
        began = rig.clock.now_ms()
        for at, write in sorted(writes, key=lambda item: item[0]):
            await rig.clock.sleep(max(began + at * 1000 - rig.clock.now_ms(), 0) / 1000)
            write(rig)

    player = await rig.play(chosen, beside)
    refused = [step for step in player.steps if step.outcome == "refused"]
    assert not refused, refused


def test_every_built_in_rule_has_a_scenario() -> None:
    known = {rule.id for rule in load(builtin()).rules}
    assert set(CASES) | set(WRITTEN) == known
    assert not set(CASES) & set(WRITTEN)
    for name, case in CASES.items():
        assert case.name == name
        assert isinstance(case, RuleScenario)


def test_each_scenario_fires_its_rule(tmp_path: Path) -> None:
    chosen, about = fires()

    async def main() -> Rig:
        async with Rig(tmp_path, speed=8) as rig:
            await play(rig, chosen, 1)
            await rig.until(
                lambda: all(rig.raised(rule, device) for rule, device in about.items()), SOON_S
            )
        return rig

    rig = asyncio.run(main())
    missing = {rule: device for rule, device in about.items() if not rig.raised(rule, device)}
    assert not missing, {
        rule: (device, [e for e in rig.log.events if e[1] == device][-8:])
        for rule, device in missing.items()
    }
    # One entrapment is one red alert.
    assert len(rig.raised("lift-entrapment", "jinxiu-b6-u1-lift-1")) == 1


def test_no_near_miss_fires_its_rule(tmp_path: Path) -> None:
    chosen, about = near_misses()

    async def main() -> Rig:
        async with Rig(tmp_path, speed=6) as rig:
            await play(rig, chosen, 3)
            await rig.clock.sleep(AFTER_S)
        return rig

    rig = asyncio.run(main())
    fired = {rule: found for rule, device in about.items() if (found := rig.raised(rule, device))}
    assert not fired, {rule: [(a.key, a.reason) for a in found] for rule, found in fired.items()}


def test_who_follows_through_a_door_is_seen_at_the_pace_of_people(tmp_path: Path) -> None:
    """The door's camera, its tracks, and the edge's derivation; at real speed."""
    north, door, camera = "jinxiu-north", "jinxiu-b5-u1-door", "jinxiu-b5-u1-door-camera"

    def walk(granted: int, persons: int) -> Scenario:
        given = {"granted": granted, "persons": persons}
        steps = [{"at": 0, "do": "walk_through", "target": camera, "with": given}]
        return Scenario.model_validate({"name": "walk", "steps": steps})

    async def nothing(_: Rig) -> None: ...

    async def main() -> Rig:
        async with Rig(tmp_path, speed=1, edges=(north,), hour=3) as rig:
            crossed = [0]

            def passed(persons: int) -> bool:
                crossed[0] = sum(kind == "camera.line_crossed" for kind, *_ in rig.log.events)
                return crossed[0] >= persons

            await rig.clock.sleep(4)  # the camera learns its background
            await rig.play(walk(2, 2), nothing)
            await rig.until(lambda: passed(2), 20)
            await rig.clock.sleep(9)  # nobody is late any more, and both credentials are used up
            assert not rig.raised("door-tailgate")
            await rig.play(walk(1, 2), nothing)
            await rig.until(lambda: bool(rig.raised("door-tailgate", door)), 30)
        return rig

    rig = asyncio.run(main())
    (alert,) = rig.raised("door-tailgate")
    assert alert.key == door
    assert [data["persons"] for kind, _, data in rig.log.events if kind == "access.tailgate"] == [2]
