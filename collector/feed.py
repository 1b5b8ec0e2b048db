"""Reading the log for the projectors: each entry is decoded once where that is possible."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from core.contracts.around import read_around
from core.contracts.left_out import Before, LeftOut
from core.contracts.log import (
    BatchEntry,
    LogEntry,
    MediaEntry,
    UnreadableEntry,
    decode_entry,
)
from core.storage.journal import Entry, FollowedLog, LogReader

#: Decoded events that are kept for the projectors that come a moment later.
_KEPT = 60_000
_LINGER_S = 0.005
#: Entries that are read at once where they are small; where they are not, their bytes count.
_READ_ENTRIES = 64
#: Bytes that are read at once for who stores them: each time costs a store something.
FOR_STORES = 1 << 20
#: The same for who only looks at them: what is decoded of so much stays in a core's own cache.
FOR_RULES = 1 << 18


class DecodedEntries:
    """A bounded memory of decoded entries by position, shared by the feeds."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, LogEntry] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, pos: int) -> LogEntry | None:
        """Return the entry at a position, if it is still remembered."""
        return self._entries.get(pos)

    def put(self, pos: int, entry: LogEntry) -> None:
        """Remember an entry, forgetting the oldest."""
        with self._lock:
            if pos in self._entries:
                return
            self._entries[pos] = entry
            self._weight += _weight(entry)
            while self._weight > _KEPT:
                _, oldest = self._entries.popitem(last=False)
                self._weight -= _weight(oldest)


def _weight(entry: LogEntry) -> int:
    """Return about how many events' memory an entry takes."""
    if isinstance(entry, BatchEntry):
        return 1 + entry.batch.size
    if isinstance(entry, MediaEntry):
        return 1 + len(entry.jpeg) // 512
    if isinstance(entry, UnreadableEntry):
        return 1 + len(entry.message.raw) // 512
    return 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """The wanted entries of a piece of the log, and the position after which to go on.

    ``is_last`` tells that nothing waited behind it when it was decoded.
    """

    entries: list[LogEntry]
    position: int
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class _Piece:
    """What the log holds behind a position, read and decoded."""

    after: int
    raws: Sequence[Entry]
    chunk: Chunk


class Feed:
    """One projector's view of the log; used by one thread.

    ``families`` are the families of lanes that it wants (None: all); what else the log holds is
    passed over unread. ``decoded`` is shared by feeds that want the same entries. About
    ``most_bytes`` are read at once, ``times`` as much for a store that gains by it. ``ahead`` is
    for a store that is waited for: the next piece is read meanwhile, in a thread that has the
    reader to itself then.
    """

    def __init__(
        self,
        log: FollowedLog,
        families: frozenset[str] | None = None,
        decoded: DecodedEntries | None = None,
        *,
        most_bytes: int = FOR_STORES,
        times: int = 1,
        ahead: bool = False,
    ) -> None:
        self._times = times
        self._most_bytes = most_bytes * times
        self._reads_ahead = ahead
        self._pool: ThreadPoolExecutor | None = None
        self._coming: Future[_Piece | None] | None = None
        self._piece: _Piece | None = None
        self._log = log
        self._families = families
        self._decoded = decoded
        self._reader: LogReader | None = None
        self.left_out: Mapping[int, Sequence[LeftOut]] = {}
        """What crashed this projection, by position: it is read around."""

    def open(self) -> None:
        """Open the reader."""
        self._reader = self._log.reader()
        if self._reads_ahead:
            self._pool = ThreadPoolExecutor(1, "read-ahead")

    def close(self) -> None:
        """Close the reader."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = self._coming = self._piece = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def end(self) -> int:
        """Return the position of the log's last entry."""
        return self._log.position

    def read(self, after: int, timeout: float, *, limit: int | None = None) -> Sequence[Entry]:
        """Return the entries after a position, waiting up to ``timeout`` s for the first."""
        self._piece = self._arrived()
        if self._piece is not None and limit is None and self._piece.after == after:
            return self._piece.raws
        self._piece = None
        return self._read(after, timeout, limit or _READ_ENTRIES * self._times)

    def _read(self, after: int, timeout: float, limit: int) -> Sequence[Entry]:
        if self._reader is None or not self._log.wait(after, timeout):
            return []
        if self._log.position - after < limit:
            # A moment's patience: entries that come one by one are folded and stored together.
            self._log.wait(after + limit - 1, _LINGER_S * self._times)
        return self._reader.read(after, limit=limit, max_bytes=self._most_bytes)

    def read_ahead(self, after: int) -> None:
        """Begin to read and decode what is behind a position, if that is done ahead.

        It is for good times only, in which nothing is noted before it is touched (ADR 0028).
        """
        if self._pool is not None and self._coming is None and self.end > after:
            self._coming = self._pool.submit(self._ahead, after)

    def _ahead(self, after: int) -> _Piece | None:
        raws = self._read(after, 0.0, _READ_ENTRIES * self._times)
        return _Piece(after, raws, self._chunk(raws, None)) if raws else None

    def _arrived(self) -> _Piece | None:
        """Return what was read ahead, when it is there.

        What failed is read again in its turn, and fails there, where its place is known.
        """
        coming, self._coming = self._coming, None
        if coming is None or coming.exception() is not None:
            return None
        return coming.result()

    def entry(self, pos: int) -> Entry | None:
        """Return the first entry at or behind a position, if there is one."""
        found = [] if self._reader is None else self._reader.read(pos - 1, limit=1)
        return found[0] if found else None

    def decode(self, raws: Sequence[Entry], before: Before | None = None) -> Chunk:
        """Return what is wanted of some entries, but for what is left out.

        ``before`` hears of each event of a batch before it is read, and before it is used.
        """
        piece, self._piece = self._piece, None
        if piece is not None and raws is piece.raws and before is None:
            return piece.chunk
        return self._chunk(raws, before)

    def _chunk(self, raws: Sequence[Entry], before: Before | None) -> Chunk:
        families = self._families
        wanted = [raw for raw in raws if families is None or raw.lane.partition("/")[0] in families]
        entries = [self._decode(raw, before) for raw in wanted]
        return Chunk(entries, raws[-1].pos, is_last=self.end <= raws[-1].pos)

    def _decode(self, raw: Entry, before: Before | None) -> LogEntry:
        left_out = self.left_out.get(raw.pos, ())
        if left_out or before is not None:
            return read_around(raw.lane, raw.pos, raw.seq, raw.at, raw.body, left_out, before)
        entry = None if self._decoded is None else self._decoded.get(raw.pos)
        if entry is None:
            entry = decode_entry(raw.lane, raw.pos, raw.seq, raw.at, raw.body)
            if self._decoded is not None:
                self._decoded.put(raw.pos, entry)
        return entry

    def passed(self, name: str, position: int) -> Future[None]:
        """Tell the log that a projector needs nothing up to a position any more."""
        return self._log.advance(name, position)
