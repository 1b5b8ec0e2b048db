"""The collector's composition root."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from collector.announce import Announcer
from collector.feed import DecodedEntries, Feed
from collector.ingest import Ingest
from collector.media_projection import MediaProjection
from collector.projector import Projection, Projector
from collector.rules_projection import RulesProjection
from collector.series_projection import SeriesProjection
from collector.ticker import Ticker
from core.contracts import topics
from core.contracts.batch import CollectorStatus, Receipt, answers
from core.contracts.codec import encode
from core.contracts.log import ACTIVATION, Activation
from core.runtime import canary
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions, Will
from core.runtime.settings import Settings
from core.storage.journal import Append, Journal, OnFull
from core.storage.media import MediaStore
from core.storage.records import Records
from core.storage.series import open_writer

log = structlog.get_logger(__name__)

#: Unconfirmed plain events wait in the broker for so long (s).
_PLAIN_SESSION_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class CollectorCounts:
    """What a collector has done since its start."""

    ingest: dict[str, int]
    points: int
    refused_points: int
    outputs: int
    dead_letters: int
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
            settings.data / "collector.sqlite",
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
        self._activate()
        self._project()
        self._connect()

    def _activate(self) -> None:
        """Journal topology and rules if they differ from those that hold."""
        body = encode(self._activation)
        mark = hashlib.blake2b(body, digest_size=16).digest()
        last = self.journal.last_seqs().get(ACTIVATION, 0)
        if last == 0 or self.journal.digest(ACTIVATION, last) != mark:
            append = Append(ACTIVATION, body, self._clock.now_ms(), events=0, digest=mark)
            self.journal.append(append).result()
            log.info("topology and rules activated", rules=sorted(self._activation.rules))

    def _project(self) -> None:
        log_id = self.journal.epoch
        media = MediaStore(self._settings.data / "media")
        self._series = SeriesProjection(
            lambda: open_writer(self._settings, log=log_id, clock=self._clock),
            self.records,
            self._clock,
            log_id,
        )
        self._rules = RulesProjection(self.records, self._clock, log_id, self._announcer.wake)
        projections: list[Projection] = [
            self._series,
            self._rules,
            MediaProjection(media, self.records, self._clock, log_id),
        ]
        for projection in projections:
            # Known from the first entry on: a store that was never reached holds the log back.
            self.journal.advance(projection.name, 0).result()
        decoded = DecodedEntries()
        self._projectors = [Projector(p, Feed(self.journal, decoded)) for p in projections]
        for projector in self._projectors:
            projector.start()
            self._stack.callback(projector.stop)
        ticker = Ticker(self.journal, self._clock, self._settings.collector.journal_retention_h)
        ticker.start()
        self._stack.callback(ticker.stop)

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

    def counts(self) -> CollectorCounts:
        """Return what was done since the start."""
        return CollectorCounts(
            ingest=dict(self._ingest.counts),
            points=self._series.points,
            refused_points=self._series.refused,
            outputs=self._rules.outputs,
            dead_letters=self._rules.dead_letters,
            positions={p.name: p.position for p in self._projectors},
            journal=self.journal.position,
            trouble={p.name: p.trouble for p in self._projectors if p.trouble is not None},
        )
