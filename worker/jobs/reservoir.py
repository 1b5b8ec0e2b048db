"""Exports each day that is over into the data reservoir, and again when late data came.

A few days back, too: an edge that was away brings its backlog when it returns.
"""

from __future__ import annotations

from datetime import date, timedelta

from core.contracts.ports import SeriesReader
from core.storage import reservoir
from core.storage.series import open_reader
from worker.jobs.job import HOUR_S, Job, Tools, days_before


def job(tools: Tools) -> Job:
    """Return the job."""
    settings = tools.settings.reservoir
    folder = tools.settings.reservoir_folder

    def run(now_ms: int) -> str:
        if not settings.export:
            return "off: reservoir.export is not set"
        removed = reservoir.expire(folder, days_before(now_ms, settings.retention_days))
        yesterday = days_before(now_ms - int(settings.after_h * 3_600_000), 1)
        reader = open_reader(tools.settings)
        try:
            rows = [
                rows
                for back in reversed(range(settings.look_back_days))
                if (rows := export(reader, yesterday - timedelta(days=back), now_ms)) is not None
            ]
        finally:
            reader.close()
        told = f"{len(rows)} days exported, {sum(rows)} rows"
        return f"{told}, {len(removed)} days removed" if removed else told

    def export(reader: SeriesReader, day: date, now_ms: int) -> int | None:
        """Export what is new of a day; return its rows, None where nothing is."""
        stale = reservoir.stale_kinds(reader, folder, day)
        if not stale:
            return None
        manifest = reservoir.export_day(reader, folder, day, now_ms, stale)
        return sum(rows for kind, rows in manifest.rows().items() if kind in stale)

    return Job("data reservoir", HOUR_S, run)
