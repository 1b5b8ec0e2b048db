"""What a collector tells Prometheus, read when it is asked (ADR 0019)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import Metric

from collector.announce import Announcer
from collector.projector import done_by
from collector.station import Station
from collector.streams import Verdict, parse_lane
from core.runtime.clock import Clock
from core.runtime.link_metrics import links
from core.runtime.metrics import Source, Spec
from core.storage.journal.survey import survey

MESSAGES = Spec(
    "estate_collector_messages_total", "counter",
    "Messages that arrived: batch (and media), status, plain.", ("family",),
)  # fmt: skip
BATCHES = Spec(
    "estate_collector_batches_total", "counter",
    "What was decided on batches: append, duplicate, gap.", ("verdict",),
)  # fmt: skip
HOLES = Spec("estate_collector_holes_total", "counter", "Holes that edges can no longer fill.")
UNREADABLE = Spec(
    "estate_collector_messages_unreadable_total",
    "counter",
    "Messages that were dead-lettered whole.",
)
UNREADABLE_AGAIN = Spec(
    "estate_collector_messages_unreadable_again_total",
    "counter",
    "Messages that were dead-lettered before and came again; they make no further letter.",
)
BEYOND_BOUND = Spec(
    "estate_collector_beyond_bound_total",
    "counter",
    "Messages of edges or epochs beyond the bounds, which are not listened to.",
)
NOT_JOURNALLED = Spec(
    "estate_collector_not_journalled_total", "counter", "Batches and messages that the log refused."
)
CLASHES = Spec(
    "estate_collector_identity_clashes_total", "counter", "Batches of one identity, other bytes."
)
SKEWED = Spec(
    "estate_collector_edges_skewed", "gauge",
    "Edges that are online and whose clock was over 5 s off this one's at their last birth.",
)  # fmt: skip
INGEST_FAILURES = Spec(
    "estate_collector_ingest_failures_total", "counter", "Messages that the ingest failed on."
)
RECEIPTS = Spec("estate_collector_receipts_total", "counter", "Receipts that were published.")
POSITION = Spec("estate_collector_journal_position", "gauge", "Position of the log's last entry.")
BYTES = Spec("estate_collector_journal_bytes", "gauge", "Bytes of the log's entries.")
BUDGET = Spec("estate_collector_journal_budget_bytes", "gauge", "collector.journal_bytes.")
OLDEST = Spec(
    "estate_collector_journal_oldest_age_seconds", "gauge",
    "Age of the oldest entry that is kept, by class of lane (run time).", ("lane",),
)  # fmt: skip
LAG_ENTRIES = Spec(
    "estate_collector_cursor_lag_entries", "gauge", "Entries that a projector has yet to fold.",
    ("projector",),
)  # fmt: skip
LAG_SECONDS = Spec(
    "estate_collector_cursor_lag_seconds", "gauge",
    "Age of the first entry that a projector has yet to fold (run time); 0 when there is none.",
    ("projector",),
)  # fmt: skip
STALLED = Spec(
    "estate_collector_projector_stalled", "gauge", "1 while a projector's store refuses it.",
    ("projector",),
)  # fmt: skip
RETRIES = Spec(
    "estate_collector_projector_failures_total", "counter",
    "Errors of a projector's store; each is tried again.", ("projector",),
)  # fmt: skip
LEFT_OUT = Spec(
    "estate_collector_left_out_total", "counter",
    "Dead letters of what crashed a projection, and is left out by it.", ("projector",),
)  # fmt: skip
POINTS = Spec("estate_collector_series_points_total", "counter", "Points that were written.")
REFUSED_POINTS = Spec(
    "estate_collector_series_points_refused_total", "counter",
    "Points that were refused for good, by the store or for their time, and became dead letters.",
)  # fmt: skip
MEDIA = Spec("estate_collector_snapshots_stored_total", "counter", "Snapshots that became files.")
EVENTS = Spec(
    "estate_collector_rules_events_total", "counter", "Events folded by the rules, replay included."
)
RULE_TIME = Spec("estate_collector_rules_seconds_total", "counter", "Seconds spent in the engine.")
OUTPUTS = Spec("estate_collector_rules_outputs_total", "counter", "Outputs of the rules, stored.")
STEPS = Spec(
    "estate_collector_alert_steps_total", "counter", "Steps of alerts: raised, cleared and so on.",
    ("rule", "step"),
)  # fmt: skip
NOT_FOLDED = Spec(
    "estate_collector_rules_not_folded", "gauge",
    "What the engine passed over since its log began, by reason.", ("reason",),
)  # fmt: skip
UNKNOWN = Spec(
    "estate_collector_unknown_senders", "gauge", "Devices and edges that no topology names."
)
SNAPSHOT_AGE = Spec(
    "estate_collector_snapshot_age_seconds", "gauge", "Since the engine's state was last kept."
)
SNAPSHOT_LAG = Spec(
    "estate_collector_snapshot_lag_entries", "gauge", "Entries that a restart would fold again."
)
LETTERS = Spec(
    "estate_collector_dead_letters_total", "counter", "Dead letters of the rules' projection."
)
TICKS = Spec("estate_collector_ticks_total", "counter", "Ticks that were journalled.")
TICKS_REFUSED = Spec("estate_collector_ticks_refused_total", "counter", "Ticks the log refused.")
ANNOUNCED = Spec(
    "estate_collector_announcements_total", "counter", "Alerts and colours published over MQTT."
)
ANNOUNCE_FAILURES = Spec(
    "estate_collector_announce_failures_total", "counter", "Failures of the announcer."
)

CPU = Spec(
    "estate_collector_process_cpu_seconds_total", "counter",
    "CPU time of the process beside the collector's that follows the log into the stores.",
    ("process",),
)  # fmt: skip
MEMORY = Spec(
    "estate_collector_process_resident_memory_bytes", "gauge", "Its resident memory.", ("process",)
)
_FAMILIES = ("batch", "status", "plain")


class CollectorMetrics:
    """A running collector, as a scrape reads it: the sums, or the worst, of its stations."""

    def __init__(self, clock: Clock, stations: Callable[[], list[Station]], told: Announcer):
        self._clock = clock
        self._stations = stations
        self._announcer = told

    def sources(self) -> Sequence[Source]:
        """Return what a scrape asks."""
        return (self._counts, self._journal, self._rules, self._processes, self._links)

    def _links(self) -> Iterable[Metric]:
        return links(
            {name: link for station in self._stations() for name, link in station.links.items()}
        )

    def _processes(self) -> Iterator[Metric]:
        # Only a collector for everything has a companion, and it says so after a moment.
        cpu: dict[str, float] = {}
        memory: dict[str, float] = {}
        for station in self._stations():
            if (usage := station.usage()) is not None:
                cpu["companion"], memory["companion"] = usage.cpu_s, usage.resident_bytes
        yield CPU.each(cpu)
        yield MEMORY.each(memory)

    def _counts(self) -> Iterator[Metric]:
        stations = self._stations()
        counts = Counter[str]()
        for station in stations:
            counts.update(station.ingest.counts)
        yield MESSAGES.each({family: counts[family] for family in _FAMILIES})
        yield BATCHES.each({verdict.value: counts[verdict] for verdict in Verdict})
        yield HOLES.of(counts["holes"])
        yield UNREADABLE.of(counts["unreadable"])
        yield UNREADABLE_AGAIN.of(counts["unreadable_again"])
        yield BEYOND_BOUND.of(counts["beyond_bound"])
        yield NOT_JOURNALLED.of(counts["not_journalled"])
        yield CLASHES.of(counts["identity_clash"])
        yield SKEWED.of(sum(station.ingest.skewed_edges for station in stations))
        yield INGEST_FAILURES.of(counts["failed"])
        yield RECEIPTS.of(counts["receipts"])
        yield TICKS.of(sum(station.ticker.ticks for station in stations))
        yield TICKS_REFUSED.of(sum(station.ticker.refused for station in stations))
        done = done_by(state for station in stations for state in station.states())
        yield POINTS.of(done["points"])
        yield REFUSED_POINTS.of(done["refused_points"])
        yield MEDIA.of(done["snapshots"])
        yield ANNOUNCED.of(self._announcer.published)
        yield ANNOUNCE_FAILURES.of(self._announcer.failures)

    def _journal(self) -> Iterator[Metric]:
        now = self._clock.now_ms()
        stations = self._stations()
        yield POSITION.of(sum(station.journal.position for station in stations))
        yield BYTES.of(sum(station.journal.size for station in stations))
        yield BUDGET.of(sum(station.journal.budget for station in stations))
        behind, stalled, failures = Counter[str](), Counter[str](), Counter[str]()
        left_out = Counter[str]()
        waited: dict[str, float] = {}
        oldest: dict[str, float] = {}
        for station in stations:
            journal, states = station.journal, station.states()
            for state in states:
                behind[state.name] += max(journal.position - state.position, 0)
                stalled[state.name] += state.trouble is not None
                failures[state.name] += state.failures
                left_out[state.name] += state.left_out
            with survey(journal.path) as seen:
                for state in states:
                    age = _age_s(now, seen.at_after(state.position))
                    waited[state.name] = max(age, waited.get(state.name, 0.0))
                for lane in seen.lanes():
                    if lane.oldest_at is not None:
                        kind, age = lane_class(lane.name), _age_s(now, lane.oldest_at)
                        oldest[kind] = max(age, oldest.get(kind, 0.0))
        yield LAG_ENTRIES.each(behind)
        yield STALLED.each(stalled)
        yield RETRIES.each(failures)
        yield LEFT_OUT.each(left_out)
        yield LAG_SECONDS.each(waited)
        yield OLDEST.each(oldest)

    def _rules(self) -> Iterator[Metric]:
        rules = [station.rules for station in self._stations()]
        yield EVENTS.of(sum(each.events for each in rules))
        yield RULE_TIME.of(sum(each.busy_s for each in rules))
        yield OUTPUTS.of(sum(each.outputs for each in rules))
        yield LETTERS.of(sum(each.dead_letters for each in rules))
        steps, passed_over = Counter[tuple[str, str]](), Counter[str]()
        for each in rules:
            steps.update(each.steps)
            passed_over.update(each.engine.counters)
        yield STEPS.each(steps)
        yield NOT_FOLDED.each(passed_over)
        yield UNKNOWN.of(sum(len(each.engine.unknown) for each in rules))
        now = time.monotonic()
        yield SNAPSHOT_AGE.of(max((now - each.kept_at for each in rules), default=0.0))
        lags = (max(each.engine.position - each.needed_after(), 0) for each in rules)
        yield SNAPSHOT_LAG.of(sum(lags))


def lane_class(name: str) -> str:
    """Return the class of a lane of the log: of few values, whatever the edges are called."""
    key = parse_lane(name)
    return name.partition("/")[0] if key is None else key.lane.value


def _age_s(now: int, since: int | None) -> float:
    return 0.0 if since is None else max(now - since, 0) / 1000
