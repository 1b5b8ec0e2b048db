"""Trims the colours of the past to the retention of the series."""

from __future__ import annotations

from core.storage.records import devices
from worker.jobs.job import DAY_MS, HOUR_S, Job, Tools


def job(tools: Tools) -> Job:
    """Return the job."""

    def run(now_ms: int) -> str:
        before = now_ms - tools.settings.series.retention_days * DAY_MS
        with tools.records.session() as session:
            removed = devices.trim_colour_history(session, before)
        return f"{removed} colours removed"

    return Job("colour history", 6 * HOUR_S, run)
