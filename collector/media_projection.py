"""The media projection: snapshots of the log become files."""

from __future__ import annotations

from dataclasses import replace

import structlog

from collector.feed import Chunk
from core.contracts.errors import ContractError
from core.contracts.log import MEDIA, MediaEntry
from core.runtime.clock import Clock
from core.storage.media import MediaStore
from core.storage.records import Records, projection, refusals

log = structlog.get_logger(__name__)


class MediaProjection:
    """Keeps every snapshot of the log in the media store."""

    name = "media"
    families: frozenset[str] | None = frozenset({MEDIA})

    def __init__(
        self,
        store: MediaStore,
        records: Records,
        clock: Clock,
        log_id: str,
        *,
        steady: bool = False,
    ) -> None:
        """``steady``: what another log has told already must not be told once more."""
        self._steady = steady
        self._store = store
        self._records = records
        self._clock = clock
        self._log_id = log_id
        self._cursor = f"media/{log_id}"
        self._position = 0
        self.stored = 0

    def open(self) -> int:
        """Return the position to go on from."""
        with self._records.reading() as session:
            self._position, _ = projection.cursor(session, self._cursor)
        return self._position

    def apply(self, chunk: Chunk) -> None:
        """Store the chunk's snapshots; one that is refused becomes a dead letter."""
        found = [entry for entry in chunk.entries if isinstance(entry, MediaEntry)]
        if not found:
            self._position = chunk.position  # kept with the next snapshot: seeing it again is free
            return
        letters = []
        for entry in found:
            try:
                self.stored += self._store.put(entry.header.media, entry.jpeg, _meta(entry))
            except ContractError as refused:
                letter = _letter(entry, refused, self._log_id)
                if self._steady:
                    head = entry.header
                    name = f"{entry.site}.{head.edge}.{head.epoch}.media"
                    letter = replace(letter, log=name, pos=head.seq)
                letters.append(letter)
        with self._records.session() as session:
            refusals.add_dead_letters(session, letters, self._clock.now_ms())
            projection.save_cursor(session, self._cursor, chunk.position, None)
        self._position = chunk.position

    def needed_after(self) -> int:
        """Return the position through which all snapshots are files."""
        return self._position

    def close(self) -> None:
        """Nothing to release."""

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
    )
