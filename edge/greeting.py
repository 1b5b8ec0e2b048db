"""How an edge makes itself known: a birth, its answer, a better birth, the fresh state.

After each connect the edge says in its birth what waits; a collector answers with a receipt that
names the birth. Until then what happens joins what waits, so when the answer comes and the event
lane has grown, the edge is born again with the exact bounds. Then the fresh state of its devices
is committed, and it is online (ADR 0015).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from core.contracts.batch import EdgeStatus, LaneStatus
from core.contracts.events import Lane
from core.runtime.clock import Clock
from core.storage.journal import Journal

#: The birth is repeated when no answer has come for so long (s).
AGAIN_S = 3.0
#: A birth is made exact so often; then what is late is a matter of some milliseconds.
_MOST_BIRTHS = 4


class Greeting:
    """One connection's greeting; used by the uplink's thread, read from any."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        status: Callable[[dict[str, LaneStatus]], EdgeStatus],
        fresh_state: Callable[[], Future[None]],
    ) -> None:
        """``status`` makes a birth of what waits, ``fresh_state`` commits the devices' state."""
        self._journal = journal
        self._clock = clock
        self._status = status
        self._fresh_state = fresh_state
        self._birth: EdgeStatus | None = None
        self._clocks: set[int] = set()
        self._births = 0
        self._began = 0.0
        self._told: float | None = None
        self._answered = False
        self._fresh: Future[None] | None = None
        self.heard = False
        """Whether a collector has answered: what happens goes into the urgent lane."""

    @property
    def online(self) -> bool:
        """Tell whether the birth was answered and the fresh state is committed."""
        fresh = self._fresh
        return self._answered and fresh is not None and fresh.done() and not fresh.exception()

    @property
    def failed(self) -> bool:
        """Tell whether the fresh state could not be kept: all has to begin again."""
        fresh = self._fresh
        return fresh is not None and fresh.done() and fresh.exception() is not None

    def waited(self, lane: Lane) -> int:
        """Return up to which seq a lane is backlog; the urgent lane is never held up for it."""
        if lane is Lane.URGENT or self._birth is None:
            return 0
        status = self._birth.lanes.get(lane)
        return 0 if status is None else status.last

    def is_open(self, birth: int | None) -> bool:
        """Tell whether a birth of that clock has been told and may still be answered."""
        return birth is not None and birth in self._clocks

    def answer(self, birth: int | None, *, retained: bool) -> None:
        """Take the answer to the birth of that clock; one that names none must not be retained."""
        if self._told is not None and (not retained if birth is None else birth in self._clocks):
            self._answered = True

    def step(self, now: float) -> EdgeStatus | None:
        """Go on at ``now`` (monotonic, s); return a birth that is to be published.

        The fresh state is asked for once the birth was answered and is exact.
        """
        if self._answered:
            self.heard = True
            if self._fresh is not None:
                return None
            late = now - self._began > AGAIN_S and self._births < _MOST_BIRTHS
            if not late and self._is_exact():
                self._fresh = self._fresh_state()
                return None
            self._forget()
        if self._birth is None:
            # What was sealed before it is backlog, and nothing that comes later may join that.
            self._journal.grow(allowed=False)
            self._birth = self._status(waiting(self._journal))
            self._journal.grow(allowed=True)
            self._clocks.clear()
            self._births += 1
            self._began, self._told = now, None
        if self._told is not None and now - self._told < AGAIN_S:
            return None
        birth = msgspec.structs.replace(self._birth, clock=self._clock.now_ms())
        self._clocks.add(birth.clock)
        self._told = now
        return birth

    def settle(self) -> bool:
        """Make ready to hand on: no entry changes from here on. False: a better birth is due."""
        self._journal.grow(allowed=False)
        if self._is_exact():
            return True
        self._journal.grow(allowed=True)
        self._fresh = None
        self._forget()
        return False

    def _forget(self) -> None:
        self._answered, self._birth = False, None

    def _is_exact(self) -> bool:
        """Tell whether the birth named everything that waits in the event lane."""
        if self._births >= _MOST_BIRTHS or self._birth is None:
            return True
        told, held = self._birth.lanes.get(Lane.EVENT), self._journal.bounds().get(Lane.EVENT)
        return (told.last if told else 0) == (held.last if held else 0)


def waiting(journal: Journal) -> dict[str, LaneStatus]:
    """Return what each lane of an outbox holds, as a birth tells it."""
    return {name: LaneStatus(lane.oldest, lane.last) for name, lane in journal.bounds().items()}
