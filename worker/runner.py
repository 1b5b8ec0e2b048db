"""Running one job: timed, noted in the records, its failure kept to itself."""

from __future__ import annotations

import structlog

from core.contracts.errors import EstateError
from core.runtime.clock import Clock
from core.storage.records import Records, processes
from worker.jobs import Job

log = structlog.get_logger(__name__)


class Runner:
    """Runs jobs and notes how they went.

    The log has a job's first failure and its recovery; the records have every outcome.
    """

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._failing: set[str] = set()

    def run(self, job: Job) -> bool:
        """Run a job and tell whether it succeeded; raises nothing that a job may raise."""
        started = self._clock.now_ms()
        try:
            message = job.run(started)
        except Exception as error:  # noqa: BLE001  # one job's fault must not stop the others
            self._failed(job, error)
            self._note(job, started, str(error) or type(error).__name__, ok=False)
            return False
        if job.name in self._failing:
            self._failing.discard(job.name)
            log.info("job succeeds again", job=job.name)
        self._note(job, started, message, ok=True)
        return True

    def _failed(self, job: Job, error: Exception) -> None:
        if job.name not in self._failing:
            self._failing.add(job.name)
            expected = isinstance(error, EstateError)
            log.warning("job failed", job=job.name, why=str(error), exc_info=not expected)

    def _note(self, job: Job, started: int, message: str, *, ok: bool) -> None:
        try:
            with self._records.session() as session:
                processes.record_job(
                    session, job.name, started, self._clock.now_ms(), ok=ok, message=message
                )
        except Exception as error:  # noqa: BLE001  # the records may be what failed the job
            log.warning("job's outcome not noted", job=job.name, ok=ok, why=str(error))
