"""What did not get through: dead letters, each with its reason, and declared losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_
from sqlalchemy.orm import Session

from core.contracts.batch import MAX_RAW_BYTES
from core.contracts.ledger import Line
from core.contracts.letters import MAX_WHOLE_BYTES, Family, LetterState, Origin
from core.storage.records import changes, counters, ledger
from core.storage.records.models import DeadLetterRow, DeclaredLoss
from core.storage.records.paging import decode_key, encode_key
from core.storage.records.sql import chunks, upsert

#: The order of the letters: when each was noted, then where it was journalled. A device's clock may
#: date an event to 1970, and its letter is new all the same.
_LETTER_KEYS = (DeadLetterRow.noted_at, DeadLetterRow.pos, DeadLetterRow.index)
#: The order of the losses: when each was journalled, then where.
_LOSS_KEYS = (DeclaredLoss.at, DeclaredLoss.pos, DeclaredLoss.index)


_STATES: dict[LetterState, ColumnElement[bool]] = {
    LetterState.DEAD: and_(
        DeadLetterRow.replayed_at.is_(None),
        DeadLetterRow.asked_at.is_(None),
        DeadLetterRow.discarded_at.is_(None),
    ),
    LetterState.ASKED: DeadLetterRow.asked_at.is_not(None),
    LetterState.REPLAYED: DeadLetterRow.replayed_at.is_not(None),
    LetterState.DISCARDED: DeadLetterRow.discarded_at.is_not(None),
}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something refused: entry ``pos`` of the collector's log, item ``index`` in it.

    ``source`` is the lane or topic, ``field`` the dotted path of the offending field, ``raw``
    its bytes (stored up to 64 KiB, whole batches up to 1 MiB), ``at`` ms (UTC). ``log`` is the
    log's identity, where there has been more than one. Without an ``origin`` it cannot be
    replayed. ``line`` is what its entry is counted under in the accounts, None where they begin
    later. ``entry`` is the entry's position in a log that ends with a tenure, where ``log`` and
    ``pos`` may name it otherwise: whoever settles the log accounts for it, and nobody here.
    """

    pos: int
    index: int
    at: int
    source: str
    reason: str
    field: str = ""
    raw: bytes = b""
    site: str | None = None
    log: str = ""
    origin: Origin | None = None
    line: Line | None = None
    entry: int | None = None

    @property
    def id(self) -> str:
        """Return the letter's id: ``{pos}-{index}``, after the log's identity if it has one."""
        return f"{self.log}-{self.pos}-{self.index}" if self.log else f"{self.pos}-{self.index}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page as the interface shows it; ``next`` is the ``before`` of the next page."""

    items: list[dict[str, Any]]
    next: str | None


def add_dead_letters(session: Session, rows: Sequence[DeadLetter], now: int) -> int:
    """Store dead letters, those already there but once; return how many were new.

    New ones are counted in ``dead_letters`` and told as one change at ``now`` (ms).
    """
    if not rows:
        return 0
    changes.lock(session)
    unique = {row.id: row for row in rows}
    known: set[str] = set()
    for ids in chunks(sorted(unique)):
        known |= set(session.scalars(select(DeadLetterRow.id).where(DeadLetterRow.id.in_(ids))))
    fresh = [row for key, row in unique.items() if key not in known]
    if not fresh:
        return 0
    upsert(
        session,
        DeadLetterRow,
        [
            {
                "id": row.id,
                "log": row.log,
                "pos": row.pos,
                "index": row.index,
                "at": row.at,
                "noted_at": now,
                "site": row.site,
                "source": row.source,
                "reason": row.reason,
                "field": row.field,
                "raw": row.raw[: _most(row.origin)],
                "origin": msgspec.to_builtins(row.origin),
            }
            for row in fresh
        ],
        update=(),
    )
    _account(session, fresh)
    total = counters.add(session, counters.DEAD_LETTERS, len(fresh))
    newest = max(fresh, key=lambda row: (row.pos, row.index))
    payload = {
        "added": len(fresh),
        "total": total,
        "newest": {"id": newest.id, "source": newest.source, "reason": newest.reason},
    }
    changes.append_change(session, "deadletter", newest.id, payload, now)
    return len(fresh)


def _account(session: Session, rows: Sequence[DeadLetter]) -> None:
    """Add letters to the accounts of their logs, but those from before the accounts begin."""
    rows = [row for row in rows if row.entry is None]
    for log in {row.log for row in rows if row.line is not None}:
        begin = ledger.beginning(session, log)
        if begin is None:
            continue
        lines: dict[Line, ledger.Counts] = {}
        for row in rows:
            if row.log == log and row.line is not None and row.pos > begin:
                counts = lines.setdefault(row.line, ledger.Counts())
                counts.dead += 1
                counts.last_pos = max(counts.last_pos, row.pos)
        ledger.add(session, log, lines)


def _most(origin: Origin | None) -> int:
    whole = origin is not None and origin.family is Family.BATCH
    return MAX_WHOLE_BYTES if whole else MAX_RAW_BYTES


def list_dead_letters(
    session: Session,
    *,
    state: LetterState | None = None,
    field: str | None = None,
    limit: int = 100,
    before: str | None = None,
) -> Page:
    """Return a page of dead letters, last noted first; raise ContractError on a bad ``before``.

    Each is as :func:`dead_letter_view` shows it. ``state`` and ``field`` (the one at fault)
    leave out all others.
    """
    query = select(DeadLetterRow).order_by(*(key.desc() for key in _LETTER_KEYS))
    if state is not None:
        query = query.where(_STATES[state])
    if field is not None:
        query = query.where(DeadLetterRow.field == field)
    if before is not None:
        query = query.where(tuple_(*_LETTER_KEYS) < tuple_(*decode_key(before, int, int, int)))
    rows = list(session.scalars(query.limit(limit + 1)))
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [dead_letter_view(row) for row in rows[:limit]],
        encode_key(last.noted_at, last.pos, last.index) if last else None,
    )


def dead_letter_view(row: DeadLetterRow) -> dict[str, Any]:
    """Return one dead letter as the interface shows it.

    ``raw`` is the text of its first 64 KiB as far as it is UTF-8, with U+FFFD for the rest.
    """
    return {
        "id": row.id,
        "pos": row.pos,
        "index": row.index,
        "at": row.at,
        "site": row.site,
        "source": row.source,
        "reason": row.reason,
        "field": row.field,
        "size": len(row.raw),
        "raw": row.raw[:MAX_RAW_BYTES].decode("utf-8", "replace"),
        "state": state_of(row),
        "replayable": row.origin is not None,
        "asked_at": row.asked_at,
        "asked_by": row.asked_by,
        "why": row.why,
        "problem": row.problem,
        "replayed_at": row.replayed_at,
        "replayed_by": row.replayed_by,
        "replayed_as": row.replayed_as,
        "discarded_at": row.discarded_at,
        "discarded_by": row.discarded_by,
    }


def state_of(row: DeadLetterRow) -> LetterState:
    """Return a letter's state, which follows from its times."""
    if row.replayed_at is not None:
        return LetterState.REPLAYED
    if row.asked_at is not None:
        return LetterState.ASKED
    return LetterState.DEAD if row.discarded_at is None else LetterState.DISCARDED


def count_dead_letters(session: Session) -> int:
    """Return how many dead letters are kept that no replay has brought back."""
    kept = select(func.count()).select_from(DeadLetterRow)
    return session.scalar(kept.where(DeadLetterRow.replayed_at.is_(None))) or 0


@dataclass(frozen=True, slots=True)
class Fresh:
    """How many letters were noted of late, the first of them when (ms), and the last one."""

    count: int
    first: int
    last: DeadLetterRow


def fresh_dead_letters(session: Session, since: int) -> Fresh | None:
    """Return the letters noted from ``since`` (ms) on that nobody has replayed or set aside."""
    which = and_(
        DeadLetterRow.noted_at >= since,
        DeadLetterRow.replayed_at.is_(None),
        DeadLetterRow.discarded_at.is_(None),
    )
    newest = select(DeadLetterRow).where(which).order_by(*(key.desc() for key in _LETTER_KEYS))
    last = session.scalars(newest.limit(1)).one_or_none()
    if last is None:
        return None
    count, first = session.execute(
        select(func.count(), func.min(DeadLetterRow.noted_at)).where(which)
    ).one()
    return Fresh(count, first, last)


def count_by_source(session: Session, log: str, start: int, end: int, last: int) -> dict[str, int]:
    """Return how many dead letters each source has of a log's entries up to ``last``.

    They are those with times in ``[start, end)`` (ms).
    """
    row = DeadLetterRow
    rows = session.execute(
        select(row.source, func.count())
        .where(row.log == log, row.at >= start, row.at < end, row.pos <= last)
        .group_by(DeadLetterRow.source)
    )
    return dict(list(rows))


def counted_losses(session: Session) -> list[DeclaredLoss]:
    """Return the losses whose events were counted, the oldest first."""
    query = select(DeclaredLoss).where(DeclaredLoss.events.is_not(None)).order_by(*_LOSS_KEYS)
    return list(session.scalars(query))


def total_losses(session: Session) -> int:
    """Return how many events have been declared dropped or lost, as far as that is known."""
    return int(session.scalar(select(func.sum(DeclaredLoss.events))) or 0)


def cap_dead_letters(session: Session, keep: int) -> int:
    """Remove the first noted beyond the last noted ``keep``; return how many.

    Those that nothing has brought back are counted in ``dead_letters_trimmed``. One whose replay
    was asked for stays until that is carried out.
    """
    changes.lock(session)
    key = session.execute(
        select(*_LETTER_KEYS).order_by(*(key.desc() for key in _LETTER_KEYS)).offset(keep).limit(1)
    ).one_or_none()
    if key is None:
        return 0
    old = (tuple_(*_LETTER_KEYS) <= tuple_(*key), DeadLetterRow.asked_at.is_(None))
    dead = _removed(session, *old, DeadLetterRow.replayed_at.is_(None))
    counters.add(session, counters.DEAD_LETTERS_TRIMMED, dead)
    return dead + _removed(session, *old)


def _removed(session: Session, *which: ColumnElement[bool]) -> int:
    result = session.execute(
        delete(DeadLetterRow).where(*which), execution_options={"synchronize_session": False}
    )
    return int(getattr(result, "rowcount", 0))


def list_losses(
    session: Session, *, edge: str | None = None, limit: int = 500, before: str | None = None
) -> Page:
    """Return a page of declared losses, newest first; raise ContractError on a bad ``before``."""
    query = select(DeclaredLoss).order_by(*(key.desc() for key in _LOSS_KEYS))
    if edge is not None:
        query = query.where(DeclaredLoss.edge == edge)
    if before is not None:
        query = query.where(tuple_(*_LOSS_KEYS) < tuple_(*decode_key(before, int, int, int)))
    rows = list(session.scalars(query.limit(limit + 1)))
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [loss_view(row) for row in rows[:limit]],
        encode_key(last.at, last.pos, last.index) if last else None,
    )


def loss_view(row: DeclaredLoss) -> dict[str, Any]:
    """Return one declared loss as the interface shows it."""
    return {column.name: getattr(row, column.name) for column in DeclaredLoss.__table__.columns}
