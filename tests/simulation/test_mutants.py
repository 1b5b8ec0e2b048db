"""The simulation catches every mutant of the durability code."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, mutated
from tests.simulation.world import simulate

#: A mutant that lives through so many seeds is not caught.
MOST_SEEDS = 150


def caught_by(mutant: Mutant) -> int | None:
    """Return the first seed that breaks a law with a mutant in force, its own seed first."""
    with mutated(mutant):
        for seed in (mutant.seed, *range(1, MOST_SEEDS + 1)):
            if simulate(seed).broken:
                return seed
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    assert caught_by(mutant) is not None, f"no seed notices that {mutant}"
    assert not simulate(mutant.seed).broken, "the seed holds without the mutant"
