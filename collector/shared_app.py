"""The composition root of one of several collectors (ADR 0026).

It keeps its lease, takes the sites that are to be its own, and runs a station for each. What it
cannot renew in time it gives up: whoever takes a site next begins where the records say, and the
edges have the rest.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import structlog
from prometheus_client.core import Metric

from collector.announce import Announcer
from collector.desk import Desk
from collector.metrics import CollectorMetrics
from collector.parts import Parts
from collector.shared_metrics import FAILURES, LEASE, LOST, SITES, TAKEN
from collector.sites import Sites, place
from collector.tree import Tree
from core.contracts import topics
from core.contracts.errors import EstateError, InUseError
from core.contracts.log import Activation
from core.runtime import canary
from core.runtime.background import Background
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.metrics import Source
from core.runtime.settings import Settings
from core.storage.records import Records, tenures

log = structlog.get_logger(__name__)

#: How often (s) it is asked again whether the name is free.
_ASK_S = 0.25
#: Of a lease's time, when it is renewed, and when it counts as lost to be on the safe side.
_RENEW, _SAFE = 0.25, 0.85


class SharedCollectorApp:
    """One of several collectors over the same records and the same series store."""

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
        self._parts = Parts(activation)
        self._on_failure = on_failure
        self._name = settings.collector.name
        self._instance = uuid.uuid4().hex
        self._stack = ExitStack()
        self._background = Background("membership", self._run, patience_s=None)
        self._renewed = time.monotonic()
        self._strangers: set[str] = set()
        self._trouble = ""

    async def start(self) -> None:
        """Open the records and start; raise as :meth:`Records.open` does, undoing it all."""
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Give all sites to the others and stop."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._background.stopping.set()
        self._stack.close()

    def _start(self) -> None:
        settings, stack = self._settings, self._stack
        settings.data.mkdir(parents=True, exist_ok=True)
        self.records = Records(settings.records_url)
        self.records.open()
        stack.callback(self.records.close)
        parts = self._parts
        parts.check()
        tree = Tree(self.records, self._clock, parts)
        tree.step()
        # The broker would throw out whoever lives under this name as soon as we connect.
        self._claim_patiently()
        stack.callback(self._resign)
        self._tell_of_unknown_sites()
        desk = Desk([tree])
        desk.start()
        stack.callback(desk.stop)
        self._link = Link(settings.broker, LinkOptions(client_id=self._name))
        self._link.subscribe(topics.ALL_STATUS, self._on_status)
        stack.callback(self._link.stop)
        self.sites = Sites(
            settings, self._clock, self.records, parts, lambda: self._announcer, self._on_failure,
        )  # fmt: skip
        self._announcer = Announcer(
            self.records, self._link, self._clock, name=place(self._name), owns=self.sites.owns
        )
        self._measured = CollectorMetrics(self._clock, self.sites.stations, self._announcer)
        stack.callback(self._leave)
        canary.listen(stack, settings.broker, self._name, self._join, self._on_failure)

    def _claim_patiently(self) -> None:
        """Begin the lease; who was killed under this name may have had one for a moment more.

        Raises :class:`InUseError` when it is renewed by somebody.
        """
        until = time.monotonic() + self._settings.collector.lease_s + 1
        while True:
            try:
                return self._claim()
            except InUseError:
                is_over = time.monotonic() > until
                if is_over or self._background.stopping.wait(_ASK_S):
                    raise

    def _claim(self) -> None:
        settings = self._settings.collector
        with self.records.session() as session:
            lease_ms = int(settings.lease_s * 1000)
            tenures.claim(session, self._name, self._instance, lease_ms, own=settings.sites)
        self._renewed = time.monotonic()

    def _tell_of_unknown_sites(self) -> None:
        with self.records.reading() as session:
            known = tenures.known_sites(session)
        unknown = [site for site in self._settings.collector.sites if site not in known]
        if unknown:
            log.warning(
                "collector.sites names what no topology does and nobody speaks for",
                sites=unknown, known=sorted(known)[:20],
            )  # fmt: skip

    def _join(self) -> None:
        try:
            self._claim()  # trying the broker may have taken longer than the lease
        except InUseError as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)
            return
        except EstateError as error:  # the next beats say more
            log.warning("the lease is not renewed", why=str(error))
        self._link.start()
        self._announcer.start()
        self._background.start()

    def _leave(self) -> None:
        self._background.stop()
        self.sites.close()
        self._announcer.stop()

    def _resign(self) -> None:
        try:
            with self.records.session() as session:
                tenures.leave(session, self._name, self._instance)
        except EstateError as error:
            log.warning("the lease was not ended; it runs out by itself", why=str(error))

    def _on_status(self, message: Message) -> None:
        """Note a site that speaks and that no topology may name, so that somebody takes it."""
        address = topics.address(message.topic)
        if address is not None and message.payload:
            self._strangers.add(address.site)

    # -- membership --------------------------------------------------------------------------

    def _run(self) -> None:
        every = self._settings.collector.lease_s * _RENEW
        while not self._background.stopping.is_set():
            began = time.monotonic()
            try:
                self._beat(began)
                self._trouble = ""
            except EstateError as error:
                self._worry(error)
            except Exception as error:
                # The lease decides what becomes of the sites, and the next beat may succeed.
                log.exception("membership failed")
                self._worry(error)
            self._background.stopping.wait(max(every - (time.monotonic() - began), 0.05))

    def _worry(self, error: Exception) -> None:
        if not self._trouble:
            level = log.error if isinstance(error, InUseError) else log.warning
            level("the lease is not renewed", why=str(error))
        self._trouble = str(error)
        if time.monotonic() - self._renewed > self._settings.collector.lease_s * _SAFE:
            for site in self.sites.terms():
                self.sites.drop(site)

    def _beat(self, now: float) -> None:
        settings = self._settings.collector
        strangers, self._strangers = self._strangers, set()
        with self.records.session() as session:
            for site in sorted(strangers):
                tenures.note_site(session, site)
            orders = tenures.beat(
                session, self._name, self._instance, int(settings.lease_s * 1000),
                own=settings.sites,
            )  # fmt: skip
        self._renewed = now
        terms = self.sites.terms()
        for site, term in terms.items():
            if orders.held.get(site) != term:
                self.sites.drop(site)
        for site in orders.give:
            self.sites.give(site)
        for site in (*orders.take, *(orders.held.keys() - terms.keys() - set(orders.give))):
            self.sites.take(site)

    # -- being asked -------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Tell whether the broker can be reached."""
        return self._link.connected

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told."""
        return (*self._measured.sources(), self._members)

    def _members(self) -> Iterator[Metric]:
        yield SITES.of(len(self.sites.terms()))
        yield TAKEN.of(self.sites.taken)
        yield LOST.of(self.sites.lost)
        yield FAILURES.of(self.sites.failures)
        yield LEASE.of(time.monotonic() - self._renewed)
