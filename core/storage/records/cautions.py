"""The projections' notes of what crashed them, kept with their cursors (ADR 0028)."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.contracts.left_out import LeftOut, Notes, Stage
from core.storage.records import projection
from core.storage.records.models import CursorRow

_decode_notes = msgspec.json.Decoder(Notes).decode


def keep(session: Session, log: str, name: str, notes: Notes) -> None:
    """Keep the notes of one projection of a log in place of its former ones."""
    position = 0 if notes.trying is None else notes.trying.first
    projection.save_cursor(session, _prefix(log) + name, position, msgspec.json.encode(notes))


def load(session: Session, log: str) -> dict[str, Notes]:
    """Return the notes of every projection of a log, by its name."""
    prefix = _prefix(log)
    rows = session.execute(
        select(CursorRow.projector, CursorRow.snapshot).where(
            CursorRow.projector.startswith(prefix, autoescape=True)
        )
    )
    return {
        row.projector.removeprefix(prefix): _decode_notes(row.snapshot)
        for row in rows
        if row.snapshot is not None
    }


def forget(session: Session, log: str) -> None:
    """Forget the notes of a log that is given up."""
    session.execute(
        delete(CursorRow).where(CursorRow.projector.startswith(_prefix(log), autoescape=True))
    )


def unread(session: Session, log: str) -> dict[int, list[LeftOut]]:
    """Return what of a log no reader is to touch, by position: its reading crashed."""
    found: dict[int, list[LeftOut]] = {}
    for notes in load(session, log).values():
        for mark in notes.left_out:
            if mark.stage is Stage.READ:
                found.setdefault(mark.pos, []).append(mark)
    return found


def _prefix(log: str) -> str:
    # Not "…/{log}", as the cursors are named that count a log's positions.
    return f"caution/{log}/"
