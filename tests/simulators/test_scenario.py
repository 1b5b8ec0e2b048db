"""Scenario files: what is accepted, how mistakes are named, and what the player plans."""

import asyncio
import re

import pytest

from core.contracts.errors import SettingsError
from simulators import scenario
from simulators.actions import ACTIONS
from simulators.community import generate
from simulators.durations import seconds
from simulators.player import Player
from simulators.simulation import Simulation
from tests.simulators.helpers import FakeClock, at_hour

COMMUNITY = generate(1)
LIFT = "jinxiu-b6-u1-lift-1"


def player(text, *, seed=1, clock=None):
    clock = clock or FakeClock(at_hour(8))
    chosen = scenario.parse(text) if "\n" in text else scenario.load(text)
    simulation = Simulation(COMMUNITY, clock, broker=("127.0.0.1", 1))
    return Player(simulation, chosen, clock, seed=seed)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("30s", 30),
        ("2m30s", 150),
        ("1h", 3600),
        ("500ms", 0.5),
        ("1.5m", 90),
        ("1d", 86400),
    ],
)
def test_durations(value, expected):
    assert seconds(value) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "3 weeks", "1m-2s"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: []\n", "name: Field required"),
        ("name: x\nstep: []\n", "step: unknown key; did you mean steps?"),
        (
            (
                "name: x\nsteps:\n- {at: 1s, do: free, target: x}\n\n\n- at: 1s\n  do: trapp\n"
                "  target: a\n"
            ),
            "scenario:6: steps.1: do: unknown action 'trapp'; did you mean trap?",
        ),
        (
            f"name: x\nsteps:\n- {{at: 1s, do: trap, target: {LIFT}, with: {{alarm_aftr: 3s}}}}\n",
            "scenario:3: steps.0: with.alarm_aftr: unknown argument; did you mean alarm_after?",
        ),
        (
            f"name: x\nsteps:\n- {{at: 1s, do: trap, target: {LIFT}, with: {{code: 400}}}}\n",
            "with.code: Input should be less than or equal to 99",
        ),
        (
            f"name: x\nsteps:\n- {{at: soon, do: trap, target: {LIFT}}}\n",
            "scenario:3: steps.0.at: 'soon' is not a duration",
        ),
        (
            f"name: x\nsteps:\n- {{at: 1s, do: free, target: {LIFT}, for: 3s}}\n",
            "for: free has no opposite",
        ),
        (
            f"name: x\nsteps:\n- {{at: 1s, do: trap, target: {LIFT}, chanse: 1}}\n",
            "steps.0.chanse: unknown key; did you mean chance?",
        ),
        (
            "name: x\nsteps:\n- {at: 1s, do: trap, target: {nod: jinxiu}}\n",
            "steps.0.target.nod: unknown key; did you mean node?",
        ),
        (
            "name: x\nrepeat_every: 1m\nsteps:\n- {at: 50s, do: trap, target: x, jitter: 20s}\n",
            "steps.0.at: is not before repeat_every",
        ),
        (
            f"name: x\nsteps:\n- {{at: 1s, do: trap, target: {LIFT}, rounds: later}}\n",
            "there are no later rounds",
        ),
        ("name: &a x\ndescription: *a\n", "aliases are not allowed"),
        ("name: [\n", "scenario: while parsing"),
        ("- 1\n- 2\n", "expected a mapping"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(SettingsError) as caught:
        scenario.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("jinxiu-b6-u1-lift-9", "did you mean jinxiu-b6-u1-lift-1?"),
        ("jinxiu-gate-camera", "no elevator is called jinxiu-gate-camera"),
        ("{node: jinxiu-b8}", "nothing fits it"),
    ],
)
def test_targets_are_checked_against_the_community(target, message):
    chosen = scenario.parse(f"name: x\nsteps:\n- {{at: 1s, do: trap, target: {target}}}\n")
    with pytest.raises(SettingsError, match=re.escape(message)):
        scenario.check_targets(chosen, COMMUNITY)


def test_unknown_scenarios_get_a_hint(tmp_path):
    with pytest.raises(SettingsError, match="did you mean showcase"):
        scenario.load("showcas")
    with pytest.raises(SettingsError, match="no such file"):
        scenario.load(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", scenario.names())
def test_the_scenarios_that_come_with_the_system_are_sound(name):
    chosen = scenario.load(name)
    assert chosen.name == name
    scenario.check_targets(chosen, COMMUNITY)


def test_every_action_that_can_be_undone_names_one_for_the_same_targets():
    for action in ACTIONS.values():
        if action.undo is not None:
            assert ACTIONS[action.undo].target is action.target


def test_the_showcase_shows_every_colour_within_a_hundred_seconds_and_ends_it():
    plan = player("showcase").plan(0, 0)
    early = {item.action.name for item in plan if item.at < 50_000 and not item.ends}
    assert early >= {
        "trap", "force_door", "block_lane", "hold_door", "cover_camera", "overload_meter",
        "lift_out_of_service",
    }  # fmt: skip
    begun = [(item.target, item.action.undo) for item in plan if item.action.undo]
    ended = [(item.target, item.action.name) for item in plan if item.ends]
    assert sorted(begun) == sorted(ended)
    assert max(item.at for item in plan) < 600_000


def test_plans_repeat_with_their_seed_and_vary_with_the_round():
    def rounds(seed):
        playing = player("showcase", seed=seed)
        return [
            [(item.at, item.action.name, item.target) for item in playing.plan(n * 600_000, n)]
            for n in range(6)
        ]

    once = rounds(1)
    assert once == rounds(1)
    assert once != rounds(2)
    assert len({tuple(plan) for plan in once}) == 6
    assert all(plan for plan in once[1:])


def test_random_targets_are_not_disturbed_twice():
    steps = "".join(
        f"- {{at: {at}s, do: hold_door, target: {{like: gate}}, for: 5m}}\n" for at in range(1, 6)
    )
    plan = player(f"name: x\nsteps:\n{steps}").plan(0, 0)
    targets = [item.target for item in plan if not item.ends]
    assert len(targets) == len(set(targets)) == 4


def test_selectors():
    def chosen(selector):
        text = f"name: x\nsteps:\n- {{at: 1s, do: hold_door, target: {selector}}}\n"
        return player(text).plan(0, 0)[0].target

    assert chosen("{pick: first}") == "jinxiu-gate-main-in"
    assert chosen("{pick: 3}") == "jinxiu-gate-east"
    assert chosen("{node: jinxiu-b5}") == "jinxiu-b5-u1-door"
    assert chosen("{edge: yunqi-tower, pick: 2}") == "yunqi-b1-turnstile-2"


def test_the_player_keeps_the_clock_s_time_and_records_refusals():
    async def run():
        clock = FakeClock(at_hour(8))
        playing = player(
            "name: x\nrepeat_every: 60s\nsteps:\n"
            f"- {{at: 10s, do: trap, target: {LIFT}, for: 20s}}\n"
            f"- {{at: 15s, do: lift_fault, target: {LIFT}, rounds: later}}\n",
            clock=clock,
        )
        # The peers are not started: each step is refused, and the timeline goes on.
        task = asyncio.create_task(playing.run())
        await clock.advance(100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [
            ((step.at - at_hour(8)) // 1000, step.action, step.outcome) for step in playing.steps
        ]

    assert asyncio.run(run()) == [
        (10, "trap", "refused"),
        (30, "free", "refused"),
        (70, "trap", "refused"),
        (75, "lift_fault", "refused"),
        (90, "free", "refused"),
    ]
