"""What the doctor found, and what it looks with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.contracts.errors import EstateError
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.records import Records


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part.

    ``since`` is when it began (ms of the run's time), where that is known; ``remedy`` says what
    to do about what is broken.
    """

    part: str
    ok: bool
    text: str
    remedy: str = ""
    since: int | None = None


class BrokenError(EstateError):
    """Something is broken; the message says what."""

    def __init__(self, text: str, remedy: str, since: int | None = None) -> None:
        self.remedy = remedy
        self.since = since
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Patient:
    """The installation that is looked at; nothing of it is changed.

    ``clock`` is the run's; a run at ten times the speed grows ten seconds old in one.
    """

    settings: Settings
    clock: ScaledClock

    @property
    def now(self) -> int:
        """Return the run's time (ms)."""
        return self.clock.now_ms()

    @property
    def log(self) -> Path:
        """Return the collector's journal."""
        return self.settings.data / "collector.sqlite"

    def past(self, seconds: float) -> int:
        """Return the run's time (ms) so many real seconds ago."""
        return self.now - int(seconds * 1000 * self.clock.speed)

    def age_s(self, at: int) -> float:
        """Return how many real seconds ago a moment of the run (ms) was."""
        return max(self.now - at, 0) / 1000 / self.clock.speed

    @contextmanager
    def records(self) -> Iterator[Records]:
        """Give the records as they are: neither made nor migrated."""
        records = Records(self.settings.records_url)
        records.open(migrating=False)
        try:
            yield records
        finally:
            records.close()


def for_long(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
