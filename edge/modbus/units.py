"""How the units of one gateway answer, and when it is worth asking a silent one again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

#: Pause after the second silence in a row, in time-outs; it doubles with each further one.
_PAUSE = 2
_LONGEST_S = 60.0
#: While anybody answers, all silent units together get one part in this many of the line's time.
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

    def know(self, unit: int) -> None:
        """Note that somebody wants to hear this unit."""
        self._units.setdefault(unit, _Unit())

    def due(self, unit: int) -> bool:
        """Tell whether a unit may be asked now."""
        return self._monotonic() >= self._units.setdefault(unit, _Unit()).not_before

    def healthy(self, unit: int) -> bool:
        """Tell whether a unit answered when it was asked last."""
        state = self._units.get(unit)
        return state is not None and state.answered and not state.failures

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
        state = self._units.setdefault(unit, _Unit())
        state.failures += 1
        # The first silence may be a disturbed line: only a late answer is waited for.
        pause = cost_s
        if state.failures > 1:
            doublings = min(state.failures - 2, _MOST_DOUBLINGS)
            pause = min(cost_s * _PAUSE * 2**doublings, _LONGEST_S)
            if self.anybody_answers():
                silent = sum(other.failures > 0 for other in self._units.values())
                pause = max(pause, (_SHARE * silent - 1) * cost_s)
            pause *= self._random.uniform(1.0, 1.25)
        state.not_before = self._monotonic() + pause

    def wake(self) -> None:
        """Forget the pauses: the connection is a new one."""
        for state in self._units.values():
            state.not_before = 0.0
