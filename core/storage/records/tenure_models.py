"""The tables of several collectors (ADR 0026); times are ms of the database's clock."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from core.storage.records.base import Base, CleanJson, CleanText, Long


class CollectorRow(Base):
    """One of several collectors; it lives until ``lease_until`` (ms of the database's clock)."""

    __tablename__ = "collector"

    name: Mapped[str] = mapped_column(CleanText, primary_key=True)
    instance: Mapped[str] = mapped_column(CleanText)
    lease_until: Mapped[int] = mapped_column(Long)


class TenureRow(Base):
    """Which of several collectors a site belongs to, and what the next one goes on from.

    ``wanted`` is whose it is to be (None: anybody's). ``term`` grows with each new owner, ``log``
    is the identity of its log, ``lanes`` what is stored: ``{edge: [[epoch, {lane: seq}]]}``.
    """

    __tablename__ = "tenure"

    site: Mapped[str] = mapped_column(CleanText, primary_key=True)
    collector: Mapped[str | None] = mapped_column(CleanText)
    wanted: Mapped[str | None] = mapped_column(CleanText)
    term: Mapped[int] = mapped_column(Long)
    log: Mapped[str] = mapped_column(CleanText)
    since: Mapped[int] = mapped_column(Long)
    lanes: Mapped[dict[str, list[tuple[str, dict[str, int]]]]] = mapped_column(CleanJson)
