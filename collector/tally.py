"""A witness of the conservation law: counts what its projection does, to be kept beside its cursor.

Counting is in memory and costs a look-up an entry; every two seconds what came together goes to
the records, with the position up to which it was counted. A crash loses what was not kept, and
the log brings it again: entries at or below the kept position are not counted a second time.

Of a log that ends with its collector's tenure what was counted waits for its settlement instead,
which keeps the counts of all witnesses together.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from collector.settlement import Item, Settlement
from core.contracts.errors import EstateError
from core.contracts.ledger import Line
from core.storage.records import Records, ledger, projection
from core.storage.records.ledger import Counts, Witness
from core.storage.records.refusals import DeadLetter

log = structlog.get_logger(__name__)

_KEEP_S = 2.0
#: Without anything to add the position alone is kept this often, so that a copy of the records
#: does not need a log that was trimmed long ago.
_MARK_S = 60.0
#: Above every position.
_NEVER = 1 << 62


class Tally(Protocol):
    """What one projection has counted; used by its thread."""

    kept: int
    """The position up to which the log is not needed for what was counted."""

    def open(self) -> int:
        """Forget what would be counted again; return the position after which to count."""
        ...

    def wants(self, pos: int) -> bool:
        """Tell whether the entry at a position is still to be counted."""
        ...

    def line(self, line: Line, pos: int) -> Counts:
        """Return what is to be added to a line, for the entry at a position."""
        ...

    def kinds(self, found: Counter[tuple[int, str]]) -> None:
        """Add events by (day of their own time, kind); of the entry of the last :meth:`line`."""
        ...

    def counted(self, position: int) -> None:
        """Note that everything up to a position is counted."""
        ...

    def buried(self, letters: Iterable[DeadLetter]) -> None:
        """Note that the records have dead letters."""
        ...

    def due(self) -> bool:
        """Tell whether it is time to keep what was counted."""
        ...

    def keep(self, session: Session) -> None:
        """Add what was counted to the records; :meth:`settle` follows the commit."""
        ...

    def settle(self) -> None:
        """Take what :meth:`keep` added as kept."""
        ...

    def close(self) -> None:
        """Keep what is left, if the records can."""
        ...


def tally(
    records: Records, witness: Witness, log_id: str, settlement: Settlement | None = None
) -> Tally:
    """Return a witness's tally of a log; ``settlement`` is of one that ends with a tenure."""
    if settlement is not None:
        return TenureTally(settlement)
    return LogTally(records, witness, log_id)


class TenureTally:
    """Counts entry by entry, for a settlement that may end at any; it is its log's only one."""

    def __init__(self, settlement: Settlement) -> None:
        self._settlement = settlement
        self._items: list[Item] = []
        self.kept = 0

    def open(self) -> int:
        """Return the position up to which the settlement has it."""
        self._items = []
        return self.kept

    def wants(self, pos: int) -> bool:
        """Tell whether the entry at a position is still to be counted."""
        return pos > self.kept

    def line(self, line: Line, pos: int) -> Counts:
        """Return what is to be added to a line, for the entry at a position."""
        counts = Counts(last_pos=pos)
        self._items.append(Item(pos, line, counts, {}))
        return counts

    def kinds(self, found: Counter[tuple[int, str]]) -> None:
        """Add events by (day of their own time, kind); of the entry of the last :meth:`line`."""
        kinds = self._items[-1].kinds
        for kind, number in found.items():
            kinds[kind] = kinds.get(kind, 0) + number

    def counted(self, position: int) -> None:
        """Hand over what was counted, which is everything up to a position."""
        self._settlement.count(self._items)
        self._items = []
        self.kept = max(self.kept, position)

    def buried(self, letters: Iterable[DeadLetter]) -> None:
        """Note that the records have dead letters."""
        self._settlement.bury(letters)

    def due(self) -> bool:
        """Return False: it is kept by the settlement."""
        return False

    def keep(self, session: Session) -> None:
        """Keep nothing: it is kept by the settlement."""

    def settle(self) -> None:
        """Change nothing: it is kept by the settlement."""

    def close(self) -> None:
        """Keep nothing: it is kept by the settlement."""


class LogTally:
    """What one projection has counted since it was last kept; used by its thread.

    A log without accounts is not counted, and nothing waits for it to be.
    """

    def __init__(self, records: Records, witness: Witness, log_id: str) -> None:
        self._records = records
        self._log = log_id
        self._cursor = witness.cursor(log_id)
        self._lines: dict[Line, Counts] = {}
        self._kinds: Counter[tuple[int, str]] = Counter()
        self._through = 0
        self._kept_at = time.monotonic()
        self.kept = 0
        """The position up to which everything counted is in the records."""

    def open(self) -> int:
        """Forget what was not kept; return the position after which to count."""
        with self._records.reading() as session:
            self.kept, _ = projection.cursor(session, self._cursor)
            if ledger.beginning(session, self._log) is None:
                self.kept = _NEVER
        self._through = self.kept
        self._lines, self._kinds = {}, Counter()
        self._kept_at = time.monotonic()
        return self.kept

    def wants(self, pos: int) -> bool:
        """Tell whether the entry at a position is still to be counted."""
        return pos > self._through

    def line(self, line: Line, pos: int) -> Counts:
        """Return what is to be added to a line, for the entry at a position."""
        counts = self._lines.get(line)
        if counts is None:
            counts = self._lines[line] = Counts()
        counts.last_pos = max(counts.last_pos, pos)
        return counts

    def kinds(self, found: Counter[tuple[int, str]]) -> None:
        """Add events by (day of their own time, kind)."""
        self._kinds.update(found)

    def buried(self, letters: Iterable[DeadLetter]) -> None:
        """Count nothing: they were counted when they were stored, in the same transaction."""

    def counted(self, position: int) -> None:
        """Note that everything up to a position is counted."""
        self._through = max(self._through, position)

    def due(self) -> bool:
        """Tell whether it is time to keep what was counted."""
        if self.kept == _NEVER:
            return False
        age = time.monotonic() - self._kept_at
        return age > (_KEEP_S if self._lines else _MARK_S)

    def keep(self, session: Session) -> None:
        """Add what was counted to the records; :meth:`settle` follows the commit."""
        if self.kept == _NEVER:
            return
        ledger.add(session, self._log, self._lines)
        ledger.add_stored(session, self._kinds)
        projection.save_cursor(session, self._cursor, self._through, None)

    def settle(self) -> None:
        """Take what :meth:`keep` added as kept."""
        self._lines, self._kinds = {}, Counter()
        self.kept, self._kept_at = self._through, time.monotonic()

    def close(self) -> None:
        """Keep what is left, if the records can; if not, the log brings it again."""
        if not self._lines:
            return
        try:
            with self._records.session() as session:
                self.keep(session)
        except EstateError as error:
            log.info("what was counted last is counted again", why=str(error))
        else:
            self.settle()
