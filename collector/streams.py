"""What has been accepted of each lane of each edge, and what to do with the next batch.

Pure: decisions carry their reason, so that each can be counted and tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from core.contracts.events import Lane
from core.contracts.log import batch_lane, media_lane


class StreamKey(NamedTuple):
    """One lane of one epoch of one edge."""

    site: str
    edge: str
    epoch: str
    lane: Lane

    @property
    def journal_lane(self) -> str:
        """Return the lane of the collector's journal that holds it."""
        if self.lane is Lane.MEDIA:
            return media_lane(self.site, self.edge, self.epoch)
        return batch_lane(self.site, self.edge, self.epoch, self.lane)


_LANES = frozenset(Lane)


def parse_lane(name: str) -> StreamKey | None:
    """Return the stream that a journal lane holds, or None for lanes of other kinds."""
    parts = name.split("/")
    if parts[0] == "batch" and len(parts) == 5 and parts[4] in _LANES:
        return StreamKey(parts[1], parts[2], parts[3], Lane(parts[4]))
    if parts[0] == "media" and len(parts) == 4:
        return StreamKey(parts[1], parts[2], parts[3], Lane.MEDIA)
    return None


class Verdict(StrEnum):
    """What is done with a batch."""

    APPEND = "append"
    DUPLICATE = "duplicate"
    GAP = "gap"
    """Something before it is missing that the edge still has: it will go back and send it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the seqs (first, last) of a hole that can no longer be filled."""

    verdict: Verdict
    hole: tuple[int, int] | None = None


@dataclass(slots=True)
class Stream:
    """One lane of one epoch: ``committed`` is the receipt, ``accepted`` may be ahead of it.

    What is at or below ``inherited`` another collector has stored, and this one's log has not.
    """

    committed: int = 0
    accepted: int = 0
    inherited: int = 0

    @property
    def after(self) -> int | None:
        """Return the last seq that the log holds before the next, None where it holds none."""
        return None if self.inherited and self.accepted == self.inherited else self.accepted

    def decide(self, seq: int, oldest: int) -> Decision:
        """Decide on a batch; ``oldest`` is the lowest seq that its lane still holds."""
        if seq <= self.accepted:
            return Decision(Verdict.DUPLICATE)
        if seq == self.accepted + 1:
            return Decision(Verdict.APPEND)
        if oldest >= seq:
            return Decision(Verdict.APPEND, (self.accepted + 1, seq - 1))
        return Decision(Verdict.GAP)

    def accept(self, seq: int) -> None:
        """Note that a batch was handed to the journal."""
        self.accepted = seq

    def commit(self, seq: int) -> None:
        """Note that a batch is durable."""
        self.committed = max(self.committed, seq)
        self.accepted = max(self.accepted, self.committed)

    def fail(self) -> None:
        """Note that the journal refused a batch: what follows it will be refused too."""
        self.accepted = self.committed


#: Epochs that are remembered of one edge: it begins one with a new disk.
MOST_EPOCHS = 16
#: Devices that speak without an edge, each in a lane of its own.
MOST_PLAIN = 50_000
#: Edges that the topology does not name and that are listened to.
MOST_STRANGERS = 10_000


class Streams:
    """Every lane of every epoch of every edge that was heard of, within bounds.

    ``known`` are the ids of edges that are always listened to. ``forget`` removes lanes of the
    journal if they are empty, and tells whether they were: an edge's oldest epoch goes when there
    are too many, but only if the log holds nothing of it any more.
    """

    def __init__(self, known: frozenset[str], forget: Callable[[Iterable[str]], bool]) -> None:
        self._known = known
        self._forget = forget
        self._edges: dict[tuple[str, str], dict[str, dict[Lane, Stream]]] = {}
        self._strangers = 0

    def lanes(self, site: str, edge: str, epoch: str) -> dict[Lane, Stream]:
        """Return the lanes of an epoch by what is known of it; none where it was not heard of."""
        return self._edges.get((site, edge), {}).get(epoch, {})

    def all_epochs(self) -> list[tuple[str, str, str]]:
        """Return (site, edge, epoch) of all that was heard of, an edge's newest epoch last."""
        return [(*edge, epoch) for edge, epochs in self._edges.items() for epoch in epochs]

    def epochs(self, site: str, edge: str) -> list[str]:
        """Return the epochs of an edge, the oldest first."""
        return list(self._edges.get((site, edge), ()))

    def add(self, key: StreamKey) -> dict[Lane, Stream]:
        """Return the lanes of a stream's epoch, remembering it whatever the bounds."""
        return self.know(key.site, key.edge).setdefault(key.epoch, {})

    def know(self, site: str, edge: str) -> dict[str, dict[Lane, Stream]]:
        """Return the epochs of an edge, remembering it whatever the bounds."""
        epochs = self._edges.get((site, edge))
        if epochs is None:
            epochs = self._edges[site, edge] = {}
            self._strangers += edge not in self._known
        return epochs

    def admits(self, site: str, edge: str, epoch: str) -> bool:
        """Tell whether an epoch of an edge is heard of, or there is room for it."""
        epochs = self._edges.get((site, edge))
        if epochs is None:
            return edge in self._known or self._strangers < MOST_STRANGERS
        if epoch in epochs or len(epochs) < MOST_EPOCHS:
            return True
        oldest = next(iter(epochs))
        lanes = [StreamKey(site, edge, oldest, lane).journal_lane for lane in Lane]
        if not self._forget(lanes):
            return False
        del epochs[oldest]
        return True
