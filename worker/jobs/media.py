"""Removes snapshots that are past their retention."""

from __future__ import annotations

from core.storage.media import MediaStore
from worker.jobs.job import HOUR_S, Job, Tools, days_before


def job(tools: Tools) -> Job:
    """Return the job."""
    store = MediaStore(tools.settings.data / "media")

    def run(now_ms: int) -> str:
        removed = store.expire(days_before(now_ms, tools.settings.media.retention_days))
        return f"{removed} snapshots removed"

    return Job("media retention", HOUR_S, run)
