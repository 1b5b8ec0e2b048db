"""Throttling of sign-in: so many failures by account and by address within a window.

An attempt is noted as failed before its password is looked at, and corrected when it was
right; so a thousand guesses at once are throttled like a thousand one after the other. Unknown
names are counted like known ones, so the throttle does not tell which names exist.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from core.storage.records.account_models import SignInAttempt

WINDOW_MS = 15 * 60 * 1000
BY_NAME = 5
BY_ADDRESS = 20


def wait_ms(session: Session, now: int, name: str, address: str) -> int:
    """Return how long (ms) the next attempt has to wait; 0: it may be made now."""
    account = _key(name)
    succeeded = session.scalar(
        select(func.max(SignInAttempt.at)).where(
            SignInAttempt.name == account, SignInAttempt.success.is_(True)
        )
    )
    since = now - WINDOW_MS
    by_name = _nth_newest(
        session, SignInAttempt.name == account, max(since, succeeded or 0), BY_NAME
    )
    by_address = _nth_newest(session, SignInAttempt.address == address, since, BY_ADDRESS)
    return max(by_name + WINDOW_MS - now, by_address + WINDOW_MS - now, 0)


def begin_attempt(session: Session, now: int, name: str, address: str) -> int:
    """Note an attempt, as failed until it is known better; return its id."""
    row = SignInAttempt(at=now, name=_key(name), address=address, success=False)
    session.add(row)
    session.flush()
    return row.id


def succeed(session: Session, attempt: int) -> None:
    """Note that an attempt was right; the account's earlier failures no longer count."""
    session.execute(update(SignInAttempt).where(SignInAttempt.id == attempt).values(success=True))


def _nth_newest(session: Session, of: ColumnElement[bool], since: int, n: int) -> int:
    found = session.scalar(
        select(SignInAttempt.at)
        .where(of, SignInAttempt.success.is_(False), SignInAttempt.at > since)
        .order_by(SignInAttempt.at.desc())
        .offset(n - 1)
        .limit(1)
    )
    return found or 0


def _key(name: str) -> str:
    return name.strip().casefold()
