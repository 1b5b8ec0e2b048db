"""Hundreds of runs, each another mixture of crashes, cuts, duplicates and full disks.

A class is a shard: pytest-xdist gives each to one worker. ``make soak`` runs as many more as
``SOAK_SEEDS`` says (``first:last``).
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.world import simulate

SEEDS = 1_000
_SHARDS = 5
_AT_ONCE = 20
_EACH = SEEDS // _SHARDS


def check(first: int, last: int) -> None:
    """Run the seeds from first to last; say how to run again what broke a law."""
    for seed in range(first, last + 1):
        outcome = simulate(seed)
        assert not outcome.broken, "\n".join(
            [*outcome.broken, f"again with: python -m tests.simulation {seed} --trace"]
        )


class Shard:
    """A fifth of the seeds."""

    number: int

    @pytest.mark.parametrize("part", range(_EACH // _AT_ONCE))
    def test_whatever_goes_wrong_nothing_is_lost_or_doubled(self, part: int) -> None:
        first = 1 + self.number * _EACH + part * _AT_ONCE
        check(first, first + _AT_ONCE - 1)


class TestFirst(Shard):
    number = 0


class TestSecond(Shard):
    number = 1


class TestThird(Shard):
    number = 2


class TestFourth(Shard):
    number = 3


class TestFifth(Shard):
    number = 4


def test_a_seed_is_the_same_run_each_time() -> None:
    once, again = simulate(11, trace=True), simulate(11, trace=True)
    assert once.trace == again.trace
    assert (once.events, once.deaths, once.seconds) == (again.events, again.deaths, again.seconds)


def test_the_runs_are_worth_their_time() -> None:
    """Among some seeds there are deaths, evictions and dead letters, else nothing is tried."""
    outcomes = [simulate(seed) for seed in range(1, 31)]
    assert sum(outcome.deaths for outcome in outcomes) >= 10
    assert sum(outcome.events for outcome in outcomes) >= 500
    assert sum(outcome.declared for outcome in outcomes) >= 10


@pytest.mark.soak
def test_as_many_seeds_as_one_likes() -> None:
    first, _, last = os.environ.get("SOAK_SEEDS", f"{SEEDS + 1}:{SEEDS + 20_000}").partition(":")
    check(int(first), int(last))
