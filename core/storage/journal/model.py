"""The journal's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.contracts.errors import JournalError

#: What an entry costs against the byte budget beyond its body: row, index and page overhead.
ENTRY_OVERHEAD = 64


#: About what the note of one entry that may have arrived takes, when that entry is dropped.
_NOTE_BYTES = 320


def least_budget(window: int) -> int:
    """Return the fewest bytes that a journal which evicts can work with.

    The notes of a whole window, one an entry, must leave as much room again: else they outgrow
    the budget, drop each other, and each time a longer note takes their place.
    """
    return 2 * _NOTE_BYTES * (window + 1)


class OnFull(StrEnum):
    """What a journal does when its byte budget is used up."""

    EVICT = "evict"
    """Drop heads, lowest class first, and leave counted tombstones (the edge's outbox)."""
    REFUSE = "refuse"
    """Refuse to append, so that the senders keep what they have (the collector's log)."""


@dataclass(frozen=True, slots=True)
class Append:
    """An entry to be appended.

    ``seq`` None takes the lane's next number; a given one must be above the lane's last, and
    where ``after`` is given the lane's last must be exactly that.
    ``priority`` is the lane's class, fixed by its first entry: 0 is evicted last.
    ``at`` is the caller's time (ms); ``events`` how many events the body holds.
    """

    lane: str
    body: bytes
    at: int
    events: int = 1
    seq: int | None = None
    after: int | None = None
    priority: int = 0
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """How a lane's last entry may take in more while nobody has seen it.

    ``join`` makes one body of the entry's and the addition's; the joined entry has at most
    ``most_bytes`` and ``most_events``.
    """

    join: Callable[[bytes, bytes], bytes]
    most_bytes: int
    most_events: int


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an entry was committed: its position in the log and its number in the lane."""

    pos: int
    seq: int


#: What comes of a group of entries: where they are, or why they were refused.
Answer = list[Placed] | JournalError


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed entry."""

    pos: int
    lane: str
    seq: int
    at: int
    events: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """A lane's ends: ``oldest`` is last + 1 when it is empty; ``sent`` as last kept."""

    oldest: int
    last: int
    sent: int


@dataclass(frozen=True, slots=True)
class LaneInfo:
    """A lane: ``last`` survives trimming, so that a seq is never used again.

    ``acknowledged`` is the highest seq trimmed by a receipt; ``oldest`` is the lowest seq still
    held, and last + 1 when the lane is empty.
    """

    name: str
    priority: int
    oldest: int
    last: int
    acknowledged: int
    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What an eviction dropped: ``events`` in the entries ``first_seq``..``last_seq``."""

    lane: str
    first_seq: int
    last_seq: int
    events: int
    reason: str
    at: int
