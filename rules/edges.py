"""Edges as the engine knows them: online or away, and how much of a backlog still comes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from core.contracts.codec import AnyEvent
from core.contracts.events import Lane
from core.contracts.outputs import Cause, EdgeOutput

if TYPE_CHECKING:
    from rules.shadows import Shadow
    from rules.subjects import Subject

_EPOCHS_KEPT = 4
#: Snapshots come last and no rule listens to them: rules do not wait for their backlog.
_NOT_AWAITED = "media"
#: So many late events of the urgent lane are kept back at most.
MOST_KEPT = 5_000


class Late(msgspec.Struct, frozen=True, array_like=True):
    """A backlog's event, when it was (the device's time, ms), and the batch that brought it."""

    event: AnyEvent
    at: int
    epoch: str
    lane: str
    seq: int
    index: int


@dataclass(slots=True)
class EdgeState:
    """One edge.

    ``pending`` holds per lane the last seq of the backlog that is still to come: what is at or
    below it is late. ``seen`` holds per epoch and lane the highest seq so far. ``born_at`` is
    when the edge came back, the end of what its backlog tells of; ``back_q`` the same and
    ``listening_q`` when its backlog had come, in listening time.

    The urgent lane's backlog comes before that of the ``event`` lane, and is the newer of the
    two, or between its parts: ``kept`` holds it back until what was before it has come.
    ``told_to`` is the newest time (the edge's, ms) that its urgent lane told live, ``known_to``
    the same at its birth: what it had seen before that comes after what is known already.
    ``away_by`` is what keeps it from being heard while it is not online.
    """

    id: str
    site: str
    known: bool = False
    online: bool = False
    epoch: str = ""
    born_at: int = 0
    back_q: int = 0
    listening_q: int = 0
    backlog: int = 0
    pending: dict[str, int] = field(default_factory=dict)
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    shadows: dict[tuple[str, str], Shadow] = field(default_factory=dict)
    kept: deque[Late] = field(default_factory=deque)
    told_to: int = 0
    known_to: int = 0
    away_by: Cause = Cause.EDGE
    subjects: list[Subject] = field(default_factory=list)

    @property
    def drained(self) -> bool:
        """Tell whether all of its backlog has come."""
        return not self.pending

    @property
    def listening(self) -> bool:
        """Tell whether silence now means silence: it is online and has no backlog."""
        return self.online and not self.pending

    def birth(self, data: Any, at: int) -> None:
        """Take an ``edge.online``."""
        self.known = self.online = True
        self.epoch = data.epoch
        self.born_at = at
        self.backlog = data.backlog
        self.known_to = self.told_to
        self.pending = self._awaited(data)

    def _awaited(self, data: Any) -> dict[str, int]:
        seen = self.seen.get(data.epoch, {})
        return {
            lane: through
            for lane, through in data.through.items()
            if data.backlog and lane != _NOT_AWAITED and through > seen.get(lane, 0)
        }

    def goes_on(self, data: Any) -> bool:
        """Tell whether what is kept back still waits for something after an ``edge.online``."""
        return data.epoch == self.epoch and Lane.EVENT in self._awaited(data)

    def keeps_back(self, lane: str) -> bool:
        """Tell whether a lane's late events wait for those of another, which are older."""
        return lane == Lane.URGENT and Lane.EVENT in self.pending

    def take(self, epoch: str, lane: str, seq: int) -> bool:
        """Note a batch; return False for one that was there before."""
        seen = self._lanes(epoch)
        if seq <= seen.get(lane, 0):
            return False
        seen[lane] = seq
        return True

    def is_late(self, epoch: str, lane: str, seq: int) -> bool:
        """Tell whether a batch belongs to the backlog."""
        return epoch == self.epoch and seq <= self.pending.get(lane, 0)

    def reached(self, epoch: str, lane: str, seq: int) -> bool:
        """Note that a lane has come to ``seq``; return whether that ends its backlog."""
        if epoch != self.epoch or seq < self.pending.get(lane, 1 << 62):
            return False
        del self.pending[lane]
        return True

    def _lanes(self, epoch: str) -> dict[str, int]:
        if epoch not in self.seen:
            while len(self.seen) >= _EPOCHS_KEPT:
                del self.seen[next(iter(self.seen))]
            self.seen[epoch] = {}
        return self.seen[epoch]

    def output(self, at: int) -> EdgeOutput:
        """Return what there is to say of it now."""
        return EdgeOutput(
            self.id, self.site, at, self.online, self.drained, self.epoch, self.backlog
        )
