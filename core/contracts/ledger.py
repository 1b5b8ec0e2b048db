"""The collector's log as an account: what came of each lane of each edge, and what never will.

Pure but for the reading: entries go in, one account a lane comes out. Events are counted as the
edge sealed them, so the notes that declare losses (``edge.dropped``) are events like others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from core.contracts.codec import Event
from core.contracts.events import Lane
from core.contracts.letters import Family, of_lane
from core.contracts.log import (
    CONTROL,
    PLAIN,
    REPLAY,
    UNREADABLE,
    BatchEntry,
    EventEntry,
    LeftOutEntry,
    LogEntry,
    MediaEntry,
    ReplayEntry,
    UnreadableEntry,
    rejects_of,
)

HOUR_MS = 3_600_000
#: Lanes of the accounts that are no edge's: what comes in there has no seq that could be missed.
OTHERS = frozenset({PLAIN, CONTROL, REPLAY, UNREADABLE})


class Stream(NamedTuple):
    """One lane of one epoch of one edge."""

    site: str
    edge: str
    epoch: str
    lane: str


class Line(NamedTuple):
    """What an entry of the log is counted under: the hour (ms) in which it came, and its lane.

    Beside the edges' lanes there are four: ``plain`` for what comes without an edge, ``control``
    for the collector's own notes, ``replay`` for letters put back, ``unreadable`` for messages
    of which not even the sender's numbering could be read.
    """

    hour: int
    stream: Stream


class Received(NamedTuple):
    """What an entry brought; ``seq`` is 0 where nobody numbers."""

    seq: int
    events: int
    rejects: int


def line_of(entry: LogEntry) -> Line | None:
    """Return what an entry is counted under, None where it holds nothing to count."""
    stream = _stream_of(entry)
    return None if stream is None else Line(entry.at - entry.at % HOUR_MS, stream)


def _stream_of(entry: LogEntry) -> Stream | None:
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        return Stream(entry.site, batch.edge, batch.epoch, batch.lane)
    if isinstance(entry, MediaEntry):
        header = entry.header
        return Stream(entry.site, header.edge, header.epoch, Lane.MEDIA)
    if isinstance(entry, EventEntry):
        edge = entry.edge
        return Stream(entry.site, edge or "", "", PLAIN if edge is None else CONTROL)
    if isinstance(entry, ReplayEntry):
        return Stream(entry.contents.site, "", "", REPLAY)
    if isinstance(entry, LeftOutEntry):
        return _stream_of(entry.entry)
    if isinstance(entry, UnreadableEntry):
        origin = of_lane(entry.at, entry.message.topic, entry.seq)
        if origin.family is Family.BATCH:
            return Stream(origin.site, origin.edge, origin.epoch, origin.lane)
        return Stream(origin.site, "", "", PLAIN if origin.family is Family.PLAIN else UNREADABLE)
    return None


def received_of(entry: LogEntry) -> Received:
    """Return what an entry brought."""
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        return Received(batch.seq, len(batch.events) + entry.left_out, len(batch.rejects))
    if isinstance(entry, MediaEntry):
        return Received(entry.header.seq, 1, 0)
    if isinstance(entry, EventEntry):
        return Received(0, 1, 0)
    if isinstance(entry, ReplayEntry):
        return Received(0, len(entry.stored), len(entry.contents.rejects))
    if isinstance(entry, LeftOutEntry):
        return received_of(entry.entry)
    if isinstance(entry, UnreadableEntry):
        is_batch = of_lane(entry.at, entry.message.topic, entry.seq).family is Family.BATCH
        return Received(entry.seq if is_batch else 0, 0, 1)
    return Received(0, 0, 0)


@dataclass(slots=True)
class Account:
    """One lane: the batches that came, the seqs that were passed over, and what waits.

    ``first`` is the first seq that the log still holds; what is before it was trimmed and is
    vouched for by nothing here. ``dropped`` are the events of the passed seqs as the edge counted
    them, ``uncounted`` the passed seqs that no note counts. ``disorder`` counts batches that came
    twice or in the wrong order, ``torn`` those that came although a note across several says that
    they were dropped.
    """

    first: int = 0
    last: int = 0
    batches: int = 0
    events: int = 0
    rejects: int = 0
    passed: set[int] = field(default_factory=set)
    dropped: int = 0
    uncounted: set[int] = field(default_factory=set)
    disorder: int = 0
    torn: int = 0
    beyond: int = 0
    """Seqs behind the last that came which a note counts."""
    waiting_batches: int = 0
    waiting_events: int = 0
    not_held: int = 0
    """Seqs that the edge used and neither the log nor its outbox has."""

    @property
    def undeclared(self) -> int:
        """Return how many seqs were passed over that no note counts."""
        return len(self.uncounted)

    @property
    def exact(self) -> bool:
        """Tell whether every seq is there once, or waits, or was declared."""
        gap = self.last + 1 - self.first - self.batches - len(self.passed) if self.batches else 0
        return not (gap or self.undeclared or self.disorder or self.torn or self.not_held)


class _Note(NamedTuple):
    stream: Stream
    first: int
    last: int


@dataclass
class Ledger:
    """The accounts of a log's entries within a period.

    ``kinds`` counts the events whose own time lies in the period, by kind: what the series store
    must hold. ``rejects`` are what must be dead letters. ``abandoned`` counts epochs that ended
    with a disk: possible losses of unknown number.
    """

    start: int
    end: int
    accounts: dict[Stream, Account] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    rejects: int = 0
    abandoned: int = 0
    counted: list[tuple[Stream, int, int]] = field(default_factory=list)
    """Once closed: whose each loss that counts is, when it was declared (ms), and its events."""
    _notes: dict[_Note, tuple[int, int]] = field(default_factory=dict)

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Take entries of the log, in its order."""
        for entry in entries:
            events = list(events_of(entry))
            self.kinds.update(e.kind for e in events if self.start <= e.at < self.end)
            self._batch(entry)
            for event in events:
                self._note(entry, event)
            if self.start <= entry.at < self.end:
                self.rejects += len(rejects_of(entry))

    def _batch(self, entry: LogEntry) -> None:
        stream = _stream_of(entry)
        if stream is not None and stream.lane not in OTHERS:
            self._take(stream, *received_of(entry))

    def account(self, stream: Stream) -> Account:
        """Return a lane's account, a new one where there is none."""
        return self.accounts.setdefault(stream, Account())

    def _take(self, stream: Stream, seq: int, events: int, rejects: int) -> None:
        account = self.account(stream)
        if account.batches and seq <= account.last:
            account.disorder += 1
        account.first = account.first or min([seq, *account.passed])
        account.last = max(account.last, seq)
        account.batches += 1
        account.events += events
        account.rejects += rejects

    def _note(self, entry: LogEntry, event: Event) -> None:
        data = event.data
        if isinstance(entry, BatchEntry) and event.kind == "edge.dropped":
            stream = Stream(entry.site, entry.batch.edge, entry.batch.epoch, data.lane)
            self.declare(stream, data.first_seq, data.last_seq, data.events, entry.at)
        elif isinstance(entry, EventEntry) and entry.edge is not None:
            if event.kind == "edge.hole":
                stream = Stream(entry.site, entry.edge, data.epoch, data.lane)
                self.account(stream).passed.update(range(data.first_seq, data.last_seq + 1))
            elif event.kind == "edge.epoch_abandoned":
                self.abandoned += 1

    def declare(self, stream: Stream, first: int, last: int, events: int, at: int = 0) -> None:
        """Take a note, logged at ``at``, that ``first``..``last`` with so many events are lost."""
        self._notes[_Note(stream, first, last)] = (events, at)

    def streams(self) -> set[Stream]:
        """Return every lane of which something was declared, or came."""
        return {note.stream for note in self._notes} | self.accounts.keys()

    def close(self) -> None:
        """Settle the passed seqs against the notes that count them.

        What may have arrived before it was dropped has a note of its own: when it did arrive,
        nothing was lost by that.
        """
        counted: dict[Stream, set[int]] = {}
        # A note that was dropped itself may be carried again as a part of a longer one.
        longest_first = sorted(self._notes.items(), key=lambda item: item[0].first - item[0].last)
        for (stream, first, last), (events, at) in longest_first:
            account = self.account(stream)
            seqs = range(first, last + 1)
            # Behind the last that came no hole is known: nothing has come to show it.
            beyond = {seq for seq in seqs if seq > account.last}
            missing = account.passed.intersection(seqs) | beyond
            if not missing:
                continue  # it came after all
            if len(missing) < len(seqs):
                account.torn += len(seqs) - len(missing)
            fresh = missing - counted.setdefault(stream, set())
            counted[stream] |= missing
            account.beyond += len(beyond & fresh)
            if fresh:
                account.dropped += events
                self.counted.append((stream, at, events))
        for stream, account in self.accounts.items():
            account.uncounted = account.passed - counted.get(stream, set())


def events_of(entry: LogEntry) -> Iterator[Event]:
    """Yield the events that the series store is to take of an entry."""
    if isinstance(entry, BatchEntry):
        yield from (event for _, event in entry.batch.events)
    elif isinstance(entry, EventEntry):
        yield entry.event
    elif isinstance(entry, ReplayEntry):
        yield from (event for _, event in entry.stored)
