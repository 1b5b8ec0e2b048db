"""The tables of the accounts of the conservation law; times are ms (UTC)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.storage.records.base import Base, CleanJson, CleanText, Long


class LedgerLog(Base):
    """A log that has accounts: those of what it holds above the position ``begin``."""

    __tablename__ = "ledger_log"

    log: Mapped[str] = mapped_column(CleanText, primary_key=True)
    began_at: Mapped[int] = mapped_column(Long)
    begin: Mapped[int] = mapped_column(Long)


class LedgerTenure(Base):
    """A log that ends with a tenure: one of several collectors has it while a site is its own.

    Its lines hold what is ``settled``, a position, as known at ``kept_at``. ``waiting`` is what is
    not yet, ``[[hour, edge, events]]``: of what is numbered the next log brings it again.
    ``ended_at`` is when it was over, ``is_cut`` if its end was never settled. ``midway``: a log of
    the site before it had no accounts.
    """

    __tablename__ = "ledger_tenure"

    log: Mapped[str] = mapped_column(CleanText, primary_key=True)
    site: Mapped[str] = mapped_column(CleanText)
    midway: Mapped[bool] = mapped_column(Boolean)
    settled: Mapped[int] = mapped_column(Long)
    kept_at: Mapped[int] = mapped_column(Long)
    waiting: Mapped[list[list[Any]]] = mapped_column(CleanJson)
    ended_at: Mapped[int | None] = mapped_column(Long)
    is_cut: Mapped[bool] = mapped_column(Boolean)


class LedgerLine(Base):
    """One lane of one edge in one hour of the log, or in one day (UTC) once its hours are joined.

    Each number has one witness, which adds to it beside its own cursor: the rules' projection what
    came (``first_seq`` to ``rejects``), the projection into a store what was ``stored``, whoever
    keeps a dead letter ``dead``. ``last_pos`` is the highest position that anybody counted.
    """

    __tablename__ = "ledger_line"
    __table_args__ = (Index("ix_ledger_line_edge_epoch", "edge", "epoch", "start"),)

    start: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=False)
    log: Mapped[str] = mapped_column(CleanText, primary_key=True)
    site: Mapped[str] = mapped_column(CleanText, primary_key=True)
    edge: Mapped[str] = mapped_column(CleanText, primary_key=True)
    epoch: Mapped[str] = mapped_column(CleanText, primary_key=True)
    lane: Mapped[str] = mapped_column(CleanText, primary_key=True)
    hours: Mapped[int] = mapped_column(Long)
    first_seq: Mapped[int] = mapped_column(Long)
    last_seq: Mapped[int] = mapped_column(Long)
    batches: Mapped[int] = mapped_column(Long)
    events: Mapped[int] = mapped_column(Long)
    rejects: Mapped[int] = mapped_column(Long)
    stored: Mapped[int] = mapped_column(Long)
    dead: Mapped[int] = mapped_column(Long)
    last_pos: Mapped[int] = mapped_column(Long)


class LedgerDay(Base):
    """How many events of a kind with times of one day (UTC) the series store took.

    ``found`` is how many it held when it was last asked, and ``found_of`` what ``stored`` was
    then: once both are alike the day is closed, until late data comes.
    """

    __tablename__ = "ledger_day"

    day: Mapped[int] = mapped_column(Long, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(CleanText, primary_key=True)
    stored: Mapped[int] = mapped_column(Long)
    found: Mapped[int | None] = mapped_column(Long)
    found_of: Mapped[int | None] = mapped_column(Long)
    found_at: Mapped[int | None] = mapped_column(Long)
