"""The supervised processes and the worker's jobs: what runs, and how it went."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.storage.records import changes
from core.storage.records.models import JobRow, ProcessRow
from core.storage.records.sql import upsert


def set_process(
    session: Session,
    name: str,
    state: str,
    pid: int | None,
    restarts: int,
    since: int,
    message: str = "",
) -> bool:
    """Note a process's state since ``since`` (ms); tell whether it changed (then a change)."""
    changes.lock(session)
    row = {
        "name": name,
        "state": state,
        "pid": pid,
        "restarts": restarts,
        "since": since,
        "message": message,
    }
    stored = session.get(ProcessRow, name, populate_existing=True)
    if stored is not None and process_view(stored) == row:
        return False
    upsert(session, ProcessRow, [row])
    session.expire_all()
    changes.append_change(session, "process", name, row, since)
    return True


def list_processes(session: Session) -> list[dict[str, Any]]:
    """Return every process as the interface shows it, by name."""
    return [
        process_view(row) for row in session.scalars(select(ProcessRow).order_by(ProcessRow.name))
    ]


def process_view(row: ProcessRow) -> dict[str, Any]:
    """Return one process as the interface shows it."""
    return {
        "name": row.name,
        "state": row.state,
        "pid": row.pid,
        "restarts": row.restarts,
        "since": row.since,
        "message": row.message,
    }


def forget_processes(session: Session, keep: set[str]) -> int:
    """Remove the processes of an earlier run that are not among ``keep``; return how many."""
    removed = session.execute(delete(ProcessRow).where(ProcessRow.name.not_in(sorted(keep))))
    return int(getattr(removed, "rowcount", 0))


def record_job(
    session: Session, name: str, started_at: int, finished_at: int, *, ok: bool, message: str
) -> None:
    """Note how a job went; times in ms (UTC)."""
    stored = session.get(JobRow, name)
    if stored is None:
        stored = JobRow(name=name, runs=0, failures=0)
        session.add(stored)
    stored.started_at = started_at
    stored.finished_at = finished_at
    stored.ok = ok
    stored.message = message
    stored.runs += 1
    stored.failures += 0 if ok else 1


def list_jobs(session: Session) -> list[dict[str, Any]]:
    """Return how each job went the last time, and how often it ran and failed, by name."""
    return [
        {
            "name": row.name,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "ok": row.ok,
            "message": row.message,
            "runs": row.runs,
            "failures": row.failures,
        }
        for row in session.scalars(select(JobRow).order_by(JobRow.name))
    ]
