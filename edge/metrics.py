"""What an edge tells Prometheus, read when it is asked (ADR 0019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import Metric

from core.contracts.events import Lane
from core.runtime.clock import Clock
from core.runtime.link_metrics import links
from core.runtime.metrics import Source, Spec
from core.storage.journal import Journal, Tombstone
from core.storage.journal.survey import survey
from edge.commands import Commands
from edge.outbox import Outbox
from edge.runner import Runner
from edge.uplink import Uplink

EVENTS = Spec("estate_edge_events_total", "counter", "Events that were journalled.")
SENT = Spec("estate_edge_batches_sent_total", "counter", "Batches sent, repetitions included.")
RECEIPTS = Spec("estate_edge_receipts_total", "counter", "Receipts that were news.")
WENT_BACK = Spec(
    "estate_edge_went_back_total", "counter", "Times that a lane got no receipt in time."
)
ONLINE = Spec(
    "estate_edge_uplink_online", "gauge",
    "1 while the collector has answered and the fresh state is journalled.",
)  # fmt: skip
FAILED_STEPS = Spec(
    "estate_edge_uplink_failures_total", "counter", "Steps of the uplink that failed."
)
REFUSED = Spec(
    "estate_edge_messages_refused_total",
    "counter",
    "Receipts and statuses that were no such thing.",
)
FORMER = Spec(
    "estate_edge_former_receipts_total",
    "counter",
    "Receipts of a collector that no longer has the site; nothing was deleted for them.",
)
OUTBOX = Spec("estate_edge_outbox_batches", "gauge", "Batches without a receipt.", ("lane",))
OLDEST = Spec(
    "estate_edge_outbox_oldest_age_seconds", "gauge",
    "Age of the oldest batch without a receipt (run time); 0 when there is none.", ("lane",),
)  # fmt: skip
BYTES = Spec("estate_edge_outbox_bytes", "gauge", "Bytes of the outbox's entries.")
BUDGET = Spec("estate_edge_outbox_budget_bytes", "gauge", "What the outbox may take up.")
EVICTED = Spec(
    "estate_edge_evicted_events_total", "counter",
    "Events that were dropped and declared, by lane and reason (budget, disk_full).",
    ("lane", "reason"),
)  # fmt: skip
DEVICES = Spec(
    "estate_edge_devices",
    "gauge",
    "Devices by condition: online, offline, unknown.",
    ("condition",),
)
GATEWAYS = Spec(
    "estate_edge_gateways", "gauge", "Gateways by condition: online, offline, unknown.",
    ("condition",),
)  # fmt: skip
DRIVERS = Spec(
    "estate_edge_driver_counts_total", "counter",
    "What the drivers counted, all of one kind together: reached, emitted, refused and so on.",
    ("driver", "what"),
)  # fmt: skip
REPORTED = Spec(
    "estate_edge_observations_total", "counter",
    "Observations that were reported, or held back because nothing had changed.", ("outcome",),
)  # fmt: skip
COMMANDS = Spec(
    "estate_edge_commands_total", "counter", "Commands by what became of them.", ("what",)
)

#: What every driver counts, at its desk; drivers' own numbers are not counters.
_COUNTED = ("reached", "failed", "emitted", "refused", "snapshots", "crashed", "journal_refused")
_CONDITIONS = {True: "online", False: "offline", None: "unknown"}


class Evictions:
    """Counts what an outbox drops; told on the journal's thread."""

    def __init__(self) -> None:
        self.events: Counter[tuple[str, str]] = Counter()

    def note(self, tombstones: list[Tombstone]) -> None:
        """Count what an eviction drops (again, where its transaction has to be repeated)."""
        for stone in tombstones:
            self.events[stone.lane, stone.reason] += stone.events


@dataclass(frozen=True, slots=True)
class EdgeMetrics:
    """The parts of a running edge, as a scrape reads them."""

    path: Path
    journal: Journal
    clock: Clock
    outbox: Outbox
    uplink: Uplink
    runner: Runner
    commands: Commands
    evictions: Evictions

    def sources(self) -> Sequence[Source]:
        """Return what a scrape asks."""
        return (
            self._uplink,
            self._outbox,
            self._drivers,
            lambda: links({"uplink": self.uplink.link}),
        )

    def _uplink(self) -> Iterator[Metric]:
        uplink = self.uplink
        yield EVENTS.of(self.outbox.events)
        yield SENT.of(uplink.sent_batches)
        yield RECEIPTS.of(uplink.receipts)
        yield WENT_BACK.of(uplink.went_back)
        yield ONLINE.of(uplink.online)
        yield FAILED_STEPS.of(uplink.failed_steps)
        yield REFUSED.of(uplink.refused_messages)
        yield FORMER.of(uplink.former_receipts)
        yield COMMANDS.each(dict(self.commands.counts))

    def _outbox(self) -> Iterator[Metric]:
        now = self.clock.now_ms()
        yield BYTES.of(self.journal.size)
        yield BUDGET.of(self.journal.budget)
        yield EVICTED.each(dict(self.evictions.events))
        with survey(self.path) as seen:
            heads = {head.name: head for head in seen.lanes()}
        lanes = [lane.value for lane in Lane]
        yield OUTBOX.each({n: heads[n].entries if n in heads else 0 for n in lanes})
        ages = {n: heads[n].oldest_at if n in heads else None for n in lanes}
        yield OLDEST.each(
            {n: 0.0 if at is None else max(now - at, 0) / 1000 for n, at in ages.items()}
        )

    def _drivers(self) -> Iterator[Metric]:
        conditions = Counter(_CONDITIONS[c.online] for c in self.runner.health().values())
        yield DEVICES.each({name: conditions[name] for name in _CONDITIONS.values()})
        gateways = Counter(_CONDITIONS[online] for online in self.runner.gateways().values())
        yield GATEWAYS.each({name: gateways[name] for name in _CONDITIONS.values()})
        counted: Counter[tuple[str, str]] = Counter()
        for kind, counts in self.runner.tallies():
            for what in _COUNTED:
                counted[kind, what] += counts[what]
        yield DRIVERS.each(counted)
        passed, held_back = self.runner.reported()
        yield REPORTED.each({"reported": passed, "held_back": held_back})
