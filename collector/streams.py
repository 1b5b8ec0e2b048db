"""What has been accepted of each lane of each edge, and what to do with the next batch.

Pure: decisions carry their reason, so that each can be counted and tried.
"""

from __future__ import annotations

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
