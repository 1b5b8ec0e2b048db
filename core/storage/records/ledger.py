"""Writing the accounts of the conservation law, in the caller's transaction.

Each witness adds what it has counted and moves its own cursor in one transaction, so that after a
crash it counts on from there, whatever else was stored meanwhile (ADR 0027).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, select, update
from sqlalchemy.orm import Session

from core.contracts.ledger import HOUR_MS, Line
from core.storage.records import changes, projection
from core.storage.records.ledger_models import LedgerDay, LedgerLine, LedgerLog, LedgerTenure
from core.storage.records.sql import chunks, execute_many, table, upsert, upsert_statement
from core.storage.records.tenure_models import TenureRow

DAY_MS = 24 * HOUR_MS
_KEYS = ("start", "log", "site", "edge", "epoch", "lane")
_SUMS = ("batches", "events", "rejects", "stored", "dead")


class Witness(StrEnum):
    """Who counts: what came, what the series store took, what the media store took."""

    RECEIVED = "received"
    SERIES = "series"
    MEDIA = "media"

    def cursor(self, log: str) -> str:
        """Return the name of the cursor up to which it has counted a log."""
        return f"ledger-{self.value}/{log}"


@dataclass(slots=True)
class Counts:
    """What a witness adds to a line; seqs are 0 where it knows none."""

    first_seq: int = 0
    last_seq: int = 0
    batches: int = 0
    events: int = 0
    rejects: int = 0
    stored: int = 0
    dead: int = 0
    last_pos: int = 0

    def add(self, other: Counts) -> None:
        """Add what another witness, or the same one later, has counted."""
        if other.first_seq and not 0 < self.first_seq < other.first_seq:
            self.first_seq = other.first_seq
        self.last_seq = max(self.last_seq, other.last_seq)
        self.batches += other.batches
        self.events += other.events
        self.rejects += other.rejects
        self.stored += other.stored
        self.dead += other.dead
        self.last_pos = max(self.last_pos, other.last_pos)

    @property
    def rest(self) -> int:
        """Return what came and is neither stored nor a dead letter, below 0: what is too much."""
        return self.events + self.rejects - self.stored - self.dead


def begin(session: Session, log: str, position: int, now: int) -> None:
    """Open the accounts of a log at a position, unless they are open; ``now`` is ms (UTC).

    What is at or below it is nobody's to count: its hour would have witnesses for a part only.
    """
    if session.get(LedgerLog, log) is not None:
        return
    session.add(LedgerLog(log=log, began_at=now, begin=position))
    for witness in Witness:
        projection.save_cursor(session, witness.cursor(log), position, None)


def beginning(session: Session, log: str) -> int | None:
    """Return the position above which a log has accounts, None where it has none."""
    return session.scalar(select(LedgerLog.begin).where(LedgerLog.log == log))


def succeed(session: Session, site: str, former: str, log: str, now: int) -> None:
    """Open the accounts of a site's new log (at ``now``, ms); those of its former log are over.

    What of that was not settled comes again, but for what has no number: it is cut off.
    """
    old = session.get(LedgerTenure, former) if former else None
    if old is not None and old.ended_at is None:
        old.ended_at, old.is_cut, old.waiting = now, True, []
    session.add(LedgerLog(log=log, began_at=now, begin=0))
    session.add(
        LedgerTenure(
            log=log, site=site, midway=bool(former) and old is None, settled=0, kept_at=now,
            waiting=[], ended_at=None, is_cut=False,
        )
    )  # fmt: skip
    session.flush()


def leave_all(session: Session, logs: Mapping[str, str], now: int) -> None:
    """Note that the accounts of one log for all sites are over, each site's as ``logs`` names it.

    The accounts that follow them (:func:`succeed`) then begin where these end; without this note
    they begin in the midst of things. ``now`` is ms (UTC).
    """
    rows = [
        {
            "log": log, "site": site, "midway": False, "settled": 0, "kept_at": now,
            "waiting": [], "ended_at": now, "is_cut": False,
        }
        for site, log in logs.items()
    ]  # fmt: skip
    upsert(session, LedgerTenure, rows)


def settle(
    session: Session,
    log: str,
    lines: Mapping[Line, Counts],
    kinds: Mapping[tuple[int, str], int],
    waiting: list[list[Any]],
    settled: int,
    now: int,
) -> None:
    """Add what all witnesses have counted of a log up to the position ``settled``, and no more.

    Nobody else adds to these lines, so that this waits for no other collector. The same again adds
    nothing: a commit may have lost its answer. ``waiting`` and ``now`` (ms) are as in
    :class:`LedgerTenure`.
    """
    before = session.scalar(select(LedgerTenure.settled).where(LedgerTenure.log == log))
    if before is not None and settled > before:
        _add(session, log, lines)
        add_stored(session, kinds)
    session.execute(
        update(LedgerTenure)
        .where(LedgerTenure.log == log)
        .values(settled=settled, kept_at=now, waiting=waiting)
        .execution_options(synchronize_session=False)
    )


def end(session: Session, log: str, now: int) -> None:
    """Note that a log is over and that all of it is settled, at ``now`` (ms)."""
    session.execute(
        update(LedgerTenure)
        .where(LedgerTenure.log == log)
        .values(ended_at=now)
        .execution_options(synchronize_session=False)
    )


def add(session: Session, log: str, lines: Mapping[Line, Counts]) -> None:
    """Add to the lines of a log."""
    if not lines:
        return
    changes.lock(session)  # several processes add to the same rows: one after the other
    _add(session, log, lines)


def _add(session: Session, log: str, lines: Mapping[Line, Counts]) -> None:
    rows = [
        {
            "start": line.hour, "log": log, **line.stream._asdict(), "hours": 1,
            "first_seq": counts.first_seq, "last_seq": counts.last_seq,
            "batches": counts.batches, "events": counts.events, "rejects": counts.rejects,
            "stored": counts.stored, "dead": counts.dead, "last_pos": counts.last_pos,
        }
        for line, counts in sorted(lines.items())
    ]  # fmt: skip
    _merge(session, rows)


def add_stored(session: Session, kinds: Mapping[tuple[int, str], int]) -> None:
    """Add how many events of each (day since the Unix epoch, kind) the series store took."""
    if not kinds:
        return
    target = table(LedgerDay)
    statement = upsert_statement(session, LedgerDay)
    statement = statement.on_conflict_do_update(
        index_elements=["day", "kind"],
        set_={"stored": target.c.stored + statement.excluded.stored},
    )
    execute_many(
        session,
        statement,
        # In one order, since several collectors add to the same days.
        [{"day": day, "kind": kind, "stored": n} for (day, kind), n in sorted(kinds.items()) if n],
    )


def stored_on(session: Session, day: int) -> dict[str, int]:
    """Return how many events of each kind of a day the series store took, so far."""
    query = select(LedgerDay.kind, LedgerDay.stored).where(LedgerDay.day == day)
    return dict(list(session.execute(query)))


def note_found(
    session: Session, day: int, stored: Mapping[str, int], found: Mapping[str, int], now: int
) -> None:
    """Note how many events of each kind the series store holds of a day, asked at ``now`` (ms).

    ``stored`` is what :func:`stored_on` said before the store was asked: where it has grown since,
    the day stays open.
    """
    upsert(
        session,
        LedgerDay,
        [
            {
                "day": day, "kind": kind, "stored": stored.get(kind, 0),
                "found": found.get(kind, 0), "found_of": stored.get(kind, 0), "found_at": now,
            }
            for kind in sorted(stored.keys() | found.keys())
        ],
        update=("found", "found_of", "found_at"),
    )  # fmt: skip


def open_days(session: Session, first: int, last: int) -> list[int]:
    """Return the days from ``first`` to ``last`` that are not closed: others count as found."""
    query = select(LedgerDay.day).where(
        LedgerDay.day >= first,
        LedgerDay.day <= last,
        LedgerDay.found_of.is_distinct_from(LedgerDay.stored),
    )
    return list(session.scalars(query.distinct().order_by(LedgerDay.day)))


def forget_tenures(session: Session, before: int) -> int:
    """Forget which logs there were that were over before a time (ms); return how many.

    Their lines stay. Kept is what an audit of any period still asks for: logs that were cut off or
    began in the midst of things, each site's last one, and when the accounts began.
    """
    here = LedgerTenure
    over = (
        here.ended_at < before,
        here.is_cut.is_(False),
        here.midway.is_(False),
        here.log.not_in(select(TenureRow.log)),
    )
    gone = list(session.scalars(select(here.log).where(*over)))
    oldest = select(LedgerLog.log).order_by(LedgerLog.began_at, LedgerLog.log).limit(1)
    since = session.scalar(oldest)
    for some in chunks(gone):
        session.execute(delete(here).where(here.log.in_(some)))
        session.execute(delete(LedgerLog).where(LedgerLog.log.in_(some), LedgerLog.log != since))
    return len(gone)


def join_hours(session: Session, before: int) -> int:
    """Make one line a day of the hours before a time (ms); return how many days were joined."""
    end = before - before % DAY_MS
    first = session.scalar(
        select(func.min(LedgerLine.start)).where(LedgerLine.start < end, LedgerLine.hours == 1)
    )
    if first is None:
        return 0
    changes.lock(session)
    days = range(first - first % DAY_MS, end, DAY_MS)
    for day in days:
        _join_day(session, day)
    return len(days)


def _join_day(session: Session, day: int) -> None:
    target = table(LedgerLine)
    within = (target.c.start >= day, target.c.start < day + DAY_MS, target.c.hours == 1)
    rows = [dict(row) for row in session.execute(select(target).where(*within)).mappings()]
    session.execute(delete(target).where(*within))
    _merge(session, [row | {"start": day, "hours": 24} for row in rows])


def _merge(session: Session, rows: list[dict[str, Any]]) -> None:
    target = table(LedgerLine)
    statement = upsert_statement(session, LedgerLine)
    here, new = target.c, statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(_KEYS),
        set_={
            **{name: here[name] + new[name] for name in _SUMS},
            "first_seq": case(
                (new.first_seq == 0, here.first_seq),
                (here.first_seq == 0, new.first_seq),
                else_=_lesser(here.first_seq, new.first_seq),
            ),
            "last_seq": _greater(here.last_seq, new.last_seq),
            "last_pos": _greater(here.last_pos, new.last_pos),
        },
    )
    execute_many(session, statement, rows)


def _lesser(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one < other, one), else_=other)


def _greater(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one > other, one), else_=other)
