"""Closes days of the conservation law's accounts: asks the series store what it holds of them.

A day is asked when it is over, and again when late data came for it. What the store let go by its
retention stays as it was last found. Hours of a few days ago become one line a day. Of logs that
were over by then nothing but their lines is kept.
"""

from __future__ import annotations

from core.storage.records import ledger
from core.storage.series import open_reader
from worker.jobs.job import DAY_MS, MINUTE_S, Job, Tools

#: Hours are kept for so long, so that yesterday can be asked about by the hour.
_HOURS_MS = 3 * DAY_MS
_GRACE_MS = 3_600_000
#: Days that are asked in one run; a store counts one in a moment.
_AT_ONCE = 31


def job(tools: Tools) -> Job:
    """Return the job."""
    records = tools.records
    retention = tools.settings.series.retention_days

    def run(now_ms: int) -> str:
        with records.session() as session:
            joined = ledger.join_hours(session, now_ms - _HOURS_MS)
            ledger.forget_tenures(session, now_ms - _HOURS_MS)
        kept = now_ms // DAY_MS - retention + 1
        with records.reading() as session:
            days = ledger.open_days(session, kept, (now_ms - _GRACE_MS) // DAY_MS - 1)[:_AT_ONCE]
        if days:
            close(days, now_ms)
        return f"{len(days)} days compared with the series store, {joined} joined"

    def close(days: list[int], now_ms: int) -> None:
        reader = open_reader(tools.settings)
        try:
            for day in days:
                with records.reading() as session:
                    stored = ledger.stored_on(session, day)
                found = reader.counts(day * DAY_MS, (day + 1) * DAY_MS)
                with records.session() as session:
                    ledger.note_found(session, day, stored, found, now_ms)
        finally:
            reader.close()

    return Job("conservation", 10 * MINUTE_S, run)
