"""What the worker tells Prometheus: how its jobs go, and what the records hold (ADR 0019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from core.runtime.clock import Clock
from core.runtime.metrics import Source, Spec
from core.storage.records import Records
from core.storage.records.census import census
from worker.runner import JobTally

RUNS = Spec("estate_worker_job_runs_total", "counter", "Runs of a job.", ("job",))
FAILURES = Spec("estate_worker_job_failures_total", "counter", "Runs that failed.", ("job",))
SECONDS = Spec(
    "estate_worker_job_duration_seconds_total", "counter", "Time that a job's runs took.", ("job",)
)
SUCCESS = Spec(
    "estate_worker_job_last_success_timestamp_seconds", "gauge",
    "When a job last succeeded (Unix time of the machine; 0: not since the start).", ("job",),
)  # fmt: skip
LETTERS = Spec("estate_records_dead_letters_total", "counter", "Dead letters there have ever been.")
LETTERS_KEPT = Spec("estate_records_dead_letters", "gauge", "Dead letters that are kept.")
LETTERS_TRIMMED = Spec(
    "estate_records_dead_letters_trimmed_total", "counter", "Dead letters that were removed."
)
LOST = Spec(
    "estate_records_lost_events_total", "counter", "Events that were declared lost or dropped."
)
LOSSES_UNKNOWN = Spec(
    "estate_records_losses_of_unknown_size", "gauge", "Declared losses whose size nobody knows."
)
PRESENCE = Spec("estate_records_devices", "gauge", "Devices by presence.", ("presence",))
EDGES = Spec(
    "estate_records_edges", "gauge",
    "Edges: drained (online, nothing waits), behind (online with a backlog), offline.", ("state",),
)  # fmt: skip
ALERTS = Spec(
    "estate_records_alerts_open", "gauge", "Open alerts: standing, or over and unseen.", ("colour",)
)
UNSEEN = Spec("estate_records_alerts_unacknowledged", "gauge", "Alerts that wait for somebody.")
SEQUENCE = Spec("estate_records_live_sequence", "gauge", "Newest number of the live sequence.")


def sources(records: Records, clock: Clock, jobs: Mapping[str, JobTally]) -> Sequence[Source]:
    """Return what a scrape asks."""
    return (lambda: _jobs(jobs), lambda: _records(records, clock))


def _jobs(jobs: Mapping[str, JobTally]) -> Iterator[Metric]:
    tallies = dict(jobs)
    yield RUNS.each({name: tally.runs for name, tally in tallies.items()})
    yield FAILURES.each({name: tally.failures for name, tally in tallies.items()})
    yield SECONDS.each({name: tally.seconds for name, tally in tallies.items()})
    yield SUCCESS.each({name: tally.succeeded_s for name, tally in tallies.items()})


def _records(records: Records, clock: Clock) -> Iterator[Metric]:
    with records.reading() as session:
        found = census(session, clock.now_ms())
    yield LETTERS.of(found.dead_letters)
    yield LETTERS_KEPT.of(found.dead_letters_kept)
    yield LETTERS_TRIMMED.of(found.dead_letters_trimmed)
    yield LOST.of(found.lost_events)
    yield LOSSES_UNKNOWN.of(found.losses_unknown)
    yield PRESENCE.each(found.presence)
    yield EDGES.each(found.edges)
    yield ALERTS.each(found.alerts)
    yield UNSEEN.of(found.unacknowledged)
    yield SEQUENCE.of(found.sequence)
