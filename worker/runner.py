"""Running one job: timed, noted in the records, its failure kept to itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from core.contracts.errors import EstateError
from core.runtime.clock import Clock
from core.storage.records import Records, processes
from worker.jobs import Job

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class JobTally:
    """How a job went since the start; ``succeeded_s`` is the machine's Unix time, 0 for never."""

    runs: int = 0
    failures: int = 0
    seconds: float = 0.0
    succeeded_s: float = 0.0


class Runner:
    """Runs jobs and notes how they went.

    The log has a job's first failure and its recovery; the records have every outcome.
    """

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._failing: set[str] = set()
        self.tallies: dict[str, JobTally] = {}

    def run(self, job: Job) -> bool:
        """Run a job and tell whether it succeeded; raises nothing that a job may raise."""
        started, began = self._clock.now_ms(), time.perf_counter()
        with structlog.contextvars.bound_contextvars(job=job.name, started=started):
            succeeded = self._run(job, started)
            took = time.perf_counter() - began
            log.debug("job ran", ok=succeeded, ms=round(took * 1000, 1))
        tally = self.tallies.setdefault(job.name, JobTally())
        tally.runs += 1
        tally.failures += not succeeded
        tally.seconds += took
        if succeeded:
            tally.succeeded_s = time.time()
        return succeeded

    def _run(self, job: Job, started: int) -> bool:
        try:
            message = job.run(started)
        except Exception as error:  # noqa: BLE001  # one job's fault must not stop the others
            self._failed(job, error)
            self._note(job, started, str(error) or type(error).__name__, ok=False)
            return False
        if job.name in self._failing:
            self._failing.discard(job.name)
            log.info("job succeeds again")
        self._note(job, started, message, ok=True)
        return True

    def _failed(self, job: Job, error: Exception) -> None:
        if job.name not in self._failing:
            self._failing.add(job.name)
            expected = isinstance(error, EstateError)
            log.warning("job failed", why=str(error), exc_info=not expected)

    def _note(self, job: Job, started: int, message: str, *, ok: bool) -> None:
        try:
            with self._records.session() as session:
                processes.record_job(
                    session, job.name, started, self._clock.now_ms(), ok=ok, message=message
                )
        except Exception as error:  # noqa: BLE001  # the records may be what failed the job
            log.warning("job's outcome not noted", ok=ok, why=str(error))
