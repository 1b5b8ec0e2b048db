"""The collector's composition root, where there is one for everything."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from collector.adoptions import Ground
from collector.announce import Announcer
from collector.metrics import CollectorMetrics
from collector.station import Station, StationCounts
from core.contracts import topics
from core.contracts.adoption import merge
from core.contracts.batch import CollectorStatus
from core.contracts.codec import encode
from core.contracts.log import Activation
from core.contracts.packing import pack_json, unpack_json
from core.runtime import canary
from core.runtime.clock import Clock
from core.runtime.link import Will
from core.runtime.metrics import Source
from core.runtime.settings import Settings
from core.storage.journal import Journal
from core.storage.records import Records


class CollectorApp:
    """One collector: ingest, ticks, projections and announcements over one journal."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        activation: Activation,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = activation.rules
        self._ground = _ground(activation.topology)
        self._name = settings.collector.name
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
        self.records = Records(settings.records_url)
        self._station = station = Station(
            settings,
            self._clock,
            self.records,
            path=settings.data / "collector.sqlite",
            rules=self._rules,
            ground=self._ground,
            name=self._name,
            on_stored=lambda: self._announcer.wake(),
            will=self._will,
            on_failure=self._on_failure,
        )
        stack.callback(self.records.close)
        stack.callback(station.stop)
        station.open()
        self.records.open()
        self._announcer = Announcer(self.records, station.link, self._clock)
        station.start()
        self._connect()

    def _connect(self) -> None:
        station, stack = self._station, self._stack
        station.link.on_up(self._greet)
        stack.callback(lambda: station.disconnect([self._farewell()]))
        broker = self._settings.broker
        canary.listen(stack, broker, self._name, station.connect, self._on_failure)
        self._announcer.start()
        stack.callback(self._announcer.stop)
        station.attend()
        self._measured = CollectorMetrics(self._clock, lambda: [station], self._announcer)

    def _greet(self) -> None:
        """Say that a collector listens; each connection has an instance of its own.

        The edges answer a new instance with a new birth, so that what they had sealed while
        nobody listened is known as backlog.
        """
        self._instance = uuid.uuid4().hex
        status = CollectorStatus(online=True, instance=self._instance, clock=self._clock.now_ms())
        self._station.link.publish(topics.COLLECTOR_STATUS, encode(status), retain=True)

    def _will(self) -> Will:
        topic, payload = self._farewell()
        return Will(topic, payload)

    def _farewell(self) -> tuple[str, bytes]:
        status = CollectorStatus(online=False, instance=self._instance, clock=self._clock.now_ms())
        return topics.COLLECTOR_STATUS, encode(status)

    @property
    def journal(self) -> Journal:
        """Return the log."""
        return self._station.journal

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be reached."""
        return self._station.link.connected

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the collector runs."""
        return self._measured.sources()

    def counts(self) -> StationCounts:
        """Return what was done since the start."""
        return self._station.counts()


def _ground(topology: dict[str, Any]) -> Ground:
    """Keep what the file says packed: as objects a street takes a hundred times as much."""
    kept = pack_json(topology)
    return lambda adopted: merge(unpack_json(kept), adopted)
