"""The barrier driver: which vehicles passed or were refused, and the barrier itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

import structlog

from core.contracts.commands import Action
from edge.driver import (
    CommandRefusedError,
    DriverContext,
    DriverSink,
    LinkError,
    Params,
    insist,
)
from edge.drivers.isapi_barrier.book import ReadingBook
from edge.drivers.isapi_barrier.plates import PlateReader, Reading
from edge.drivers.isapi_barrier.settings import IsapiBarrierSettings
from edge.isapi import times
from edge.isapi.client import AnswerError, judge
from edge.isapi.listening import Alert, ListeningDriver
from edge.isapi.memory import memory_of
from edge.isapi.values import branch, each, text
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key

_OVERLAP_MS = 5_000
_PAUSE_AFTER_FAILURE_S = 30.0
_OPEN = "<BarrierGate><ctrlMode>open</ctrlMode></BarrierGate>"
_log = structlog.get_logger(__name__)


def create(settings: IsapiBarrierSettings, context: DriverContext) -> IsapiBarrierDriver:
    """Build the driver."""
    return IsapiBarrierDriver(settings, context)


class IsapiBarrierDriver(ListeningDriver):
    """Listens to one barrier's camera, and opens the barrier."""

    def __init__(self, settings: IsapiBarrierSettings, context: DriverContext) -> None:
        super().__init__("isapi_barrier", settings, context, settings.device_ids(), settings.device)
        self._settings = settings
        self._memory = memory_of(context.data, settings.device)
        self._book = ReadingBook()
        self._plates: PlateReader | None = None
        self._owed = settings.backfill
        self._search_after = 0.0
        self._horizon = 0

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return that the barrier can be opened."""
        return {self._settings.device: frozenset({Action.UNLOCK})}

    async def start(self, sink: DriverSink) -> None:
        """Read the secrets and what is known; raise :class:`SettingsError`."""
        await super().start(sink)
        own = self._settings.pseudonym_key_file
        key = (
            read_or_make_key(self.context.data / "pseudonym.key")
            if own is None
            else read_key(self.context.base / own)
        )
        self._plates = PlateReader(self._settings, Pseudonyms(key))
        memory = await asyncio.to_thread(self._memory.load)
        self._book.restore(memory.get("readings"))
        self._horizon = self.context.clock.now_ms() - int(self._settings.backfill_first_s * 1000)

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Open the barrier; raise :class:`DeviceError` when it is not done."""
        if action is not Action.UNLOCK or device != self._settings.device:
            raise CommandRefusedError(f"{device} cannot do {action}")
        if params:
            raise CommandRefusedError("a barrier closes by itself: unlock takes no parameters")
        path = f"/ISAPI/Parking/channels/{self._settings.channel}/barrierGate"
        judge(await self.client.request("PUT", path, _OPEN))
        return {}

    async def work(self, queue: asyncio.Queue[Alert]) -> None:
        """Fetch what was missed, then deal with what the stream tells."""
        self._owed, self._search_after = self._settings.backfill, 0.0
        while True:
            if self._owed and time.monotonic() >= self._search_after:
                await self._catch_up()
            patience = max(self._search_after - time.monotonic(), 0.0) if self._owed else None
            try:
                async with asyncio.timeout(patience):
                    alert = await queue.get()
            except TimeoutError:
                continue
            await self._take(alert)
            queue.task_done()

    async def _take(self, alert: Alert) -> None:
        if (text(alert.get("eventType")) or "").upper() != "ANPR" or self._plates is None:
            self._sink.count("other_events")
            return
        reading = self._plates.from_alert(alert, self.offset_min, self.context.clock.now_ms())
        if reading is None:
            self._sink.count("malformed_events")
        elif self._book.known(reading.vehicle, reading.at):
            self._sink.count("duplicates")
        else:
            await self._deal_with(reading)

    async def _catch_up(self) -> None:
        """Ask the camera for the plates that nobody heard of."""
        try:
            found = await self._search()
        except AnswerError as error:
            self._owed = not error.unsupported
            self._note_failure(error)
            return
        except LinkError as error:
            if error.cause in ("credentials", "network"):
                raise
            self._note_failure(error)
            return
        self._owed = False
        told = 0
        for reading in sorted(found, key=lambda item: item.at):
            if reading.at >= self._horizon and not self._book.known(reading.vehicle, reading.at):
                await self._deal_with(reading)
                told += 1
        if told:
            self._sink.count("backfilled", told)
            _log.info("backfilled", driver=self.name, events=told)

    async def _search(self) -> list[Reading]:
        latest = self._book.latest
        since = self._horizon if latest is None else latest - _OVERLAP_MS
        self._horizon = since if latest is None else 0
        wanted = times.basic(since, self.offset_min, self._settings.time_format)
        path = f"/ISAPI/Traffic/channels/{self._settings.channel}/vehicleDetect/plates"
        body = f"<AfterTime><picTime>{wanted}</picTime></AfterTime>"
        content = (await self.client.request("POST", path, body)).content()
        found: list[Reading] = []
        for entry in each(branch(content, "Plate")):
            reading = (
                None if self._plates is None else self._plates.from_search(entry, self.offset_min)
            )
            if reading is None:
                self._sink.count("malformed_events")
            else:
                found.append(reading)
        return found

    def _note_failure(self, error: LinkError) -> None:
        self._search_after = time.monotonic() + _PAUSE_AFTER_FAILURE_S
        self._sink.count("backfill_failed")
        _log.warning("backfill_failed", driver=self.name, error=str(error))

    async def _deal_with(self, reading: Reading) -> None:
        """Emit a reading, and remember it; a stream that is lost does not come between."""
        await self.finish(self._emit(reading))

    async def _emit(self, reading: Reading) -> None:
        if reading.unsure:
            self._sink.count("unsure_plates")
        device = self._settings.device
        await insist(
            partial(self._sink.emit, reading.kind, device, reading.data, reading.at), self._sink
        )
        self._book.note(reading.vehicle, reading.at)
        try:
            await asyncio.to_thread(self._memory.save, {"readings": self._book.dump()})
        except OSError as error:
            self._sink.count("memory_not_saved")
            _log.warning("memory_not_saved", driver=self.name, error=str(error))
