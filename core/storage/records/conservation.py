"""The conservation law of any period, from the accounts: journalled = stored + dead + dropped.

A line's numbers come from different witnesses, so that they have to agree: what came is what was
stored and what became a dead letter. While somebody has not counted up to the line's last entry
yet, a difference is under way; afterwards it is missing, or too much. Whether the series store
still holds what it took is in the days (:class:`LedgerDay`), by the events' own time.

The lines of a log that ends with a tenure (:class:`LedgerTenure`) hold what is settled, all of it;
what waits is told beside them. What a collector that died had stored last, and nobody counted, is
not known where it has no number; of what has one the next collector stores the same again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select, true, tuple_
from sqlalchemy.orm import Session

from core.contracts.events import Lane
from core.contracts.ledger import HOUR_MS, OTHERS, Ledger, Stream
from core.contracts.log import REPLAY
from core.storage.records import projection
from core.storage.records.ledger import DAY_MS, Witness
from core.storage.records.ledger_models import LedgerDay, LedgerLine, LedgerLog, LedgerTenure
from core.storage.records.models import DeclaredLoss
from core.storage.records.sql import chunks

#: How far back the last batch before a period is looked for (ms).
_BEFORE_MS = 40 * DAY_MS
_HOLE = "hole"
#: Beyond every day.
_NO_DAY = 1 << 40


@dataclass(slots=True)
class Flow:
    """What came in a period and what became of it, in events; of one edge, or of all.

    ``dropped`` is what was declared. ``missing`` came and is neither stored nor a dead letter,
    ``surplus`` is what was stored or refused twice. ``on_its_way`` came and is not stored yet.
    """

    received: int = 0
    dropped: int = 0
    stored: int = 0
    dead: int = 0
    on_its_way: int = 0
    missing: int = 0
    surplus: int = 0
    absent: int = 0
    """Batches between two that came which are neither there nor declared."""
    undeclared: int = 0
    """Batches that were passed over and that no note counts."""

    @property
    def journalled(self) -> int:
        """Return what the edges journalled, as far as it came or a note tells of it."""
        return self.received + self.dropped

    @property
    def exact(self) -> bool:
        """Tell whether all of it is accounted for."""
        return not (self.missing or self.surplus or self.absent or self.undeclared)


class Taken(NamedTuple):
    """Events of a kind with times of one day (since the Unix epoch) that the series store took.

    ``found`` is how many it held when it was asked since, None where it was not.
    """

    day: int
    kind: str
    stored: int
    found: int | None


@dataclass(slots=True)
class Law:
    """The law of ``[start, end)`` (ms), which are whole hours, or days that were joined.

    ``put_back`` are events of dead letters that were replayed: they come in a second time, and
    their letters stay where they were counted. ``unknown`` are losses that nobody can count.
    ``cut_off`` are logs that ended in the period with their collector's death: of what came last
    and has no number there nobody knows. ``unsettled`` are days of which the store holds more than
    was counted, which what such a log, or one that goes on, stored last may be. ``days`` is how
    many days (UTC) have events of the period's time, ``compared`` of how many of them the store was
    asked. ``since`` is when the accounts begin, None while there are none.
    """

    start: int
    end: int
    since: int | None
    total: Flow = field(default_factory=Flow)
    put_back: int = 0
    unknown: int = 0
    cut_off: int = 0
    days: int = 0
    compared: int = 0
    differences: list[Taken] = field(default_factory=list)
    unsettled: list[Taken] = field(default_factory=list)
    edges: dict[tuple[str, str], Flow] = field(default_factory=dict)
    """By (site, edge); an empty edge: what came without one."""

    @property
    def exact(self) -> bool:
        """Tell whether everything that came is accounted for, and the store holds what it took."""
        return self.total.exact and not self.differences

    def flow(self, site: str, edge: str) -> Flow:
        """Return an edge's flow, a new one where there is none."""
        return self.edges.setdefault((site, edge), Flow())


def law(session: Session, start: int, end: int) -> Law:
    """Return the law of the hours that ``[start, end)`` (ms) touches."""
    start, end = _widened(session, start, end)
    found = Law(start, end, session.scalar(select(func.min(LedgerLog.began_at))))
    _add_lines(session, found)
    _add_waiting(session, found)
    _add_losses(session, found)
    _add_days(session, found)
    for name in Flow.__dataclass_fields__:
        setattr(found.total, name, sum(getattr(flow, name) for flow in found.edges.values()))
    return found


def _widened(session: Session, start: int, end: int) -> tuple[int, int]:
    def edge(moment: int, *, up: bool) -> int:
        day = moment - moment % DAY_MS
        joined = select(LedgerLine.start).where(LedgerLine.start == day, LedgerLine.hours > 1)
        size = DAY_MS if session.scalar(joined.limit(1)) is not None else HOUR_MS
        return moment - moment % size if not up else -(-moment // size) * size

    return edge(start, up=False), edge(end, up=True)


def _settled(session: Session) -> ColumnElement[bool]:
    """Return which lines nobody will add to, as far as is known.

    A log that has a successor is over: what it had not brought to its stores is not under way.
    """
    line = LedgerLine
    newest = select(LedgerLog.log).order_by(LedgerLog.began_at.desc(), LedgerLog.log).limit(1)
    log = session.scalar(newest)
    if log is None or session.get(LedgerTenure, log) is not None:
        return true()
    cursors = {each: projection.cursor(session, each.cursor(log))[0] for each in Witness}
    came = cursors[Witness.RECEIVED]
    through = case(
        (line.lane == Lane.MEDIA.value, min(came, cursors[Witness.MEDIA])),
        else_=min(came, cursors[Witness.SERIES]),
    )
    return or_(line.log != log, line.last_pos <= through)


def _add_lines(session: Session, law: Law) -> None:
    line = LedgerLine
    settled = _settled(session)
    rest = line.events + line.rejects - line.stored - line.dead
    query = (
        select(
            line.site, line.edge, line.lane, _sum(line.events + line.rejects), _sum(line.stored),
            _sum(line.dead), _sum_of(and_(~settled, rest > 0), rest),
            _sum_of(and_(~settled, rest < 0), -rest), _sum_of(and_(settled, rest > 0), rest),
            _sum_of(and_(settled, rest < 0), -rest),
        )
        .where(line.start >= law.start, line.start < law.end)
        .group_by(line.site, line.edge, line.lane)
    )  # fmt: skip
    for site, edge, lane, *sums in session.execute(query):
        # PostgreSQL adds integers up to decimals.
        events, stored, dead, waits, ahead, missing, surplus = map(int, sums)
        flow = law.flow(site, edge)
        if lane == REPLAY:
            law.put_back += events + ahead
        else:
            flow.received += events + ahead  # what is stored was received, though not told yet
        flow.stored += stored
        flow.dead += dead
        flow.on_its_way += waits
        flow.missing += missing
        flow.surplus += surplus


def _add_waiting(session: Session, law: Law) -> None:
    """Add what came to logs that end with a tenure and is not settled yet."""
    log = LedgerTenure
    query = select(log.site, log.waiting, log.ended_at, log.is_cut).where(
        or_(log.ended_at.is_(None), log.is_cut)
    )
    for site, waiting, ended_at, is_cut in session.execute(query):
        law.cut_off += is_cut and law.start <= ended_at < law.end
        for hour, edge, events in waiting:
            if law.start <= hour < law.end:
                flow = law.flow(site, edge)
                flow.received += events
                flow.on_its_way += events


def _sum(what: ColumnElement[Any] | Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(what), 0)


def _sum_of(condition: ColumnElement[bool], what: Any) -> ColumnElement[Any]:
    return _sum(case((condition, what), else_=0))


def _add_losses(session: Session, law: Law) -> None:
    """Settle what was declared, and look for batches that nobody accounts for."""
    ledger, holes = Ledger(0, 0), []
    row = DeclaredLoss
    losses = select(
        row.at, row.site, row.edge, row.epoch, row.lane, row.first_seq, row.last_seq, row.events,
        row.reason,
    )  # fmt: skip
    for loss in session.execute(losses.where(row.at < law.end)):
        stream = Stream(loss.site, loss.edge, loss.epoch, loss.lane)
        if loss.events is not None:
            ledger.declare(stream, loss.first_seq, loss.last_seq, loss.events, loss.at)
        elif loss.reason == _HOLE:
            seqs = range(loss.first_seq, loss.last_seq + 1)
            ledger.account(stream).passed.update(seqs)
            holes.append((loss.at, stream, seqs))
        elif loss.at >= law.start:
            law.unknown += 1
    for stream, (_, last, _) in _runs(session, 0, law.end, ledger.streams()).items():
        ledger.account(stream).last = last
    ledger.close()
    for stream, at, events in ledger.counted:
        if at >= law.start:
            law.flow(stream.site, stream.edge).dropped += events
    for at, stream, seqs in holes:
        if at >= law.start:
            uncounted = ledger.account(stream).uncounted.intersection(seqs)
            law.flow(stream.site, stream.edge).undeclared += len(uncounted)
    _add_gaps(session, law, {stream: a.passed for stream, a in ledger.accounts.items()})


def _add_gaps(session: Session, law: Law, passed: dict[Stream, set[int]]) -> None:
    runs = _runs(session, law.start, law.end)
    before = _runs(session, law.start - _BEFORE_MS, law.start)
    for stream, (first, last, batches) in runs.items():
        after = before[stream][1] if stream in before else first - 1
        over = sum(after < seq <= last for seq in passed.get(stream, ()))
        law.flow(stream.site, stream.edge).absent += abs(last - after - batches - over)


def _runs(
    session: Session, start: int, end: int, only: set[Stream] | None = None
) -> dict[Stream, tuple[int, int, int]]:
    """Return the first and the last seq of each numbered lane, and how many batches came."""
    line = LedgerLine
    key = (line.site, line.edge, line.epoch, line.lane)
    query = (
        select(*key, func.min(line.first_seq), func.max(line.last_seq), func.sum(line.batches))
        .where(line.start >= start, line.start < end)
        .where(line.batches > 0, line.lane.not_in(sorted(OTHERS)))
        .group_by(*key)
    )
    queries = [query]
    if only is not None:
        pairs = sorted({(stream.edge, stream.epoch) for stream in only})
        queries = [query.where(tuple_(line.edge, line.epoch).in_(some)) for some in chunks(pairs)]
    return {
        Stream(site, edge, epoch, lane): (first, last, int(batches))
        for query in queries
        for site, edge, epoch, lane, first, last, batches in session.execute(query)
    }


def _add_days(session: Session, law: Law) -> None:
    days = Counter[int]()
    unsettled = unsettled_days(session)
    for row in taken(session, law.start // DAY_MS, -(-law.end // DAY_MS)):
        days[row.day] += row.found is None
        if row.found is not None and row.found != row.stored:
            (law.unsettled if unsettled.explain(row) else law.differences).append(row)
    law.days = len(days)
    law.compared = sum(not unasked for unasked in days.values())


class Unsettled(NamedTuple):
    """Days (first, last) of which a log that ends with a tenure may have stored more.

    It counts what is settled: what it stored since is not counted yet, or never if it was cut off.
    """

    spans: list[tuple[int, int]]

    def explain(self, row: Taken) -> bool:
        """Tell whether the store may for that hold more than it is known to have taken."""
        return (row.found or 0) > row.stored and any(
            first <= row.day <= last for first, last in self.spans
        )


def unsettled_days(session: Session) -> Unsettled:
    """Return of which days the store may hold more than it is known to have taken."""
    log = LedgerTenure
    query = select(log.kept_at, log.ended_at).where(or_(log.ended_at.is_(None), log.is_cut))
    return Unsettled([
        (kept_at // DAY_MS, _NO_DAY if ended_at is None else ended_at // DAY_MS)
        for kept_at, ended_at in session.execute(query)
    ])  # fmt: skip


def taken(session: Session, first: int, end: int) -> list[Taken]:
    """Return what the series store took of the days ``[first, end)``, by day and kind.

    Where accounts began in the midst of things, days that may have events from before are left
    out, with a day's grace for clocks that were ahead.
    """
    oldest = session.execute(
        select(LedgerLog.began_at, LedgerLog.begin).order_by(LedgerLog.began_at).limit(1)
    ).one_or_none()
    midway = list(
        session.scalars(
            select(LedgerLog.began_at)
            .join(LedgerTenure, LedgerTenure.log == LedgerLog.log)
            .where(LedgerTenure.midway)
        )
    )
    if oldest is not None and oldest.begin > 0:
        midway.append(oldest.began_at)
    first = max([first, *(began_at // DAY_MS + 2 for began_at in midway)])
    query = select(LedgerDay).where(LedgerDay.day >= first, LedgerDay.day < end)
    return [
        Taken(row.day, row.kind, row.stored, row.found if row.found_of == row.stored else None)
        for row in session.scalars(query.order_by(LedgerDay.day, LedgerDay.kind))
    ]
