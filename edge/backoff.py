"""Exponential back-off with full jitter, so that a thousand retries do not come at once."""

from __future__ import annotations

from random import Random

_MOST_DOUBLINGS = 16


class Backoff:
    """Pauses in real seconds: uniform between 0 and ``base · 2ⁿ``, never above ``cap``."""

    def __init__(self, random: Random, *, base_s: float = 1.0, cap_s: float = 30.0) -> None:
        self._random = random
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    def next(self) -> float:
        """Count one more failure and return the pause before the next try."""
        ceiling = min(self._cap_s, self._base_s * 2 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        return self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Forget the failures: the other side answered."""
        self.failures = 0
