"""Removes expired sessions and sign-in links, and old sign-in attempts.

The audit trail stays: network logs are to be kept for six months at least
(网络安全法 art. 21), and who saw which snapshot for as long as anybody may ask.
"""

from __future__ import annotations

from core.storage.records import accounts
from worker.jobs.job import DAY_MS, MINUTE_S, Job, Tools

#: Six months and some days, because attempts to sign in are network logs, too.
KEEP_ATTEMPTS_DAYS = 190


def job(tools: Tools) -> Job:
    """Return the job."""

    def run(_now_ms: int) -> str:
        now_ms = tools.wall_ms()
        with tools.records.session() as session:
            removed = accounts.remove_expired(
                session, now_ms, attempts_before=now_ms - KEEP_ATTEMPTS_DAYS * DAY_MS
            )
        return ", ".join(f"{count} {what} removed" for what, count in removed.items())

    return Job("accounts", 15 * MINUTE_S, run)
