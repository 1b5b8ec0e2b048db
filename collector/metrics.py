"""What a collector tells Prometheus, read when it is asked (ADR 0019)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric

from collector.announce import Announcer
from collector.ingest import Ingest
from collector.projector import ProjectorState, done_by
from collector.rules_projection import RulesProjection
from collector.streams import Verdict, parse_lane
from collector.ticker import Ticker
from core.runtime.clock import Clock
from core.runtime.link import Link
from core.runtime.link_metrics import links
from core.runtime.metrics import Source, Spec
from core.storage.journal import Journal
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
    "Points that the store refused for good, and that became dead letters.",
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

_FAMILIES = ("batch", "status", "plain")


@dataclass(frozen=True, slots=True)
class CollectorMetrics:
    """The parts of a running collector, as a scrape reads them."""

    journal: Journal
    clock: Clock
    ingest: Ingest
    ticker: Ticker
    states: Callable[[], list[ProjectorState]]
    rules: RulesProjection
    announcer: Announcer
    links: Mapping[str, Link]

    def sources(self) -> Sequence[Source]:
        """Return what a scrape asks."""
        return (self._counts, self._journal, self._rules, lambda: links(self.links))

    def _counts(self) -> Iterator[Metric]:
        counts = dict(self.ingest.counts)
        yield MESSAGES.each({family: counts.get(family, 0) for family in _FAMILIES})
        yield BATCHES.each({verdict.value: counts.get(verdict, 0) for verdict in Verdict})
        yield HOLES.of(counts.get("holes", 0))
        yield UNREADABLE.of(counts.get("unreadable", 0))
        yield UNREADABLE_AGAIN.of(counts.get("unreadable_again", 0))
        yield BEYOND_BOUND.of(counts.get("beyond_bound", 0))
        yield NOT_JOURNALLED.of(counts.get("not_journalled", 0))
        yield CLASHES.of(counts.get("identity_clash", 0))
        yield INGEST_FAILURES.of(counts.get("failed", 0))
        yield RECEIPTS.of(counts.get("receipts", 0))
        yield TICKS.of(self.ticker.ticks)
        yield TICKS_REFUSED.of(self.ticker.refused)
        done = done_by(self.states())
        yield POINTS.of(done["points"])
        yield REFUSED_POINTS.of(done["refused_points"])
        yield MEDIA.of(done["snapshots"])
        yield ANNOUNCED.of(self.announcer.published)
        yield ANNOUNCE_FAILURES.of(self.announcer.failures)

    def _journal(self) -> Iterator[Metric]:
        now = self.clock.now_ms()
        position = self.journal.position
        yield POSITION.of(position)
        yield BYTES.of(self.journal.size)
        yield BUDGET.of(self.journal.budget)
        states = self.states()
        at = {state.name: state.position for state in states}
        yield LAG_ENTRIES.each({name: max(position - pos, 0) for name, pos in at.items()})
        yield STALLED.each({state.name: float(state.trouble is not None) for state in states})
        yield RETRIES.each({state.name: state.failures for state in states})
        yield LEFT_OUT.each({state.name: state.left_out for state in states})
        with survey(self.journal.path) as seen:
            waits = {name: seen.at_after(pos) for name, pos in at.items()}
            lanes = seen.lanes()
        yield LAG_SECONDS.each({name: _age_s(now, since) for name, since in waits.items()})
        oldest: dict[str, int] = {}
        for lane in lanes:
            if lane.oldest_at is not None:
                kind = lane_class(lane.name)
                oldest[kind] = min(oldest.get(kind, lane.oldest_at), lane.oldest_at)
        yield OLDEST.each({kind: _age_s(now, since) for kind, since in oldest.items()})

    def _rules(self) -> Iterator[Metric]:
        rules = self.rules
        yield EVENTS.of(rules.events)
        yield RULE_TIME.of(rules.busy_s)
        yield OUTPUTS.of(rules.outputs)
        yield LETTERS.of(rules.dead_letters)
        yield STEPS.each(dict(rules.steps))
        engine = rules.engine
        yield NOT_FOLDED.each(dict(engine.counters))
        yield UNKNOWN.of(len(engine.unknown))
        yield SNAPSHOT_AGE.of(time.monotonic() - rules.kept_at)
        yield SNAPSHOT_LAG.of(max(engine.position - rules.needed_after(), 0))


def lane_class(name: str) -> str:
    """Return the class of a lane of the log: of few values, whatever the edges are called."""
    key = parse_lane(name)
    return name.partition("/")[0] if key is None else key.lane.value


def _age_s(now: int, since: int | None) -> float:
    return 0.0 if since is None else max(now - since, 0) / 1000
