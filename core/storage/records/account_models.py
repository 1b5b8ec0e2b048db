"""The tables of people: accounts, sessions, sign-in and the audit trail; times are ms (UTC).

No secret is stored as it is: passwords are argon2id hashes, tokens SHA-256 in hex.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.storage.records.base import Base, CleanJson, CleanText, Long


class UserRow(Base):
    """An account; ``name`` is stored case-folded. No password hash: only a link signs in."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(CleanText, unique=True)
    role: Mapped[str] = mapped_column(CleanText)
    password_hash: Mapped[str | None] = mapped_column(CleanText)
    created_at: Mapped[int] = mapped_column(Long)
    disabled_at: Mapped[int | None] = mapped_column(Long)


class SessionRow(Base):
    """A browser's session."""

    __tablename__ = "session"

    token_hash: Mapped[str] = mapped_column(CleanText, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[int] = mapped_column(Long)
    expires_at: Mapped[int] = mapped_column(Long, index=True)
    address: Mapped[str] = mapped_column(CleanText)


class SignInLink(Base):
    """A link that signs in once; ``used_at`` is set by whoever is first."""

    __tablename__ = "sign_in_link"

    token_hash: Mapped[str] = mapped_column(CleanText, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[int] = mapped_column(Long)
    expires_at: Mapped[int] = mapped_column(Long, index=True)
    used_at: Mapped[int | None] = mapped_column(Long)


class SignInAttempt(Base):
    """An attempt to sign in, for throttling by name and by address."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (
        Index("ix_sign_in_attempt_name_at", "name", "at"),
        Index("ix_sign_in_attempt_address_at", "address", "at"),
    )

    id: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(Long, index=True)
    name: Mapped[str] = mapped_column(CleanText)
    address: Mapped[str] = mapped_column(CleanText)
    success: Mapped[bool] = mapped_column(Boolean)


class AuditRow(Base):
    """Who did or saw what, when and from where."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_target_id", "target", "id"),)

    id: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(Long, index=True)
    user: Mapped[str | None] = mapped_column(CleanText)
    action: Mapped[str] = mapped_column(CleanText)
    target: Mapped[str] = mapped_column(CleanText)
    address: Mapped[str] = mapped_column(CleanText)
    detail: Mapped[dict[str, Any]] = mapped_column(CleanJson)
