"""Access events without a hole: the live stream, and the controller's own memory behind it.

At the start, after every (re)connect and where a number is missing, the controller is asked
for what nobody heard, and the numbers decide what is new. An event counts as dealt with only
after the journal's commit; what is known is then written to the edge's disk.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from edge.driver import DriverContext, DriverSink, LinkError, insist
from edge.isapi.access_event import AccessEvent, from_alert
from edge.isapi.access_settings import AccessSettings
from edge.isapi.client import AnswerError
from edge.isapi.history import search
from edge.isapi.listening import Alert, ListeningDriver
from edge.isapi.memory import memory_of
from edge.isapi.serials import Hole, SerialBook
from edge.isapi.values import branch, text
from edge.observation import Observation
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key

#: A search begins so much before what is known (ms of the controller's time): its events carry
#: whole seconds, and its clock may have been set back a little.
_OVERLAP_MS = 120_000
#: A search ends so much later than now (ms): the controller's clock may be ahead.
_AHEAD_MS = 86_400_000
#: Searches for holes are so far apart (real seconds), and after one that failed.
_PAUSE_S, _PAUSE_AFTER_FAILURE_S = 10.0, 30.0
#: After so many searches in a row that failed the live stream goes on without.
_MOST_FAILURES = 3
_DEVICE_INFO = "/ISAPI/System/deviceInfo"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why an event gives no observation; ``reason`` is the name of a counter."""

    reason: str


class AccessDriver(ListeningDriver):
    """Listens to one access controller; its translation is the subclass's business."""

    def __init__(
        self,
        kind: str,
        settings: AccessSettings,
        context: DriverContext,
        devices: tuple[str, ...],
        speaker: str,
    ) -> None:
        super().__init__(kind, settings, context, devices, speaker)
        self._access = settings
        self._memory = memory_of(context.data, devices[0])
        self.book = SerialBook()
        self._horizon = 0
        self._controller: str | None = None
        self._owed = True
        self._searches = settings.backfill
        self._search_after = 0.0
        self._failures = 0
        self._begun: tuple[object, int] = (None, 0)
        """Which event is being told, and how many of its observations are."""

    def health(self) -> Mapping[str, int]:
        """Return how many of the controller's events are lost, and how often it began anew."""
        return {
            "missed_serials": self.book.missed,
            "open_serials": sum(hole.size for hole in self.book.holes),
            "serial_eras": self.book.eras,
        }

    @abstractmethod
    def translate(self, event: AccessEvent, now: int) -> Sequence[Observation] | Skipped:
        """Return what an event says; nothing is remembered."""

    @abstractmethod
    def follow(self, event: AccessEvent, observations: Sequence[Observation]) -> None:
        """Remember what an event changes, after the journal's commit."""

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets and what is known; raise :class:`SettingsError`."""
        await super().start(sink)
        memory = await asyncio.to_thread(self._memory.load)
        self.book.restore(memory.get("serials"))
        self._controller = text(memory.get("controller"))
        self._horizon = (
            self.context.clock.now_ms() - int(self._access.backfill_first_s * 1000)
            if self.book.mark is None
            else 0
        )

    def pseudonyms(self) -> Pseudonyms:
        """Return the maker of pseudonyms; raise :class:`SettingsError` for a bad key."""
        own = self._access.pseudonym_key_file
        if own is None:
            return Pseudonyms(read_or_make_key(self.context.data / "pseudonym.key"))
        return Pseudonyms(read_key(self.context.base / own))

    # -- the live stream ---------------------------------------------------------------------

    async def work(self, queue: asyncio.Queue[Alert]) -> None:
        """Fetch what was missed, then deal with what the stream tells."""
        self._owed, self._searches = True, self._access.backfill
        self._search_after = 0.0
        while True:
            if self._may_search() and (self._owed or self.book.holes):
                await self._catch_up()
            try:
                async with asyncio.timeout(self._patience()):
                    alert = await queue.get()
            except TimeoutError:
                continue
            await self._take(alert)
            queue.task_done()

    async def _take(self, alert: Alert) -> None:
        if text(alert.get("eventType")) != "AccessControllerEvent":
            self._sink.count("other_events")
            return
        event = from_alert(alert, self.offset_min)
        if event is None:
            self._sink.count("malformed_events")
            return
        if event.stamp is None:
            await self._deal_with(event)
            return
        if self._is_old(event):
            return
        hole = self.book.gap_before(event.stamp, event.previous)
        if hole is not None:
            self.book.add(hole)
            self._sink.count("holes")
            if not self._searches:
                self._declare((hole,))
            elif self._may_search():
                # Filled before the event that showed it, so that the order is kept.
                await self._catch_up()
                if self._is_old(event):
                    return  # the controller's memory had it, too
        await self._deal_with(event)

    async def _recognise(self) -> None:
        """Begin the book anew when another controller answers at this address."""
        try:
            told = (await self.client.request("GET", _DEVICE_INFO)).content()
        except AnswerError:
            return
        info = branch(told, "DeviceInfo") or told
        controller = text(branch(info, "serialNumber")) or text(branch(info, "macAddress"))
        if controller is None or controller == self._controller:
            return
        if self._controller is not None:
            _log.warning("controller_replaced", driver=self.name)
            mark = self.book.mark
            self._horizon = 0 if mark is None else mark.second * 1000
            self.book.restart()
        self._controller = controller

    def _is_old(self, event: AccessEvent) -> bool:
        """Tell whether an event has been dealt with, or is older than what is wanted."""
        stamp = event.stamp
        if stamp is None:
            return False
        if self.book.known(stamp, fresh=event.fresh):
            self._sink.count("duplicates")
            return True
        if self.book.mark is None and not event.fresh and (event.at or 0) < self._horizon:
            self._sink.count("before_first")
            return True
        return False

    async def _deal_with(self, event: AccessEvent) -> None:
        """Emit what an event says, and remember it once that is committed."""
        await self.finish(self._emit(event))

    async def _emit(self, event: AccessEvent) -> None:
        outcome = self.translate(event, self.context.clock.now_ms())
        observations: Sequence[Observation] = ()
        if isinstance(outcome, Skipped):
            self._sink.count(outcome.reason)
        else:
            observations = outcome
        key = event.stamp or event
        if self._begun[0] != key:
            self._begun = (key, 0)
        for index, found in enumerate(observations[self._begun[1] :], self._begun[1]):
            own = None if event.stamp is None else _identity(event, index)
            emit = partial(self._sink.emit, found.kind, found.device, found.data, found.at, own)
            await insist(emit, self._sink)
            self._begun = (key, index + 1)
        self.follow(event, observations)
        if event.stamp is not None:
            self.book.note(event.stamp)
            await self._save()

    # -- the controller's memory -------------------------------------------------------------

    def _may_search(self) -> bool:
        return self._searches and time.monotonic() >= self._search_after

    def _patience(self) -> float | None:
        """Return how long to wait for an alert before a search is tried (again)."""
        if not self._searches or not (self._owed or self.book.holes):
            return None
        return max(self._search_after - time.monotonic(), 0.0)

    async def _catch_up(self) -> None:
        """Ask the controller for everything that is not known, and deal with it in its order."""
        standing = self.book.holes
        self._search_after = time.monotonic() + _PAUSE_S
        try:
            if self._owed:
                await self._recognise()
                standing = self.book.holes
            await self._fetch(standing)
        except AnswerError as error:
            self._search_after = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            if error.unsupported:
                self._searches = False
                self._owed = False
                self._declare(self.book.holes)
            self._note_failure(error)
        except LinkError as error:
            self._failures += 1
            if error.cause == "credentials" or (
                # Whatever cut the search will have cut the stream; the order is kept when all
                # begins anew. A controller that only refuses searches must not be cut off, too.
                error.cause == "network" and self._failures < _MOST_FAILURES
            ):
                raise
            self._search_after = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            self._note_failure(error)
        else:
            self._owed, self._failures = False, 0
            self._declare(standing)
            await self._save()

    def _note_failure(self, error: LinkError) -> None:
        self._sink.count("backfill_failed")
        _log.warning("backfill_failed", driver=self.name, error=str(error))

    async def _fetch(self, standing: tuple[Hole, ...]) -> None:
        now, mark = self.context.clock.now_ms(), self.book.mark
        seconds = [hole.after for hole in standing] + ([] if mark is None else [mark.second])
        since = min(seconds, default=0) * 1000 - _OVERLAP_MS if seconds else self._horizon
        found = 0
        async for event in search(self.client, max(since, 0), now + _AHEAD_MS, self.offset_min):
            if event is None:
                self._sink.count("malformed_events")
                continue
            if event.stamp is None or self._is_old(event):
                continue
            if (hole := self.book.gap_before(event.stamp, None)) is not None:
                # The controller's own list has no such numbers: there is nothing to wait for.
                self.book.add(hole)
                self._declare((hole,))
            await self._deal_with(event)
            found += 1
        if found:
            self._sink.count("backfilled", found)
            _log.info("backfilled", driver=self.name, events=found)

    def _declare(self, holes: Sequence[Hole]) -> None:
        """Say that events are lost, where holes are still open."""
        lost = self.book.declare(holes)
        if lost:
            _log.warning("events_lost", driver=self.name, events=lost)

    async def _save(self) -> None:
        value = {"controller": self._controller, "serials": self.book.dump()}
        try:
            await asyncio.to_thread(self._memory.save, value)
        except OSError as error:
            # Everything is told; only a restart of the edge would tell some of it again.
            self._sink.count("memory_not_saved")
            _log.warning("memory_not_saved", driver=self.name, error=str(error))


def _identity(event: AccessEvent, index: int) -> str:
    """Return the event's own id: the same however often and by whichever way it is told."""
    second = 0 if event.at is None else event.at // 1000
    return f"acs-{event.serial}-{second}" + (f"-{index}" if index else "")
