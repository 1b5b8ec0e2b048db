"""Exports each day that is over into the data reservoir, and again when late data came.

A few days back, too: an edge that was away brings its backlog when it returns. What the store holds
from before, and was never exported, follows day by day, the oldest first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta

from core.contracts.ports import SeriesReader
from core.storage import reservoir
from core.storage.series import open_reader
from worker.jobs.job import HOUR_S, Job, Tools, days_before

#: After so many real seconds a run begins no further day of those from before: a street's day takes
#: minutes, in which other jobs wait.
PATIENCE_S = 600.0


def job(tools: Tools, *, patience_s: float = PATIENCE_S) -> Job:
    """Return the job."""
    settings = tools.settings.reservoir
    folder = tools.settings.reservoir_folder

    def run(now_ms: int) -> str:
        if not settings.export:
            return "off: reservoir.export is not set"
        oldest = days_before(now_ms, settings.retention_days)
        removed = reservoir.expire(folder, oldest)
        yesterday = days_before(now_ms - int(settings.after_h * 3_600_000), 1)
        recent = max(yesterday - timedelta(days=settings.look_back_days - 1), oldest)
        in_store = days_before(now_ms, tools.settings.series.retention_days - 1)
        began, rows, is_whole = time.monotonic(), list[int](), True
        reader = open_reader(tools.settings)
        try:
            for day in _days(recent, yesterday):
                rows += export(reader, day, now_ms)
            for day in reservoir.missing_days(reader, folder, max(oldest, in_store), recent):
                if time.monotonic() - began > patience_s:
                    is_whole = False
                    break
                rows += export(reader, day, now_ms)
        finally:
            reader.close()
        told = f"{len(rows)} days exported, {sum(rows)} rows"
        told += "" if is_whole else ", older days follow"
        return f"{told}, {len(removed)} days removed" if removed else told

    def export(reader: SeriesReader, day: date, now_ms: int) -> list[int]:
        """Export what is new of a day; return its rows, nothing where nothing is."""
        stale = reservoir.stale_kinds(reader, folder, day)
        if not stale:
            return []
        manifest = reservoir.export_day(reader, folder, day, now_ms, stale)
        return [sum(rows for kind, rows in manifest.rows().items() if kind in stale)]

    return Job("data reservoir", HOUR_S, run)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)
