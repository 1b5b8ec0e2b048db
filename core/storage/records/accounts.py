"""Accounts, browser sessions, one-time sign-in links, throttling and the audit trail.

Passwords arrive hashed. Tokens arrive as they are and only their SHA-256 is stored; they must
be random (at least 128 bits), which is why a plain hash suffices. Times are ms (UTC).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.contracts.errors import ContractError
from core.storage.records.account_models import (
    AuditRow,
    SessionRow,
    SignInAttempt,
    SignInLink,
    UserRow,
)
from core.storage.records.errors import NameTakenError
from core.storage.records.paging import decode_key, encode_key

_NAME_LENGTH = 64


def token_hash(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _name(name: str) -> str:
    return name.strip().casefold()


# -- accounts ------------------------------------------------------------------------------


def create_user(
    session: Session, name: str, role: str, now: int, password_hash: str | None = None
) -> UserRow:
    """Create an account; ``name`` has 1 to 64 characters.

    Raises:
        NameTakenError: there is one, whatever the case.
        ContractError: the name is empty or too long.
    """
    if not 1 <= len(_name(name)) <= _NAME_LENGTH:
        raise ContractError(f"has 1 to {_NAME_LENGTH} characters", field="name")
    user = UserRow(name=_name(name), role=role, password_hash=password_hash, created_at=now)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise NameTakenError(_name(name)) from None
    return user


def find_user(session: Session, name: str) -> UserRow | None:
    """Return an account by its name, whatever the case."""
    return session.scalar(select(UserRow).where(UserRow.name == _name(name)))


def list_users(session: Session) -> list[UserRow]:
    """Return every account by name."""
    return list(session.scalars(select(UserRow).order_by(UserRow.name)))


def set_password(
    session: Session, user_id: int, password_hash: str, *, keep_session: str | None = None
) -> None:
    """Set a password's hash and end the account's sessions, but the one of ``keep_session``."""
    session.execute(
        update(UserRow).where(UserRow.id == user_id).values(password_hash=password_hash)
    )
    ended = delete(SessionRow).where(SessionRow.user_id == user_id)
    if keep_session is not None:
        ended = ended.where(SessionRow.token_hash != token_hash(keep_session))
    session.execute(ended)


def disable_user(session: Session, user_id: int, now: int) -> None:
    """Disable an account and end its sessions and links."""
    session.execute(update(UserRow).where(UserRow.id == user_id).values(disabled_at=now))
    session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))
    session.execute(delete(SignInLink).where(SignInLink.user_id == user_id))


# -- sessions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A live session and its account."""

    user: UserRow
    created_at: int
    expires_at: int


def create_session(
    session: Session, token: str, user_id: int, now: int, expires_at: int, address: str = ""
) -> None:
    """Begin a browser's session."""
    session.add(
        SessionRow(
            token_hash=token_hash(token),
            user_id=user_id,
            created_at=now,
            expires_at=expires_at,
            address=address,
        )
    )
    session.flush()


def find_session(session: Session, token: str, now: int) -> SignedIn | None:
    """Return a session that has not expired, of an account that is not disabled."""
    row = session.execute(
        select(SessionRow, UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(
            SessionRow.token_hash == token_hash(token),
            SessionRow.expires_at > now,
            UserRow.disabled_at.is_(None),
        )
    ).one_or_none()
    return None if row is None else SignedIn(row[1], row[0].created_at, row[0].expires_at)


def delete_session(session: Session, token: str) -> None:
    """End a session; nothing happens when there is none."""
    session.execute(delete(SessionRow).where(SessionRow.token_hash == token_hash(token)))


# -- one-time links ------------------------------------------------------------------------


def create_link(session: Session, token: str, user_id: int, now: int, expires_at: int) -> None:
    """Create a link that signs in once, until ``expires_at``."""
    session.add(
        SignInLink(
            token_hash=token_hash(token), user_id=user_id, created_at=now, expires_at=expires_at
        )
    )
    session.flush()


def use_link(session: Session, token: str, now: int) -> UserRow | None:
    """Use a link up and return its account; None when used, expired, unknown or disabled.

    Of several who try at once exactly one succeeds.
    """
    user_id = session.scalar(
        update(SignInLink)
        .where(
            SignInLink.token_hash == token_hash(token),
            SignInLink.used_at.is_(None),
            SignInLink.expires_at > now,
        )
        .values(used_at=now)
        .returning(SignInLink.user_id)
    )
    if user_id is None:
        return None
    return session.scalar(
        select(UserRow).where(UserRow.id == user_id, UserRow.disabled_at.is_(None))
    )


# -- throttling ----------------------------------------------------------------------------


def record_attempt(session: Session, at: int, name: str, address: str, *, success: bool) -> None:
    """Note an attempt to sign in."""
    session.add(SignInAttempt(at=at, name=_name(name), address=address, success=success))
    session.flush()


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed attempts within a window: by name since its last success, and by address."""

    by_name: int
    by_address: int


def failures_since(session: Session, since: int, name: str, address: str) -> Failures:
    """Count the failed attempts since ``since`` (ms)."""
    failed = select(func.count()).select_from(SignInAttempt).where(SignInAttempt.success.is_(False))
    succeeded = session.scalar(
        select(func.max(SignInAttempt.at)).where(
            SignInAttempt.name == _name(name), SignInAttempt.success.is_(True)
        )
    )
    by_name = session.scalar(
        failed.where(
            SignInAttempt.name == _name(name), SignInAttempt.at > max(since - 1, succeeded or 0)
        )
    )
    by_address = session.scalar(
        failed.where(SignInAttempt.address == address, SignInAttempt.at >= since)
    )
    return Failures(by_name or 0, by_address or 0)


# -- audit ---------------------------------------------------------------------------------


def audit(
    session: Session,
    at: int,
    user: str | None,
    action: str,
    target: str = "",
    address: str = "",
    detail: dict[str, Any] | None = None,
) -> None:
    """Leave a line in the audit trail: who did what to what, when, from where."""
    session.add(
        AuditRow(
            at=at, user=user, action=action, target=target, address=address, detail=detail or {}
        )
    )
    session.flush()


@dataclass(frozen=True, slots=True)
class Who:
    """Who decides, from where, by the wall clock (``at``, ms): for the audit."""

    name: str
    at: int
    address: str = ""


def audit_by(
    session: Session, who: Who, action: str, target: str, detail: dict[str, Any] | None = None
) -> None:
    """Leave a line in the audit trail of what somebody decided."""
    audit(session, who.at, who.name, action, target, who.address, detail)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of the audit trail; ``next`` is the ``before`` of the next page."""

    items: list[AuditRow]
    next: str | None


def list_audit(
    session: Session, *, target: str | None = None, limit: int = 100, before: str | None = None
) -> AuditPage:
    """Return a page of the audit trail, newest first; raise ContractError on a bad ``before``."""
    query = select(AuditRow).order_by(AuditRow.id.desc())
    if target is not None:
        query = query.where(AuditRow.target == target)
    if before is not None:
        query = query.where(AuditRow.id < decode_key(before, int)[0])
    rows = list(session.scalars(query.limit(limit + 1)))
    return AuditPage(rows[:limit], encode_key(rows[limit - 1].id) if len(rows) > limit else None)


# -- housekeeping --------------------------------------------------------------------------


def remove_expired(session: Session, now: int, attempts_before: int) -> dict[str, int]:
    """Remove expired sessions and links and old attempts; return how many of each."""
    return {
        "sessions": _removed(session, delete(SessionRow).where(SessionRow.expires_at <= now)),
        "links": _removed(session, delete(SignInLink).where(SignInLink.expires_at <= now)),
        "attempts": _removed(
            session, delete(SignInAttempt).where(SignInAttempt.at < attempts_before)
        ),
    }


def _removed(session: Session, statement: Any) -> int:
    return int(getattr(session.execute(statement), "rowcount", 0))
