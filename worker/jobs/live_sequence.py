"""Trims the live sequence; a client that resumes from before it loads everything anew."""

from __future__ import annotations

from core.storage.records import changes
from worker.jobs.job import DAY_MS, MINUTE_S, Job, Tools

KEEP_DAYS = 7
#: A street's storm of alerts may not fill the disk before the days are over.
KEEP_ROWS = 1_000_000


def job(tools: Tools, *, keep_rows: int = KEEP_ROWS) -> Job:
    """Return the job."""

    def run(now_ms: int) -> str:
        with tools.records.session() as session:
            removed = changes.trim_changes(session, now_ms - KEEP_DAYS * DAY_MS, keep=keep_rows)
        return f"{removed} changes removed"

    return Job("live sequence", 10 * MINUTE_S, run)
