"""What a job is, and what jobs work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from core.runtime.settings import Settings
from core.storage.records import Records

MINUTE_S = 60.0
HOUR_S = 3_600.0
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every ``every_s`` seconds of the run's time.

    ``run`` takes now (ms, UTC) and returns in a few words what it did.
    """

    name: str
    every_s: float
    run: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Tools:
    """What jobs work with; the records are open.

    ``wall_ms`` is the machine's time: sign-ins live by it, whatever the run's clock does.
    """

    settings: Settings
    records: Records
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000


def days_before(now_ms: int, days: int) -> date:
    """Return the UTC date so many days before a moment (ms)."""
    return (datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=days)).date()
