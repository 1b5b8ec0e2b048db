"""The collector's composition root."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from collector.adoptions import Adoptions
from collector.announce import Announcer
from collector.companion import Companion
from collector.desk import Desk
from collector.followers import STORES, Followers, at_once, store_projections
from collector.ingest import Ingest
from collector.metrics import CollectorMetrics
from collector.projector import Projection, ProjectorState, done_by
from collector.replays import Replays
from collector.rules_projection import RulesProjection
from collector.ticker import Ticker
from core.contracts import topics
from core.contracts.batch import CollectorStatus, Receipt, answers
from core.contracts.codec import encode
from core.contracts.log import Activation
from core.runtime import canary
from core.runtime.clock import Clock, ScaledClock
from core.runtime.link import Link, LinkOptions, Will
from core.runtime.metrics import Source
from core.runtime.settings import Settings
from core.storage.journal import Journal, OnFull
from core.storage.records import Records

log = structlog.get_logger(__name__)

#: Unconfirmed plain events wait in the broker for so long (s).
_PLAIN_SESSION_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class CollectorCounts:
    """What a collector has done since its start."""

    ingest: dict[str, int]
    done: dict[str, int]
    """What the projections did: points, refused_points, snapshots, outputs, dead_letters."""
    positions: dict[str, int]
    journal: int
    trouble: dict[str, str]


class CollectorApp:
    """One collector: ingest, ticks, projections and announcements over one journal."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        activation: Activation,
        name: str = "collector",
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._activation = activation
        self._name = name
        self._path = settings.data / "collector.sqlite"
        self._on_failure = on_failure
        self._instance = uuid.uuid4().hex
        self._stack = ExitStack()

    async def start(self) -> None:
        """Open the journal and the records, start everything; undo it all on an error."""
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop in reverse order: first the link, last the journal."""
        await asyncio.to_thread(self._stack.close)

    def _start(self) -> None:
        settings, stack = self._settings, self._stack
        settings.data.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(
            self._path,
            owner=self._name,
            budget=settings.collector.journal_bytes,
            on_full=OnFull.REFUSE,
            on_failure=self._on_failure,
        )
        self.journal.open()
        stack.callback(self.journal.close)
        self.records = Records(settings.records_url)
        self.records.open()
        stack.callback(self.records.close)
        self._link = Link(settings.broker, LinkOptions(client_id=self._name, will=self._will))
        self._announcer = Announcer(self.records, self._link, self._clock)
        self._adoptions = Adoptions(self.records, self.journal, self._clock, self._activation)
        del self._activation  # they have it, in little room
        self._adoptions.activate()
        self._project()
        self._connect()

    def _project(self) -> None:
        log_id = self.journal.epoch
        settings, journal, clock = self._settings, self.journal, self._clock
        self._rules = RulesProjection(self.records, clock, log_id, self._announcer.wake)
        for name in (self._rules.name, *STORES):
            # Known from the first entry on: a store that was never reached holds the log back.
            journal.advance(name, 0).result()
        here: list[Projection] = [self._rules]
        self._followers: list[Followers | Companion] = []
        if settings.collector.companion and isinstance(clock, ScaledClock):
            self._followers.append(Companion(settings, clock, journal, STORES))
        else:
            here += store_projections(settings, self.records, clock, log_id)
        self._followers.append(Followers(journal, here))
        for followers in self._followers:
            followers.start()
        self._stack.callback(lambda: at_once(followers.stop for followers in self._followers))
        self._ticker = Ticker(journal, clock, settings.collector.journal_retention_h)
        self._ticker.start()
        self._stack.callback(self._ticker.stop)

    def _states(self) -> list[ProjectorState]:
        return [state for followers in self._followers for state in followers.states()]

    def _connect(self) -> None:
        self._ingest = Ingest(self.journal, self._clock, self._publish_receipt)
        self._ingest.start()
        self._stack.callback(self._ingest.stop)
        self._link.subscribe(topics.ALL_BATCHES, self._ingest.on_batch)
        self._link.subscribe(topics.ALL_STATUS, self._ingest.on_status)
        self._link.on_up(self._greet)
        self._link.on_down(self._ingest.on_link_down)
        plain = Link(
            self._settings.broker,
            LinkOptions(
                client_id=f"{self._name}-plain",
                session_expiry_s=_PLAIN_SESSION_S,
                manual_ack=True,
            ),
        )
        plain.subscribe(topics.ALL_EVENTS, self._ingest.on_plain)
        self._stack.callback(plain.stop)
        self._stack.callback(lambda: self._link.stop([self._farewell()]))
        self._listen(plain)
        self._announcer.start()
        self._stack.callback(self._announcer.stop)
        replays = Replays(self.records, self.journal, self._clock, self._ingest)
        self._desk = Desk([self._adoptions, replays])
        self._desk.start()
        self._stack.callback(self._desk.stop)
        self._measured = CollectorMetrics(
            journal=self.journal,
            clock=self._clock,
            ingest=self._ingest,
            ticker=self._ticker,
            states=self._states,
            rules=self._rules,
            announcer=self._announcer,
            links={"batches": self._link, "plain": plain},
        )

    def _listen(self, plain: Link) -> None:
        """Connect; a broker that others reach is tried first, since topics are believed."""

        def connect() -> None:
            plain.start()
            self._link.start()

        broker = self._settings.broker
        if not canary.is_wanted(broker):
            connect()
            return
        gate = canary.Gate(broker, self._name, passed=connect, failed=self._exposed)
        self._stack.callback(gate.stop)
        gate.start()

    def _exposed(self, error: BaseException) -> None:
        if self._on_failure is not None:
            self._on_failure(error)

    def _publish_receipt(self, site: str, edge: str, receipt: Receipt, birth: int) -> None:
        self._link.publish(
            topics.receipt(site, edge), encode(receipt), retain=True, properties=answers(birth)
        )

    def _greet(self) -> None:
        """Say that a collector listens; each connection has an instance of its own.

        The edges answer a new instance with a new birth, so that what they had sealed while
        nobody listened is known as backlog.
        """
        self._instance = uuid.uuid4().hex
        status = CollectorStatus(online=True, instance=self._instance, clock=self._clock.now_ms())
        self._link.publish(topics.COLLECTOR_STATUS, encode(status), retain=True)

    def _will(self) -> Will:
        topic, payload = self._farewell()
        return Will(topic, payload)

    def _farewell(self) -> tuple[str, bytes]:
        status = CollectorStatus(online=False, instance=self._instance, clock=self._clock.now_ms())
        return topics.COLLECTOR_STATUS, encode(status)

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be reached."""
        return self._link.connected

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the collector runs."""
        return self._measured.sources()

    def counts(self) -> CollectorCounts:
        """Return what was done since the start."""
        states = self._states()
        return CollectorCounts(
            ingest=dict(self._ingest.counts),
            done=dict(done_by(states)),
            positions={state.name: state.position for state in states},
            journal=self.journal.position,
            trouble={state.name: state.trouble for state in states if state.trouble is not None}
            | self._desk.trouble,
        )
