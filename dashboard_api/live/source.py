"""The live sequence of the records, as the hub reads it."""

from __future__ import annotations

from collections.abc import Sequence

from core.storage.records import Records
from core.storage.records.changes import LiveChange, changes_since, first_seq, last_seq


class RecordsSource:
    """Reads the live sequence from the records; called in threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def bounds(self) -> tuple[int, int]:
        """Return the oldest number that is kept and the newest."""
        with self._records.reading() as session:
            return first_seq(session), last_seq(session)

    def after(self, seq: int, limit: int) -> Sequence[LiveChange]:
        """Return the changes above ``seq``, in order."""
        with self._records.reading() as session:
            return changes_since(session, seq, limit)
