"""The media projection: snapshots of the log become files."""

from __future__ import annotations

import structlog

from collector.feed import FOR_STORES, Chunk
from collector.settlement import Settlement
from collector.tally import tally
from collector.tenure import steady_letters
from core.contracts.errors import ContractError
from core.contracts.ledger import line_of
from core.contracts.log import MEDIA, LogEntry, MediaEntry
from core.runtime.clock import Clock
from core.storage.media import MediaStore
from core.storage.records import Records, projection, refusals
from core.storage.records.ledger import Witness

log = structlog.get_logger(__name__)


class MediaProjection:
    """Keeps every snapshot of the log in the media store."""

    name = "media"
    families: frozenset[str] | None = frozenset({MEDIA})
    most_bytes = FOR_STORES

    def __init__(
        self,
        store: MediaStore,
        records: Records,
        clock: Clock,
        log_id: str,
        *,
        settlement: Settlement | None = None,
    ) -> None:
        """``settlement`` is of a log that ends with a tenure.

        What another log has told already is then not told once more.
        """
        self._steady = settlement is not None
        self._store = store
        self._records = records
        self._clock = clock
        self._log_id = log_id
        self._cursor = f"media/{log_id}"
        self._tally = tally(records, Witness.MEDIA, log_id, settlement)
        self._position = 0
        self.stored = 0

    def open(self) -> int:
        """Return the position to go on from."""
        with self._records.reading() as session:
            self._position, _ = projection.cursor(session, self._cursor)
        self._tally.open()
        return self._position

    def apply(self, chunk: Chunk) -> None:
        """Store the chunk's snapshots; one that is refused becomes a dead letter."""
        letters = []
        for entry in chunk.entries:
            if not isinstance(entry, MediaEntry):
                continue
            try:
                self.stored += self._store.put(entry.header.media, entry.jpeg, _meta(entry))
            except ContractError as refused:
                letters.append(self._letter(entry, refused))
            else:
                self._count(entry)
        self._tally.counted(chunk.position)
        if not chunk.entries and not self._tally.due():
            self._position = chunk.position  # kept later: seeing it again is free
            return
        with self._records.session() as session:
            refusals.add_dead_letters(session, letters, self._clock.now_ms())
            projection.save_cursor(session, self._cursor, chunk.position, None)
            self._tally.keep(session)
        self._tally.settle()
        self._tally.buried(letters)
        self._position = chunk.position

    def _count(self, entry: MediaEntry) -> None:
        line = line_of(entry)
        if line is not None and self._tally.wants(entry.pos):
            self._tally.line(line, entry.pos).stored += 1

    def needed_after(self) -> int:
        """Return the position through which all snapshots are files."""
        return self._position

    def rest(self) -> None:
        """Keep how far it has come, and what was counted."""
        with self._records.session() as session:
            projection.save_cursor(session, self._cursor, self._position, None)
            self._tally.keep(session)
        self._tally.settle()

    def close(self) -> None:
        """Nothing to release."""

    def letters(self, entry: LogEntry, _: int, reason: str, /) -> list[refusals.DeadLetter]:
        """Return the letter of a snapshot that is left out."""
        if not isinstance(entry, MediaEntry):
            return []
        return [self._letter(entry, ContractError(reason))]

    def _letter(self, entry: MediaEntry, why: ContractError) -> refusals.DeadLetter:
        letter = _letter(entry, why, self._log_id)
        return steady_letters(entry, [letter])[0] if self._steady else letter

    def done(self) -> dict[str, int]:
        """Return how many snapshots were stored."""
        return {"snapshots": self.stored}


def _meta(entry: MediaEntry) -> dict[str, object]:
    header = entry.header
    return {"site": entry.site, "edge": header.edge, "device": header.device, "at": header.at}


def _letter(entry: MediaEntry, why: ContractError, log_id: str) -> refusals.DeadLetter:
    header = entry.header
    return refusals.DeadLetter(
        pos=entry.pos,
        index=0,
        at=entry.at,
        source=f"media/{entry.site}/{header.edge}/{header.seq}",
        reason=str(why),
        field=why.field or "media",
        raw=entry.jpeg,
        site=entry.site,
        log=log_id,
        line=line_of(entry),
    )
