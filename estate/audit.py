"""``estate audit``: journalled at the edges = stored + dead-lettered + declared dropped.

Computed from what is on the disks: the collector's log, the outboxes of the edges on this machine,
the series store's counts, the dead letters. Exact means that for each lane every seq that the edge
has used is in the log once, or waits in its outbox, or was passed over and counted by the edge;
and that kind by kind the series store holds what the log holds, less its dead letters.

What the log has trimmed is answered by the accounts (:mod:`estate.audit_accounts`), which are
compared with the log for as far as it reaches. Several collectors are audited by the accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from collector.refused import SOURCE
from collector.sites import FOLDER
from core.contracts.errors import StoreUnavailableError
from core.contracts.ledger import Account, Ledger, Stream
from core.contracts.ports import SeriesReader
from core.contracts.vocabulary.base import LAST_MS
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.journal import JournalReader
from core.storage.records import Records, cautions, refusals
from core.storage.records.conservation import Flow
from core.storage.records.ledger import DAY_MS
from core.storage.series import open_reader
from estate.audit_accounts import Accounts, LogCheck, accounts_of, check_log, entries_of
from estate.audit_reach import Outbox, Reach, Underway

#: Beyond every time that an event may have (ms).
FOREVER = LAST_MS


@dataclass(frozen=True)
class Audit:
    """The account of a period: lanes, kinds, dead letters, and what of them does not agree.

    ``log_from`` is the first entry that the log still holds (ms): of what is older nothing can
    be said. ``refused`` are the dead letters that the series store refused, by kind; ``letters``
    those of what could not be read, against ``ledger.rejects``. ``unfolded`` are those of what the
    rules left out: the store has it, so that they are no part of the law.
    """

    ledger: Ledger
    stored: Counter[str]
    refused: Counter[str]
    letters: int
    log_from: int | None
    accounts: Accounts | None = None
    unfolded: int = 0
    shared: bool = False
    """Of several collectors: their accounts say it all."""
    underway: Underway = field(default_factory=lambda: Underway(0, 0))

    @property
    def law(self) -> Flow:
        """Return the law of the period: by the accounts, or by the log where there are none."""
        if self.accounts is not None and self.accounts.law.since is not None:
            return self.accounts.law.total
        ledger = self.ledger
        dropped = sum(n for _, at, n in ledger.counted if ledger.start <= at < ledger.end)
        return Flow(
            received=ledger.kinds.total() + ledger.rejects,
            dropped=dropped,
            stored=self.stored.total(),
            dead=self.letters + self.refused.total(),
            on_its_way=self.on_its_way,
        )

    @property
    def journalled(self) -> int:
        """Return the events that were journalled and that the log, or a note, knows."""
        return self.law.journalled

    @property
    def declared(self) -> int:
        """Return the events that the edges declared dropped."""
        return self.law.dropped

    @property
    def dead(self) -> int:
        """Return what of them became dead letters."""
        return self.law.dead

    @property
    def on_its_way(self) -> int:
        """Return what the log has and neither the store nor a letter has yet, as far as allowed."""
        if self.shared:
            return 0 if self.accounts is None else self.accounts.law.total.on_its_way
        kinds = self.ledger.kinds - self.refused - self.stored
        return (kinds & self.underway.kinds).total() + min(
            max(self.ledger.rejects - self.letters, 0), self.underway.rejects
        )

    def problems(self) -> Iterator[str]:
        """Yield what does not agree, in words."""
        for stream, account in sorted(self.ledger.accounts.items()):
            if not account.exact:
                yield f"{'/'.join(stream)}: {_wrong(account)}"
        rejects = self.ledger.rejects
        if not rejects - self.underway.rejects <= self.letters <= rejects:
            yield f"{self.ledger.rejects:,} could not be read, {self.letters:,} dead letters say so"
        yield from () if self.accounts is None else self.accounts.problems()
        if self.accounts is not None and self.accounts.trimmed:
            return
        for kind in sorted(self.ledger.kinds | self.stored | self.refused):
            wanted = self.ledger.kinds[kind] - self.refused[kind]
            if not wanted - self.underway.kinds[kind] <= self.stored[kind] <= wanted:
                yield (
                    f"{kind}: {self.ledger.kinds[kind]:,} in the log, {self.stored[kind]:,} "
                    f"stored, {self.refused[kind]:,} refused"
                )

    @property
    def exact(self) -> bool:
        """Tell whether all agrees."""
        return next(self.problems(), None) is None

    def lines(self) -> Iterator[str]:
        """Yield the audit as a table."""
        if not self.shared:
            yield from self._tables()
        yield from () if self.accounts is None else self.accounts.lines()
        if self.unfolded:
            yield f"{self.unfolded:,} dead letters are of what is stored and the rules left out"
        if self.ledger.abandoned:
            yield f"{self.ledger.abandoned} epochs were abandoned: a possible loss nobody can count"
        if self.on_its_way and not self.shared:
            yield f"{self.on_its_way:,} are on their way: in the log, and not stored yet"
        yield from (f"NOT EXACT: {problem}" for problem in self.problems())
        if self.exact:
            yield "exact"

    def _tables(self) -> Iterator[str]:
        head = ("batches", "events", "unreadable", "dropped", "waiting")
        yield f"{'edge/epoch/lane':<40}" + "".join(f"{name:>12}" for name in head)
        for stream, account in sorted(self.ledger.accounts.items()):
            name = f"{stream.edge}/{stream.epoch[:8]}/{stream.lane}"
            numbers = (
                account.batches, account.events, account.rejects, account.dropped,
                account.waiting_events,
            )  # fmt: skip
            yield f"{name:<40}" + "".join(f"{number:>12,}" for number in numbers)
        yield f"{'kind':<40}{'logged':>12}{'stored':>12}{'refused':>12}"
        for kind in sorted(self.ledger.kinds | self.stored):
            yield (
                f"{kind:<40}{self.ledger.kinds[kind]:>12,}{self.stored[kind]:>12,}"
                f"{self.refused[kind]:>12,}"
            )
        yield (
            f"{'all':<40}{self.ledger.kinds.total():>12,}{self.stored.total():>12,}"
            f"{self.refused.total():>12,}"
        )
        if self.letters or self.ledger.rejects:
            yield f"{self.ledger.rejects:,} could not be read: {self.letters:,} dead letters"

    def document(self) -> dict[str, Any]:
        """Return the audit as plain values, for programs."""
        return {
            "exact": self.exact,
            "problems": list(self.problems()),
            "journalled": self.journalled,
            "stored_events": self.law.stored,
            "dead_lettered": self.dead,
            "declared_dropped": self.declared,
            "on_its_way": self.law.on_its_way,
            "stored": dict(self.stored),
            "logged": dict(self.ledger.kinds),
            "refused": dict(self.refused),
            "left_out_by_rules": self.unfolded,
            "abandoned_epochs": self.ledger.abandoned,
            "log_from": self.log_from,
            "accounts": None if self.accounts is None else self.accounts.document(),
            "lanes": [
                {
                    **stream._asdict(),
                    "first_seq": account.first,
                    "last_seq": account.last,
                    "batches": account.batches,
                    "events": account.events,
                    "unreadable": account.rejects,
                    "passed_batches": len(account.passed),
                    "dropped_events": account.dropped,
                    "undeclared_batches": account.undeclared,
                    "waiting_batches": account.waiting_batches,
                    "waiting_events": account.waiting_events,
                    "exact": account.exact,
                }
                for stream, account in sorted(self.ledger.accounts.items())
            ],
        }


def _wrong(account: Account) -> str:
    gap = account.last + 1 - account.first - account.batches - len(account.passed)
    found = {
        "batches are missing": gap if account.batches else 0,
        "batches were passed over and never counted": account.undeclared,
        "batches came twice or out of order": account.disorder,
        "batches came although they were declared dropped": account.torn,
        "batches are neither in the log nor in the outbox": account.not_held,
    }
    return ", ".join(f"{number:,} {what}" for what, number in found.items() if number)


def audit(settings: Settings, start: int = 0, end: int = FOREVER) -> Audit:
    """Audit the system in a data folder, running or not, over ``[start, end)`` (ms).

    While it runs, what is on its way at this moment is said to be so
    (:mod:`estate.audit_reach`). Raises JournalError where there is no log, StoreUnavailableError
    where a store does not answer.
    """
    records = Records(settings.records_url).open()
    try:
        with closing(open_reader(settings)) as series:
            outboxes = sorted(settings.data.glob("edges/*/outbox.sqlite"))
            now = ScaledClock.from_environment().now_ms()
            kept = now // DAY_MS - settings.series.retention_days + 1
            if settings.collector.shared:
                logs = sorted((settings.data / FOLDER).glob("*/*.sqlite"))
                return audit_shared(logs, series, records, start, end, kept)
            return audit_of(
                settings.data / "collector.sqlite", outboxes, series, records, start, end, kept
            )
    finally:
        records.close()


def audit_shared(
    logs: list[Path],
    series: SeriesReader,
    records: Records,
    start: int = 0,
    end: int = FOREVER,
    kept: int = 0,
) -> Audit:
    """Audit several collectors: by the accounts of all, which know of every site.

    Those of the ``logs`` on this machine that are still a site's must agree with what these hold.
    """
    checks = [found for path in logs if (found := check_log(records, path)) is not None]
    accounts = accounts_of(records, series, checks, start, end, kept, trimmed=True)
    return Audit(Ledger(start, end), Counter(), Counter(), 0, None, accounts, shared=True)


def audit_of(
    log: Path,
    outboxes: list[Path],
    series: SeriesReader,
    records: Records,
    start: int = 0,
    end: int = FOREVER,
    kept: int = 0,
) -> Audit:
    """Audit the parts that are given; see :func:`audit`.

    ``kept`` is the first day (since the Unix epoch) that the series store's retention has left.
    """
    held = [Outbox(path) for path in outboxes]
    ledger, underway = Ledger(start, end), Underway(start, end)
    stored, accounts, down, bulk = Counter[str](), None, None, 0
    log_from: int | None = None
    with closing(JournalReader(log)) as reader:
        reader.open()
        identity = reader.epoch()
        with records.reading() as session:
            unread = cautions.unread(session, identity)
        check = LogCheck(records, identity)
        for first in reader.read(0, limit=1):
            log_from = first.at
            check.begin(first.pos, first.at)
        try:
            # Most of a log is read before the store is asked, so that little comes meanwhile.
            bulk = Reach.of(records, series, identity).stored
            for chunk in entries_of(reader, unread, through=bulk):
                ledger.fold(chunk)
                check.fold(chunk)
            underway.reach = Reach.of(records, series, identity)
            stored = Counter(series.counts(start, end))
            trimmed = check.trimmed or log_from is None
            accounts = accounts_of(records, series, [], start, end, kept, trimmed=trimmed)
        except StoreUnavailableError as error:
            down = error
        last = reader.last_position()
        for chunk in entries_of(reader, unread, bulk, last):
            ledger.fold(chunk)
            check.fold(chunk)
            underway.fold(chunk)
    if down is not None and ledger.kinds:
        raise down
    if accounts is not None:
        disagreeing = list(check.disagreeing())
        accounts = replace(accounts.allowing(underway.days), disagreeing=disagreeing)
    with records.reading() as session:
        _, refused, unfolded = _letters(session, identity, start, end, last)
        since = max(start, log_from or 0) if check.trimmed else start
        letters, _, _ = _letters(session, identity, since, end, last)
        for loss in refusals.counted_losses(session):
            # Also those whose notes the log has trimmed by now.
            stream = Stream(loss.site, loss.edge, loss.epoch, loss.lane)
            ledger.declare(stream, loss.first_seq, loss.last_seq, loss.events or 0, loss.at)
    ledger.close()
    for outbox in held:
        outbox.enter(ledger)
    return Audit(ledger, stored, refused, letters, log_from, accounts, unfolded, underway=underway)


def _letters(
    session: Session, log: str, start: int, end: int, last: int
) -> tuple[int, Counter[str], int]:
    """Return the dead letters of what could not be read, of what was refused, and of the rules.

    Of the log's entries up to ``last``.
    """
    counts = refusals.count_by_source(session, log, start, end, last)
    refused = Counter(
        {source.removeprefix("series:"): n for source, n in counts.items() if _is_series(source)}
    )
    unfolded = sum(n for source, n in counts.items() if source.startswith(SOURCE))
    media = sum(n for source, n in counts.items() if source.startswith("media/"))
    return sum(counts.values()) - refused.total() - unfolded - media, refused, unfolded


def _is_series(source: str) -> bool:
    return source.startswith("series:")
