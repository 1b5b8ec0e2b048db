"""Keeps the dead letters within a cap; what goes is counted in ``dead_letters_trimmed``."""

from __future__ import annotations

from core.storage.records import refusals
from worker.jobs.job import MINUTE_S, Job, Tools

#: At 64 KiB each at most 3.2 GB, and in practice some ten megabytes.
KEEP = 50_000


def job(tools: Tools, *, keep: int = KEEP) -> Job:
    """Return the job."""

    def run(_now_ms: int) -> str:
        with tools.records.session() as session:
            removed = refusals.cap_dead_letters(session, keep)
        return f"{removed} dead letters removed"

    return Job("dead letters", 10 * MINUTE_S, run)
