"""What the doctor found, and what it looks with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.contracts.errors import EstateError, JournalError
from core.runtime.clock import ScaledClock
from core.runtime.settings import Settings
from core.storage.journal.survey import Survey, survey
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


class DependsError(EstateError):
    """What is looked at cannot be seen while another part is broken, whose own look says why."""

    def __init__(self, part: str) -> None:
        self.part = part
        super().__init__(f"depends on the {part}")


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

    def log_of(self, process: str) -> str:
        """Return where a part's own log is: a supervisor writes files, others have theirs."""
        path = self.settings.data / "logs" / f"{process}.log"
        if path.exists():
            return str(path)
        unit, service = process.replace(" ", "@"), process.partition(" ")[0]
        return f"its log (`journalctl -u estate-{unit}` or `docker compose logs {service}`)"

    def open_records(self) -> Records:
        """Open the records as they are: neither made nor migrated."""
        return Records(self.settings.records_url).open(migrating=False)

    @contextmanager
    def records(self) -> Iterator[Records]:
        """Give the open records; raise :class:`DependsError` where they cannot be opened."""
        try:
            records = self.open_records()
        except EstateError:
            raise DependsError("records") from None
        try:
            yield records
        finally:
            records.close()

    @contextmanager
    def survey(self) -> Iterator[Survey]:
        """Give a look at the collector's journal; raise :class:`DependsError` without one."""
        try:
            with survey(self.log) as seen:
                yield seen
        except JournalError:
            raise DependsError("journal") from None


def for_long(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
