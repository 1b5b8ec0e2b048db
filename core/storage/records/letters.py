"""What people decide about dead letters, and what became of it.

A replay is asked for here and carried out by the collector, who owns the log; the row says that
it is in the log in the transaction in which the rules' cursor passes it (ADR 0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.contracts.batch import MAX_RAW_BYTES
from core.contracts.errors import ContractError
from core.contracts.letters import ORIGIN, Contents, LetterState, Origin, open_letter
from core.storage.records import accounts, changes, counters
from core.storage.records.accounts import Who
from core.storage.records.errors import DecidedError, NotFoundError
from core.storage.records.models import DeadLetterRow
from core.storage.records.refusals import state_of
from core.storage.records.tenure_models import TenureRow

_MOST_REASON = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A letter that is to be put back into the log, with what is in it now."""

    id: str
    by: str
    origin: Origin
    raw: bytes


@dataclass(frozen=True, slots=True)
class Replayed:
    """A letter that the log holds again; ``where`` is the place in it, ``at`` when (ms)."""

    id: str
    at: int
    by: str
    where: str


def get_letter(session: Session, letter: str) -> DeadLetterRow:
    """Return a dead letter; raise :class:`NotFoundError`."""
    row = session.get(DeadLetterRow, letter)
    if row is None:
        raise NotFoundError("dead letter", letter)
    return row


def ask_replay(
    session: Session, letter: str, who: Who, now: int, *, reason: str, mended: bytes | None = None
) -> Contents:
    """Ask for a letter to be put back, as it is or ``mended``; return what it brings.

    Raises:
        NotFoundError: there is no such letter.
        DecidedError: it is replayed already, or a replay is on its way.
        ContractError: no reason is given, or what is in it still breaks the contract.
    """
    _need_reason(reason)
    row = get_letter(session, letter)
    if (state := state_of(row)) in (LetterState.REPLAYED, LetterState.ASKED):
        raise DecidedError(letter, state)
    if row.origin is None:
        raise ContractError(
            "this letter does not tell where it belongs (a picture, or kept by an older program)",
            field="letter", remedy="discard it",
        )  # fmt: skip
    if mended is not None and len(mended) > MAX_RAW_BYTES:
        raise ContractError(f"longer than {MAX_RAW_BYTES} bytes", field="raw")
    contents = open_letter(origin_of(row), row.raw if mended is None else mended)
    values = {
        "asked_at": now,
        "asked_by": who.name,
        "why": reason,
        "mended": mended,
        "problem": None,
        "discarded_at": None,
        "discarded_by": None,
    }
    # Of two who ask at once, one is told that the other was first.
    if not _decided(session, letter, values):
        raise DecidedError(letter, LetterState.ASKED)
    detail = {"source": row.source, "reason": reason, "mended": mended is not None}
    accounts.audit_by(session, who, "deadletter.replay", f"deadletter/{letter}", detail)
    return contents


def discard(session: Session, letter: str, who: Who, now: int, *, reason: str) -> None:
    """Say that a letter is of no use; it is kept. Raises as :func:`ask_replay` does."""
    _need_reason(reason)
    row = get_letter(session, letter)
    if (state := state_of(row)) is not LetterState.DEAD:
        raise DecidedError(letter, state)
    values = {"discarded_at": now, "discarded_by": who.name, "why": reason}
    if not _decided(session, letter, values):
        raise DecidedError(letter, LetterState.ASKED)
    detail = {"source": row.source, "reason": reason}
    accounts.audit_by(session, who, "deadletter.discard", f"deadletter/{letter}", detail)


def _need_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _MOST_REASON:
        raise ContractError(f"say why, in at most {_MOST_REASON} characters", field="reason")


def _decided(session: Session, letter: str, values: dict[str, object]) -> bool:
    result = session.execute(
        update(DeadLetterRow)
        .where(
            DeadLetterRow.id == letter,
            DeadLetterRow.asked_at.is_(None),
            DeadLetterRow.replayed_at.is_(None),
        )
        .values(values),
        execution_options={"synchronize_session": False},
    )
    return bool(getattr(result, "rowcount", 0))


def origin_of(row: DeadLetterRow) -> Origin:
    """Return where a letter came from."""
    return msgspec.convert(row.origin, ORIGIN.type)


def asked(session: Session, limit: int, site: str | None = None) -> list[Asked]:
    """Return the letters whose replay is not carried out yet, first asked first.

    ``site`` wants those of one of several collectors' sites; what is of no site goes with the
    first of them.
    """
    wanted: ColumnElement[bool] = DeadLetterRow.asked_at.is_not(None)
    if site is not None:
        first = select(func.min(TenureRow.site)).scalar_subquery()
        nobodys = and_(DeadLetterRow.site.is_(None), first == site)
        wanted = and_(wanted, or_(DeadLetterRow.site == site, nobodys))
    rows = session.scalars(
        select(DeadLetterRow)
        .where(wanted)
        .order_by(DeadLetterRow.asked_at, DeadLetterRow.id)
        .limit(limit)
    )
    return [
        Asked(
            row.id,
            row.asked_by or "",
            origin_of(row),
            row.raw if row.mended is None else row.mended,
        )
        for row in rows
    ]


def mark_replayed(session: Session, replayed: Sequence[Replayed], now: int) -> int:
    """Note that letters are in the log again; return of how many that was news.

    Told to the live sequence and to the audit at ``now`` (ms); the same again changes nothing.
    """
    if not replayed:
        return 0
    changes.lock(session)
    news = [item for item in replayed if _mark(session, item)]
    if news:
        counters.add(session, counters.DEAD_LETTERS_REPLAYED, len(news))
    for item in news:
        row = get_letter(session, item.id)
        accounts.audit(
            session, now, item.by, "deadletter.replayed", f"deadletter/{item.id}", "",
            {"as": item.where},
        )  # fmt: skip
        payload = {
            "added": 0,
            "total": counters.read(session, counters.DEAD_LETTERS),
            "newest": {"id": row.id, "source": row.source, "reason": row.reason},
        }
        changes.append_change(session, "deadletter", row.id, payload, now)
    return len(news)


def _mark(session: Session, item: Replayed) -> bool:
    result = session.execute(
        update(DeadLetterRow)
        .where(DeadLetterRow.id == item.id, DeadLetterRow.replayed_at.is_(None))
        .values(
            replayed_at=item.at, replayed_by=item.by, replayed_as=item.where,
            asked_at=None, problem=None,
        ),
        execution_options={"synchronize_session": False},
    )  # fmt: skip
    return bool(getattr(result, "rowcount", 0))


def note_problem(session: Session, letter: str, problem: str) -> None:
    """Note why a replay that was asked for could not be carried out; it may be asked again."""
    session.execute(
        update(DeadLetterRow)
        .where(DeadLetterRow.id == letter, DeadLetterRow.replayed_at.is_(None))
        .values(problem=problem, asked_at=None),
        execution_options={"synchronize_session": False},
    )
