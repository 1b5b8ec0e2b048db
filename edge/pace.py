"""How fast a backlog may go: so fast that it ends soon, so slow that now is heard in time."""

from __future__ import annotations

#: Events a second of a backlog. A collector takes several times as much of one edge, but what
#: it takes beyond what its rules fold makes everything wait, also what is urgent.
DRAIN_RATE = 7_500.0
#: How much of a second's allowance may be saved up.
_SAVED_S = 0.1


class Pace:
    """A token bucket over monotonic time (s); what is taken may overdraw it once."""

    def __init__(self, rate: float = DRAIN_RATE) -> None:
        """``rate`` is in events a second, and above 0."""
        self._rate = rate
        self._tokens = rate * _SAVED_S
        self._at: float | None = None

    def may(self, now: float) -> bool:
        """Tell whether something may go at ``now``."""
        if self._at is not None:
            gained = max(now - self._at, 0.0) * self._rate
            self._tokens = min(self._tokens + gained, self._rate * _SAVED_S)
        self._at = now
        return self._tokens > 0

    def take(self, events: int) -> None:
        """Note that so many events went."""
        self._tokens -= events
