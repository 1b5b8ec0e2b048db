"""One site in the hands of one of several collectors, from a term on (ADR 0026)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from collector.streams import StreamKey
from core.contracts.events import Lane
from core.contracts.log import BatchEntry, EventEntry, LogEntry, MediaEntry
from core.contracts.outputs import LossOutput, Output
from core.storage.records import refusals
from core.storage.records.tenures import Lanes

#: Of each edge so many epochs are known: those before were given up long ago.
_EPOCHS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Tenure:
    """A site since a term: ``lanes`` is what the collectors before have stored of its edges.

    ``online`` gives the epochs of the edges that were online when they last knew.
    """

    site: str
    term: int
    lanes: Lanes
    online: dict[str, str]

    def streams(self) -> list[tuple[StreamKey, int]]:
        """Return what is stored of each stream, an edge's newest epoch last."""
        return [
            (StreamKey(self.site, edge, epoch, Lane(lane)), seq)
            for edge, epochs in self.lanes.items()
            for epoch, lanes in epochs
            for lane, seq in lanes.items()
        ]


class Kept:
    """What of a site's lanes is stored, as the records keep it for the next collector."""

    def __init__(self, lanes: Lanes) -> None:
        self._edges: dict[str, dict[str, dict[str, int]]] = {
            edge: {epoch: dict(seqs) for epoch, seqs in epochs} for edge, epochs in lanes.items()
        }

    def add(self, settled: dict[StreamKey, int]) -> None:
        """Add what is settled; of an edge the epochs spoken in last are kept."""
        for key, seq in settled.items():
            epochs = self._edges.setdefault(key.edge, {})
            lanes = epochs.pop(key.epoch, {})
            lanes[str(key.lane)] = max(seq, lanes.get(str(key.lane), 0))
            epochs[key.epoch] = lanes
            while len(epochs) > _EPOCHS_KEPT:
                del epochs[next(iter(epochs))]

    def lanes(self) -> Lanes:
        """Return it in the records' shape."""
        return {edge: list(epochs.items()) for edge, epochs in self._edges.items()}

    def of(self, edge: str, epoch: str) -> dict[str, int]:
        """Return what is stored of an edge's epoch, by lane."""
        return dict(self._edges.get(edge, {}).get(epoch, {}))


def _place(entry: LogEntry) -> tuple[str, int] | None:
    """Return an entry's place in an edge's numbering: its lane and its seq; None without one."""
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        return f"{entry.site}.{batch.edge}.{batch.epoch}.{batch.lane}", batch.seq
    if isinstance(entry, MediaEntry):
        head = entry.header
        return f"{entry.site}.{head.edge}.{head.epoch}.{Lane.MEDIA}", head.seq
    return None


def steady_letters(
    entry: LogEntry, found: Sequence[refusals.DeadLetter]
) -> list[refusals.DeadLetter]:
    """Name dead letters after the edge's numbering instead of a place in this log.

    So one that the former collector has stored already is not stored again.
    """
    place = _place(entry)
    if place is None:
        return [replace(letter, entry=entry.pos) for letter in found]
    name, seq = place
    return [replace(letter, log=name, pos=seq, entry=entry.pos) for letter in found]


def steady_outputs(entry: LogEntry, outputs: Sequence[Output]) -> list[Output]:
    """Name declared losses likewise; those that a collector notes, after what is lost."""
    place = _place(entry)
    if place is None and not isinstance(entry, EventEntry):
        return list(outputs)

    def steady(out: Output) -> Output:
        if not isinstance(out, LossOutput):
            return out
        what = f"{out.site}.{out.edge}.{out.epoch}.{out.lane}.{out.reason}"
        name, pos = place or (what, out.first_seq)
        return replace(out, log=name, pos=pos)

    return [steady(out) for out in outputs]
