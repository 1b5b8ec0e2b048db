"""What can be said of the worker's health from the records alone, by any process."""

from __future__ import annotations

from dataclasses import dataclass

from core.runtime.settings import Settings
from core.storage.records import Records, counters, processes
from worker.jobs import Tools, all_jobs

_LATE = 3
"""A job is overdue after so many of its intervals."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact; ``ok`` False is something to look at."""

    name: str
    ok: bool
    message: str


def facts(settings: Settings, records: Records, now_ms: int) -> list[Fact]:
    """Return how each job is at ``now_ms`` of the run's time, and what was trimmed for good.

    Raises:
        StoreUnavailableError: the records do not answer.
    """
    with records.reading() as session:
        outcomes = {outcome["name"]: outcome for outcome in processes.list_jobs(session)}
        trimmed = counters.read_all(session).get(counters.DEAD_LETTERS_TRIMMED, 0)
    found = []
    for job in all_jobs(Tools(settings, records)):
        outcome = outcomes.get(job.name)
        if outcome is None:
            found.append(Fact(job.name, ok=False, message="has not run yet"))
            continue
        age_s = (now_ms - outcome["finished_at"]) / 1000
        if not outcome["ok"]:
            text = f"failed ({outcome['failures']} of {outcome['runs']}): {outcome['message']}"
            found.append(Fact(job.name, ok=False, message=text))
        elif age_s > _LATE * job.every_s:
            text = f"last ran {age_s / 3600:.1f} h ago, is due every {job.every_s / 3600:.1f} h"
            found.append(Fact(job.name, ok=False, message=text))
        else:
            found.append(Fact(job.name, ok=True, message=outcome["message"]))
    found.append(Fact("dead letters trimmed", ok=trimmed == 0, message=f"{trimmed} in all"))
    return found
