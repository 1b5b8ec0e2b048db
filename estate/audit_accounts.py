"""The part of the audit that is older than the log: the accounts in the records (ADR 0027).

They answer for whole hours (whole days once those are a few days old) since the installation. As
far as the log reaches each hour is counted again from it and must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core.contracts.around import read_around
from core.contracts.ledger import HOUR_MS, Line, Stream, line_of, received_of
from core.contracts.left_out import LeftOut
from core.contracts.log import LogEntry
from core.contracts.ports import SeriesReader
from core.storage.journal import JournalReader
from core.storage.records import Records, cautions, conservation, ledger, projection, tenures
from core.storage.records.conservation import Law, Taken
from core.storage.records.ledger import DAY_MS, Witness
from core.storage.records.ledger_models import LedgerLine, LedgerTenure

_Numbers = tuple[int, int, int]
_AT_ONCE = 2_000


@dataclass(frozen=True)
class Accounts:
    """What the accounts say of a period, and where they, the log and the store do not agree.

    ``trimmed``: the log no longer has all that the store holds, so the kinds are compared here,
    day by day. ``compared`` days were, ``vouched`` for others the store said so while it had them.
    ``unsettled`` are differences that may be none (:class:`core.storage.records.conservation.Law`).
    """

    law: Law
    trimmed: bool
    differences: list[Taken]
    unsettled: list[Taken]
    compared: int
    vouched: int
    disagreeing: list[Line]

    def allowing(self, days: Mapping[tuple[int, str], int]) -> Accounts:
        """Return it with so many more events, by day and kind, that may be stored meanwhile."""
        differences = [
            row
            for row in self.differences
            if not 0 < (row.found or 0) - row.stored <= days.get((row.day, row.kind), 0)
        ]
        return replace(self, differences=differences)

    def problems(self) -> Iterator[str]:
        """Yield what does not agree, in words."""
        total = self.law.total
        found = {
            "events came and are neither stored nor dead letters": total.missing,
            "events are stored or dead letters more than once": total.surplus,
            "batches are missing": total.absent,
            "batches were passed over and never counted": total.undeclared,
        }
        yield from (f"accounts: {number:,} {what}" for what, number in found.items() if number)
        for day, kind, stored, held in self.differences:
            yield f"{_date(day)} {kind}: {stored:,} were stored, {held:,} are in the store"
        for hour, stream in self.disagreeing:
            yield f"accounts: {'/'.join(stream)} at {_time(hour)} is not what the log holds"

    def lines(self) -> Iterator[str]:
        """Yield the law of the period."""
        law, total = self.law, self.law.total
        if law.since is None:
            yield "accounts: none yet"
            return
        yield (
            f"accounts since {_time(max(law.since, law.start))}: journalled {total.journalled:,}"
            + (f" and put back {law.put_back:,}" if law.put_back else "")
            + f" = stored {total.stored:,} + dead letters {total.dead:,} + declared dropped "
            f"{total.dropped:,} + on its way {total.on_its_way:,}"
        )
        if law.cut_off:
            yield (
                f"{law.cut_off:,} logs ended with their collector: of what came last and has no "
                "number there (plain events, collectors' notes) nobody knows"
            )
        for day, kind, stored, held in self.unsettled:
            yield (
                f"UNKNOWN: {_date(day)} {kind}: {stored:,} are settled, {held:,} are in the store; "
                "the rest may be what a collector stored last"
            )
        if self.trimmed:
            yield (
                f"the log begins later: {self.compared:,} days compared with the store, "
                f"{self.vouched:,} that it no longer keeps as they were then"
            )

    def document(self) -> dict[str, Any]:
        """Return it as plain values, for programs."""
        law = self.law
        return {
            "from": law.start,
            "to": law.end,
            "since": law.since,
            **asdict(law.total),
            "journalled": law.total.journalled,
            "put_back": law.put_back,
            "losses_of_unknown_number": law.unknown,
            "logs_cut_off": law.cut_off,
            "unsettled": [
                {"day": _date(day), "kind": kind, "settled": stored, "held": held}
                for day, kind, stored, held in self.unsettled
            ],
            "days_compared": self.compared,
            "days_vouched_for": self.vouched,
            "edges": [
                {"site": site, "edge": edge, **asdict(flow)}
                for (site, edge), flow in sorted(law.edges.items())
            ],
        }


class LogCheck:
    """Counts a log again, hour by hour, for as far as it reaches and the accounts have come."""

    def __init__(self, records: Records, log: str) -> None:
        self._found: dict[Line, _Numbers] = {}
        with records.reading() as session:
            begin = ledger.beginning(session, log)
            self._has_accounts, self._begin = begin is not None, begin or 0
            self._through, _ = projection.cursor(session, Witness.RECEIVED.cursor(log))
            tenure = session.get(LedgerTenure, log)
            if tenure is not None:
                self._through = tenure.settled
            row = LedgerLine
            rows = session.execute(
                select(
                    row.start, row.site, row.edge, row.epoch, row.lane, row.batches, row.events,
                    row.rejects,
                ).where(row.log == log, row.hours == 1)
            )  # fmt: skip
            self._lines: dict[Line, _Numbers] = {
                Line(start, Stream(*stream)): (batches, events, rejects)
                for start, *stream, batches, events, rejects in rows
            }
            joined = session.scalar(select(func.max(row.start)).where(row.hours > 1))
        self._from = 0 if joined is None else joined + DAY_MS
        self.trimmed = False
        """The log no longer has all that the accounts tell of."""

    def begin(self, pos: int, at: int) -> None:
        """Take where the log begins: the position of its first entry, and when that came (ms)."""
        self.trimmed = self._has_accounts and pos > 1
        if self.trimmed:
            self._from = max(self._from, at - at % HOUR_MS + HOUR_MS)

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Take entries of the log, in its order."""
        for entry in entries:
            line = line_of(entry) if self._begin < entry.pos <= self._through else None
            if line is not None:
                batches, events, rejects = self._found.get(line, (0, 0, 0))
                seq, more, refused = received_of(entry)
                self._found[line] = (batches + bool(seq), events + more, rejects + refused)

    def disagreeing(self) -> Iterator[Line]:
        """Yield the lines that are not what the log holds."""
        for line in sorted(self._lines.keys() | self._found.keys()):
            nothing = (0, 0, 0)
            here, there = self._lines.get(line, nothing), self._found.get(line, nothing)
            if line.hour >= self._from and here != there:
                yield line


def check_log(records: Records, path: Path) -> LogCheck | None:
    """Count a site's log in a file again, None if it is over; raise JournalError.

    With a log that is over the notes went of what crashed those who read it.
    """
    with closing(JournalReader(path)) as reader:
        reader.open()
        log = reader.epoch()
        with records.reading() as session:
            if not tenures.is_current(session, log):
                return None
            unread = cautions.unread(session, log)
        check = LogCheck(records, log)
        for first in reader.read(0, limit=1):
            check.begin(first.pos, first.at)
        for chunk in entries_of(reader, unread):
            check.fold(chunk)
    return check


def entries_of(
    reader: JournalReader,
    unread: Mapping[int, list[LeftOut]],
    after: int = 0,
    through: int | None = None,
) -> Iterator[list[LogEntry]]:
    """Yield a log's entries (``after`` a position, ``through`` one) in their order.

    What must not be read is left out.
    """
    while (through is None or after < through) and (entries := reader.read(after, limit=_AT_ONCE)):
        after = entries[-1].pos
        yield [
            read_around(e.lane, e.pos, e.seq, e.at, e.body, unread.get(e.pos, ()))
            for e in entries
            if through is None or e.pos <= through
        ]


def accounts_of(
    records: Records,
    series: SeriesReader,
    checks: list[LogCheck],
    start: int,
    end: int,
    kept: int,
    *,
    trimmed: bool,
) -> Accounts:
    """Audit the accounts over ``[start, end)`` (ms); see :func:`estate.audit.audit_of`.

    ``trimmed``: no log here has all that the store holds.
    """
    with records.reading() as session:
        law = conservation.law(session, start, end)
        # Of a day that the period holds in part only the store's kinds are not compared.
        taken = conservation.taken(session, -(-start // DAY_MS), end // DAY_MS)
        unsettled = conservation.unsettled_days(session)
    differences: list[Taken] = []
    compared, vouched = set[int](), set[int]()
    held: dict[int, dict[str, int]] = {}
    for row in taken if trimmed else []:
        if row.day < kept:
            vouched.add(row.day)
            found = row.stored if row.found is None else row.found
        else:
            compared.add(row.day)
            day = row.day * DAY_MS
            if row.day not in held:
                held[row.day] = series.counts(day, day + DAY_MS)
            found = held[row.day].get(row.kind, 0)
        if found != row.stored:
            differences.append(row._replace(found=found))
    known = {(row.day, row.kind) for row in taken}
    differences += [
        Taken(day, kind, 0, number)
        for day, kinds in held.items()
        for kind, number in kinds.items()
        if (day, kind) not in known
    ]
    return Accounts(
        law,
        trimmed,
        [row for row in differences if not unsettled.explain(row)],
        [row for row in differences if unsettled.explain(row)],
        len(compared),
        len(vouched),
        [line for check in checks for line in check.disagreeing()],
    )


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="minutes")
