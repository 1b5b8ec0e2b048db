"""The worker's composition root: its jobs on a scheduler.

APScheduler counts the machine's time. A run whose clock is scaled has its intervals divided by
the speed, and every job is given the run's time; so at sixty times the speed an hourly job
runs once a real minute, as often as the run's days ask. No job runs more than once a real
second, whatever the speed: housekeeping may lag behind a racing clock, and loses nothing by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from core.runtime.clock import Clock, ScaledClock
from core.runtime.metrics import Source
from core.runtime.settings import Settings
from core.storage.records import Records
from worker import metrics
from worker.jobs import Job, Tools, all_jobs
from worker.runner import Runner

log = structlog.get_logger(__name__)

_LEAST_S = 1.0
#: Between the first runs of two jobs, so that a start is not a burst.
_STAGGER_S = 0.2


class WorkerApp:
    """The worker of one installation; there is one at a time."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._stack = ExitStack()

    async def start(self) -> None:
        """Open the records and schedule every job, each for the first time at once."""
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let the job under way finish, then release the records; safe to call twice."""
        await asyncio.to_thread(self._stack.close)

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the worker runs."""
        return self._sources

    def _start(self) -> None:
        self._settings.data.mkdir(parents=True, exist_ok=True)
        records = Records(self._settings.records_url)
        records.open()
        self._stack.callback(records.close)
        self.jobs = all_jobs(Tools(self._settings, records))
        runner = Runner(records, self._clock)
        self._sources = metrics.sources(records, self._clock, runner.tallies)
        # One thread: jobs are short, and two would only compete for the same database.
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        for number, job in enumerate(self.jobs):
            scheduler.add_job(
                runner.run,
                "interval",
                args=(job,),
                id=job.name,
                seconds=real_interval(job, self._clock),
                next_run_time=datetime.now(UTC) + timedelta(seconds=number * _STAGGER_S),
            )
        scheduler.start()
        self._stack.callback(scheduler.shutdown, wait=True)
        log.info("worker started", jobs=[job.name for job in self.jobs])


def real_interval(job: Job, clock: Clock) -> float:
    """Return a job's interval in seconds of the machine's time."""
    speed = clock.speed if isinstance(clock, ScaledClock) else 1.0
    return max(job.every_s / speed, _LEAST_S)
