"""Named numbers that only grow, counted in the caller's transaction."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.storage.records.models import Counter
from core.storage.records.sql import upsert_statement

DEAD_LETTERS = "dead_letters"
DEAD_LETTERS_TRIMMED = "dead_letters_trimmed"
DEAD_LETTERS_REPLAYED = "dead_letters_replayed"
#: Dead letters of what crashed a projection and is left out by it (ADR 0028).
LEFT_OUT = "left_out"
#: Events of unknown senders for which the list had no room; they are stored like all others.
UNKNOWN_UNLISTED = "unknown_events_unlisted"
#: Grows with every adoption, so that the collector sees one by looking at a number.
ADOPTIONS = "adoptions"


def add(session: Session, name: str, count: int) -> int:
    """Add to a counter and return its value; its row stays locked until the commit."""
    statement = upsert_statement(session, Counter).values(name=name, value=count)
    value = session.scalar(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": Counter.value + count}
        ).returning(Counter.value)
    )
    if not isinstance(value, int):
        raise TypeError(f"counter {name}: an upsert returned {value!r}")
    return value


def read(session: Session, name: str) -> int:
    """Return a counter's value, 0 where nothing was counted."""
    return session.scalar(select(Counter.value).where(Counter.name == name)) or 0


def read_all(session: Session) -> dict[str, int]:
    """Return every counter by name."""
    return {row.name: row.value for row in session.scalars(select(Counter).order_by(Counter.name))}
