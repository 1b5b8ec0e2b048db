"""The worker's jobs: a module each, listed in one place.

A job does one thing in a bounded time and says what it did; :mod:`worker.runner` times it,
notes how it went and keeps its failure to itself.
"""

from __future__ import annotations

from worker.jobs import (
    accounts,
    colour_history,
    conservation,
    dead_letters,
    live_sequence,
    media,
    reservoir,
    series,
)
from worker.jobs.job import Job, Tools

__all__ = ["Job", "Tools", "all_jobs"]


def all_jobs(tools: Tools) -> list[Job]:
    """Return every job of a worker."""
    return [
        live_sequence.job(tools),
        series.job(tools),
        media.job(tools),
        colour_history.job(tools),
        dead_letters.job(tools),
        accounts.job(tools),
        reservoir.job(tools),
        conservation.job(tools),
    ]
