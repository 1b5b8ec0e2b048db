"""What the edge's own journal holds beyond what was remembered: it is heard once more."""

from __future__ import annotations

from core.contracts.batch import decode_batch, envelope
from core.contracts.codec import Event
from core.contracts.errors import ContractError
from core.contracts.events import Lane
from core.storage.journal import Journal

#: By lane: the last seq, and how many events its entry held (it may have grown since).
Marks = dict[str, tuple[int, int]]
#: More is not folded again at a start: the drivers tell anew what stands.
_MOST = 100_000
_LANES = tuple(lane for lane in Lane if lane is not Lane.MEDIA)


def marks(journal: Journal) -> Marks:
    """Return how far each lane has come; blocks."""
    reader = journal.reader()
    try:
        found: Marks = {}
        for lane, bounds in journal.bounds().items():
            last = reader.read_lane(lane, bounds.last - 1, limit=1)
            found[lane] = (bounds.last, last[0].events if last else 0)
        return found
    finally:
        reader.close()


def since(journal: Journal, known: Marks) -> list[Event]:
    """Return what was journalled after the marks and is still there, in order; blocks."""
    reader = journal.reader()
    events: list[Event] = []
    try:
        for lane in _LANES:
            seq, held = known.get(lane, (0, 0))
            after = max(seq - 1, 0)
            while len(events) < _MOST and (entries := reader.read_lane(lane, after)):
                for entry in entries:
                    after = entry.seq
                    found = _events(lane, entry.body)
                    events += found[held:] if entry.seq == seq else found
    finally:
        reader.close()
    return sorted(events, key=lambda event: event.seen)


def _events(lane: Lane, body: bytes) -> list[Event]:
    try:
        batch = decode_batch(envelope("edge", "local-rules", lane, 1, 1, body))
    except ContractError:
        return []
    return [event for _, event in batch.events]
