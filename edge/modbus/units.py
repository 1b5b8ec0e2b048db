"""How the units of one gateway answer, and when it is worth asking a silent one again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

#: Pause after the second silence in a row, in time-outs; it doubles with each further one.
_PAUSE = 4
_LONGEST_S = 60.0
#: While anybody answers, silent units get at most one part in this many of the line's time.
_SHARE = 3
_MOST_DOUBLINGS = 8


@dataclass(slots=True)
class _Unit:
    failures: int = 0
    answered: bool = False
    not_before: float = 0.0


class Units:
    """Keeps a dead unit from costing the others more than a bounded share of the line."""

    def __init__(self, monotonic: Callable[[], float], random: Random) -> None:
        self._monotonic = monotonic
        self._random = random
        self._units: dict[int, _Unit] = {}
        self._next_probe = 0.0

    def know(self, unit: int) -> None:
        """Note that somebody wants to hear this unit."""
        self._units.setdefault(unit, _Unit())

    def due(self, unit: int) -> bool:
        """Tell whether a unit may be asked now."""
        state, now = self._units.setdefault(unit, _Unit()), self._monotonic()
        if now < state.not_before:
            return False
        return not state.failures or now >= self._next_probe or not self.others_answer(unit)

    def healthy(self, unit: int) -> bool:
        """Tell whether a unit answered when it was asked last."""
        state = self._units.get(unit)
        return state is not None and state.answered and not state.failures

    def others_answer(self, unit: int) -> bool:
        """Tell whether any other unit answered when it was asked last."""
        return any(other != unit and self.healthy(other) for other in self._units)

    def anybody_answers(self) -> bool:
        """Tell whether any unit answered when it was asked last."""
        return any(self.healthy(unit) for unit in self._units)

    def alone(self) -> bool:
        """Tell whether this is the only unit that anybody asks for."""
        return len(self._units) <= 1

    def answered(self, unit: int) -> None:
        """Note an answer, of whatever kind."""
        state = self._units.setdefault(unit, _Unit())
        state.failures, state.answered, state.not_before = 0, True, 0.0

    def silent(self, unit: int, cost_s: float) -> None:
        """Note that a unit did not answer, and how long that held the line."""
        state, now = self._units.setdefault(unit, _Unit()), self._monotonic()
        state.failures += 1
        self._next_probe = now + (_SHARE - 1) * cost_s
        # The first silence may be a disturbed line: only a late answer is waited for.
        pause = cost_s
        if state.failures > 1:
            doublings = min(state.failures - 2, _MOST_DOUBLINGS)
            pause = min(cost_s * _PAUSE * 2**doublings, _LONGEST_S)
            pause *= self._random.uniform(0.75, 1.0)
        state.not_before = now + pause

    def wake(self) -> None:
        """Forget the pauses: the connection is a new one."""
        for state in self._units.values():
            state.not_before = 0.0
        self._next_probe = 0.0
