"""The live sequence: every change that clients follow has a number, visible in order.

A number is taken from one row whose lock is held until the commit, so number *n* is never
visible before *n-1*: a reader that saw *n* has seen everything before it. A transaction that
changes what the sequence tells takes that lock first of all (:func:`lock`), which puts such
transactions into one order and keeps them from waiting for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from core.storage.records import counters
from core.storage.records.models import Change, Counter
from core.storage.records.sql import execute_many, table

Topic = Literal[
    "alert", "colour", "presence", "edge", "process", "topology", "deadletter", "standstill"
]

_SEQUENCE = "change"


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change that has no number yet; ``ref`` is the id of what changed."""

    topic: Topic
    ref: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveChange:
    """One entry of the live sequence; ``at`` is ms (UTC)."""

    seq: int
    at: int
    topic: str
    ref: str
    payload: dict[str, Any]


def lock(session: Session) -> None:
    """Take the sequence's lock until the end of the transaction."""
    _advance(session, 0)


def append_change(
    session: Session, topic: Topic, ref: str, payload: dict[str, Any], at: int
) -> int:
    """Append one change at ``at`` (ms) and return its number."""
    return append_changes(session, [NewChange(topic, ref, payload)], at)


def append_changes(session: Session, changes: Sequence[NewChange], at: int) -> int:
    """Append changes at ``at`` (ms), in order, and return the last number."""
    last = _advance(session, len(changes))
    first = last - len(changes) + 1
    execute_many(
        session,
        insert(table(Change)),
        [
            {"seq": seq, "at": at, "topic": item.topic, "ref": item.ref, "payload": item.payload}
            for seq, item in enumerate(changes, first)
        ],
    )
    return last


def last_of(session: Session, topic: Topic) -> dict[str, Any] | None:
    """Return what the newest change of a topic carries, None where there is none (any more)."""
    query = select(Change.payload).where(Change.topic == topic)
    return session.scalar(query.order_by(Change.seq.desc()).limit(1))


def changes_since(session: Session, seq: int, limit: int = 1_000) -> list[LiveChange]:
    """Return at most ``limit`` changes after ``seq``, oldest first."""
    rows = session.execute(
        select(Change.seq, Change.at, Change.topic, Change.ref, Change.payload)
        .where(Change.seq > seq)
        .order_by(Change.seq)
        .limit(limit)
    )
    return [LiveChange(*row) for row in rows]


def last_seq(session: Session) -> int:
    """Return the number of the newest change (0: there was none)."""
    value = session.scalar(select(Counter.value).where(Counter.name == _SEQUENCE))
    return value or 0


def first_seq(session: Session) -> int:
    """Return the lowest number still kept, or the next one to come when none is.

    A client that has seen ``since`` can resume when ``since >= first_seq - 1``.
    """
    first = session.scalar(select(func.min(Change.seq)))
    return first if first is not None else last_seq(session) + 1


def trim_changes(session: Session, before_ms: int, *, keep: int | None = None) -> int:
    """Remove the oldest changes up to the last one before ``before_ms``; return how many.

    ``keep`` bounds the rows: what lies beyond the newest ``keep`` goes whatever its age. Only
    a head is removed, so what is kept has no holes.
    """
    through = session.scalar(select(func.max(Change.seq)).where(Change.at < before_ms)) or 0
    if keep is not None:
        through = max(through, last_seq(session) - keep)
    removed = session.execute(delete(Change).where(Change.seq <= through))
    return int(getattr(removed, "rowcount", 0))


def begin_again(session: Session, leap: int) -> None:
    """Forget what was told and go on ``leap`` numbers above it: the records were restored.

    What another life of theirs told has numbers in between, so whoever heard it loads anew.
    """
    session.execute(delete(Change))
    _advance(session, leap)


def _advance(session: Session, count: int) -> int:
    return counters.add(session, _SEQUENCE, count)
