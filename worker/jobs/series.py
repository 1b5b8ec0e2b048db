"""Retires the days of the embedded series store that are past their retention.

InfluxDB does that itself: its database is made with the retention that the settings name.
"""

from __future__ import annotations

from core.storage.series import expire
from worker.jobs.job import HOUR_S, Job, Tools, days_before


def job(tools: Tools) -> Job:
    """Return the job."""
    settings = tools.settings

    def run(now_ms: int) -> str:
        if settings.series.kind != "embedded":
            return f"{settings.series.kind} keeps its own retention"
        folder = settings.data / "series"
        if not folder.is_dir():
            return "there is no series store yet"
        retired = expire(folder, days_before(now_ms, settings.series.retention_days))
        return f"{len(retired)} days retired"

    return Job("series retention", HOUR_S, run)
