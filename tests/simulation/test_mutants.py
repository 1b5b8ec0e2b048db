"""The simulation catches every mutant of the durability code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.office import Office, batch, reading
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


#: Needs a crash just before the one entry that says something; too rare for chance to find it.
RULES_CURSOR = Mutant(
    "the rules' cursor is advanced early",
    "collector.rules_projection",
    "projection.save_cursor(session, self._cursor, position, None)",
    "projection.save_cursor(session, self._cursor, position + 1, None)",
)


def letters_after_a_crash(folder: Path) -> int:
    """Fold, crash, and fold an entry that has one dead letter; return how many are kept."""
    folder.mkdir()
    office = Office(folder)
    office.fold()
    office.restart()
    office.batch(batch(reading("m1"), b'{"kind":"no.such.kind"}'))
    office.fold()
    found = office.dead()
    office.close()
    return found


def test_a_rules_cursor_that_is_advanced_early_is_caught(tmp_path: Path) -> None:
    assert letters_after_a_crash(tmp_path / "as it is") == 1
    with mutated(RULES_CURSOR):
        assert letters_after_a_crash(tmp_path / "mutated") == 0


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    assert caught_by(mutant) is not None, f"no seed notices that {mutant}"
    assert not simulate(mutant.seed).broken, "the seed holds without the mutant"
