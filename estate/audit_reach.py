"""How far everybody had come when the stores were asked, so that a running system can be audited.

The log, the series store and the letters cannot be read at one moment. So it is noted first how far
the store and the rules have come; then the store is asked; then the log is read to its end, and
then the letters. What came up to the noted place must be in the store or among the letters, and
whatever these have must be in the log. What lies between is on its way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from core.contracts.ledger import Account, Ledger, Stream, events_of
from core.contracts.log import LogEntry, rejects_of
from core.contracts.ports import SeriesReader
from core.storage.journal import JournalReader
from core.storage.records import Records, ledger, projection
from core.storage.records.ledger import DAY_MS, Witness


@dataclass(frozen=True)
class Reach:
    """Positions of a log: what the store has up to ``stored`` has its letters, too.

    ``counted`` is how far the accounts of what is stored have come, ``folded`` the rules.
    """

    stored: int
    counted: int
    folded: int

    @classmethod
    def of(cls, records: Records, series: SeriesReader, log: str) -> Reach:
        """Ask how far a log's projections have come."""
        with records.reading() as session:
            counted, _ = projection.cursor(session, Witness.SERIES.cursor(log))
            folded, _ = projection.cursor(session, projection.rules_cursor(log))
            has_accounts = ledger.beginning(session, log) is not None
        stored = series.positions().get(log, 0)
        # A letter is kept with the accounts, a moment after its siblings are stored.
        return cls(min(stored, counted) if has_accounts else stored, counted, folded)


@dataclass
class Underway:
    """What of a period is behind that place: it may be stored, or a letter, or neither yet.

    ``kinds`` are its events, ``days`` those that the accounts have not counted, by the day of their
    own time and kind; ``rejects`` is what could not be read.
    """

    start: int
    end: int
    reach: Reach = Reach(0, 0, 0)
    kinds: Counter[str] = field(default_factory=Counter)
    days: Counter[tuple[int, str]] = field(default_factory=Counter)
    rejects: int = 0

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Take entries of the log, in its order."""
        reach = self.reach
        for entry in entries:
            if entry.pos > reach.stored:
                events = list(events_of(entry))
                self.kinds.update(e.kind for e in events if self.start <= e.at < self.end)
                if entry.pos > reach.counted:
                    self.days.update((e.at // DAY_MS, e.kind) for e in events)
            if entry.pos > reach.folded and self.start <= entry.at < self.end:
                self.rejects += len(rejects_of(entry))


class Outbox:
    """What the outbox of an edge on this machine holds; to be read before the log is.

    What it had up to then is still there, or in the log, or declared.
    """

    def __init__(self, path: Path) -> None:
        """Read it; raise JournalError."""
        with closing(JournalReader(path)) as reader:
            reader.open()
            self._edge, self._epoch = reader.owner(), reader.epoch()
            self._lasts = reader.lasts()
            self._held = {lane: reader.sizes(lane, last) for lane, last in self._lasts.items()}

    def enter(self, ledger: Ledger) -> None:
        """Take into account what it holds and the log does not."""
        sites = {stream.edge: stream.site for stream in ledger.accounts}
        for lane, last in self._lasts.items():
            stream = Stream(sites.get(self._edge, ""), self._edge, self._epoch, lane)
            self._enter(ledger.account(stream), lane, last)

    def _enter(self, account: Account, lane: str, last: int) -> None:
        seqs, events = self._held[lane]
        first = bisect_right(seqs, account.last)
        account.waiting_batches, account.waiting_events = len(seqs) - first, sum(events[first:])
        missing = last - account.last - account.beyond - account.waiting_batches
        account.not_held += max(missing, 0)
