"""The OSDP driver: the edge as the panel of the readers on one bus.

What a reader tells is decided and acted upon at once, on the event loop and without waiting for
anything; what is to be journalled waits in a bounded list of its own. A full journal therefore
never keeps a door shut, until that list is full: then the readers are not asked any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import osdp_sys
import structlog

from core.contracts.commands import Action
from core.contracts.errors import DeviceError, JournalError, SettingsError
from edge.driver import (
    Cause,
    CommandRefusedError,
    DriverContext,
    DriverSink,
    LinkError,
    Params,
    ReportRule,
    StreamingDriver,
    health_rule,
)
from edge.drivers.osdp.access_list import AccessFile
from edge.drivers.osdp.backlog import Backlog
from edge.drivers.osdp.bus import Bus
from edge.drivers.osdp.decide import Panel
from edge.drivers.osdp.entrance import Act, Drive, Entrance, Say, Skip
from edge.drivers.osdp.line import open_line
from edge.drivers.osdp.reader import Reader
from edge.drivers.osdp.settings import LONGEST_PULSE_S, OsdpSettings
from edge.drivers.osdp.station import Ended, News, Station, Told
from edge.drivers.settings import report_rules
from edge.pseudonym import Pseudonyms, read_key, read_or_make_key
from edge.wiegand import WiegandError, decode

_log = structlog.get_logger(__name__)
_REPORTS = {"device.health": health_rule(period_s=60)}
#: Real time between two looks at the doors' timers, at the health, and at the access list.
_TICK_S, _WATCH_S, _LIST_S = 0.2, 0.5, 10.0
_ACT_S = 5.0


def create(settings: OsdpSettings, context: DriverContext) -> OsdpDriver:
    """Build the driver."""
    return OsdpDriver(settings, context)


class OsdpDriver(StreamingDriver):
    """The readers of one bus, and the doors they stand at."""

    def __init__(self, settings: OsdpSettings, context: DriverContext) -> None:
        super().__init__(f"osdp {settings.bus}", settings.device_ids())
        self._settings = settings
        self._context = context
        self._readers = [Reader(reader) for reader in settings.readers]
        self._index = {reader.device: i for i, reader in enumerate(settings.readers)}
        self._keys: list[bytes | None] = []
        self._entrances: dict[str, Entrance] = {}
        self._panel: Panel | None = None
        self._access: AccessFile | None = None
        self._backlog: Backlog | None = None
        self._bus: Bus | None = None
        self._bus_counted: Counter[str] = Counter()

    @property
    def gateway(self) -> str | None:
        """Return the bus, where it has more than one reader."""
        return self._settings.bus if len(self._readers) > 1 else None

    @property
    def patience(self) -> int:
        """Return 1: a reader is asked for seconds before it is called lost."""
        return 1

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules: a door can be still all night, its health is repeated."""
        return report_rules(self._settings, _REPORTS)

    @property
    def actions(self) -> Mapping[str, frozenset[Action]]:
        """Return what each reader can be asked: what its outputs are wired to."""
        found: dict[str, frozenset[Action]] = {}
        for reader in self._settings.readers:
            owner = self._settings.readers[self._index[reader.door or reader.device]]
            can = {Action.UNLOCK} if owner.lock is not None else set()
            if reader.relay_output is not None:
                can.add(Action.RELAY_OUTPUT)
            if can:
                found[reader.device] = frozenset(can)
        return found

    # -- life --------------------------------------------------------------------------------

    async def start(self, sink: DriverSink) -> None:
        """Read keys and access list; raise :class:`SettingsError` where one cannot be read."""
        await super().start(sink)
        settings, context = self._settings, self._context
        self._keys = [reader.key(context.base) for reader in self._readers]
        pseudonyms = Pseudonyms(
            read_or_make_key(context.data / "pseudonym.key")
            if settings.pseudonym_key_file is None
            else read_key(context.base / settings.pseudonym_key_file)
        )
        if settings.access is not None:
            self._access = AccessFile(context.base / settings.access.file)
            self._panel = Panel(self._access.load())
        self._entrances = {
            reader.device: Entrance(reader, self._panel, pseudonyms)
            for reader in settings.readers
            if reader.door is None
        }
        self._backlog = Backlog(self.name, sink)

    async def stop(self) -> None:
        """Stop; what waits for the journal gets a second."""
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            await backlog.close()

    async def run(self) -> None:
        """Talk with the readers until the line is lost; raise :class:`LinkError`."""
        stations = [
            Station(reader.settings.address, key, reader.settings.install)
            for reader, key in zip(self._readers, self._keys, strict=True)
        ]
        news: asyncio.Queue[tuple[int, News]] = asyncio.Queue()
        bus = Bus(
            partial(open_line, self._settings),
            stations,
            lambda index, item: news.put_nowait((index, item)),
            hold=lambda: self._backlog is not None and self._backlog.full,
        )
        self._bus_counted.clear()
        for reader in self._readers:
            reader.begin(time.monotonic())
        bus.start()
        self._bus = bus
        watch = asyncio.create_task(self._watch(bus), name=f"{self.name} health")
        try:
            while True:
                item = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        item = await news.get()
                if item is not None:
                    self._hear(bus, *item)
                if watch.done():
                    await watch
                now = self._context.clock.now_ms()
                for entrance in self._entrances.values():
                    self._do(entrance, entrance.due(now))
        finally:
            self._bus = None
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await bus.close()
            self._count(bus)

    # -- what readers tell -------------------------------------------------------------------

    def _hear(self, bus: Bus, index: int, news: News) -> None:
        if isinstance(news, Ended):
            where: Cause = "bus" if self._settings.serial else "network"
            raise LinkError(f"{self._settings.bus}: {news.error}", where) from news.error
        reader = self._readers[index]
        if isinstance(news, Told):
            self._take(index, news.event)
            return
        reader.went(online=news.online, why=news.why, credentials=news.credentials)
        if news.online:
            self._ask_status(bus, index)
            if reader.settings.door is None:
                entrance = self._entrances[reader.settings.device]
                self._do(entrance, entrance.back())

    def _ask_status(self, bus: Bus, index: int) -> None:
        bus.ask_status(index, osdp_sys.STATUS_REPORT_LOCAL)
        if self._readers[index].settings.inputs:
            bus.ask_status(index, osdp_sys.STATUS_REPORT_INPUT)

    def _take(self, index: int, event: dict[str, object]) -> None:
        reader, now = self._readers[index], self._context.clock.now_ms()
        settings = reader.settings
        entrance = self._entrances[settings.door or settings.device]
        kind = event["event"]
        acts: Sequence[Act]
        if kind == osdp_sys.EVENT_CARDREAD:
            try:
                card = decode(_whole(event.get("length")), _bytes(event["data"]))
            except WiegandError:
                self._sink.count("bad_card_reads")
                return
            opened = [e.device for e in self._entrances.values() if e.door.open]
            acts = entrance.card(settings.address, settings.direction, card, now, opened)
            self._sink.count("cards")
        elif kind == osdp_sys.EVENT_KEYPRESS:
            acts = entrance.keys(settings.address, _bytes(event["data"]), now)
        elif kind == osdp_sys.EVENT_STATUS:
            acts = self._status(
                reader, entrance, _whole(event["type"]), _bytes(event["report"]), now
            )
        else:
            acts = [Skip("other_events")]
        self._do(entrance, acts)

    def _status(
        self, reader: Reader, entrance: Entrance, kind: int, report: bytes, now: int
    ) -> Sequence[Act]:
        if kind == osdp_sys.STATUS_REPORT_INPUT:
            return entrance.inputs(report, now) if reader.settings.door is None else []
        return [] if kind == osdp_sys.STATUS_REPORT_OUTPUT else reader.status(kind, report)

    # -- what is done about it ---------------------------------------------------------------

    def _do(self, entrance: Entrance, acts: Sequence[Act]) -> None:
        for act in acts:
            if isinstance(act, Say):
                self._say(act)
            elif isinstance(act, Drive):
                self._drive(entrance.device, act)
            else:
                self._sink.count(act.reason)

    def _drive(self, device: str, act: Drive) -> asyncio.Future[bool]:
        """Switch an output; the future tells whether the reader did it."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(well: bool) -> None:  # noqa: FBT001
            if not outcome.done():
                outcome.set_result(well)
            self._switched(device, well=well)

        if self._bus is None:
            done(False)  # noqa: FBT003
        else:
            command = {
                "command": osdp_sys.CMD_OUTPUT, "output_no": act.output,
                "control_code": act.control, "timer_count": act.tenths,
            }  # fmt: skip
            self._bus.submit(self._index[device], command, done)
        return outcome

    def _switched(self, device: str, *, well: bool) -> None:
        if not well:
            self._sink.count("outputs_not_switched")
        for said in self._readers[self._index[device]].switched(well=well):
            self._say(said)

    def _say(self, said: Say) -> None:
        if self._backlog is not None:
            self._backlog.put(said.kind, said.device, said.data, self._context.clock.now_ms())

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Unlock a door, or switch a reader's spare output."""
        reader = self._readers[self._index[device]].settings
        if action is Action.UNLOCK:
            entrance = self._entrances[reader.door or device]
            acts = entrance.unlock(self._context.clock.now_ms())
            drives = [act for act in acts if isinstance(act, Drive)]
            await self._switch(entrance.device, drives)
            self._do(entrance, [act for act in acts if isinstance(act, Say)])
            return {"seconds": entrance.lock.seconds if entrance.lock else 0.0}
        if action is Action.RELAY_OUTPUT and reader.relay_output is not None:
            await self._switch(device, [_relay(reader.relay_output, params)])
            return {}
        raise CommandRefusedError(f"{device} cannot do {action}")

    async def _switch(self, device: str, drives: list[Drive]) -> None:
        if not self._readers[self._index[device]].online:
            raise DeviceError(f"{device} is offline")
        for drive in drives:
            try:
                async with asyncio.timeout(_ACT_S):
                    well = await self._drive(device, drive)
            except TimeoutError:
                raise DeviceError(f"{device} did not answer within {_ACT_S:g} s") from None
            if not well:
                raise DeviceError(f"{device} did not switch its output")

    # -- health ------------------------------------------------------------------------------

    async def _watch(self, bus: Bus) -> None:
        """Tell how the readers are, ask for their status, and look at the access list."""
        asked_at = list_at = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH_S)
            now = time.monotonic()
            self._count(bus)
            if bus.held:
                for reader in self._readers:
                    reader.excuse(now)
                continue
            for index, reader in enumerate(self._readers):
                with contextlib.suppress(JournalError):  # said again at the next look
                    await self._tell_health(bus, index, reader, now)
            self._judge_bus(bus, now)
            if now - asked_at >= self._settings.status_s:
                asked_at = now
                for index, reader in enumerate(self._readers):
                    if reader.online:
                        self._ask_status(bus, index)
            if now - list_at >= _LIST_S:
                list_at = now
                await self._look_at_list()

    async def _tell_health(self, bus: Bus, index: int, reader: Reader, now: float) -> None:
        found = reader.judge(now, bus.heard(index), self._settings.silence_s)
        if found is True:
            await self._sink.reached(reader.device, bus.latency_ms(index))
        elif isinstance(found, LinkError):
            await self._sink.failed(reader.device, found)

    def _judge_bus(self, bus: Bus, now: float) -> None:
        """Give a line up on which nobody answers; a new one may be better."""
        patience_s = 2 * self._settings.silence_s
        last = max(reader.last_good(bus.heard(i)) for i, reader in enumerate(self._readers))
        if now - last >= patience_s:
            raise LinkError(
                f"nobody on {self._settings.bus} answers for {patience_s:g} s",
                "bus" if len(self._readers) > 1 else "device",
            )

    def _count(self, bus: Bus) -> None:
        for name, amount in dict(bus.counts).items():
            fresh = amount - self._bus_counted[name]
            if fresh:
                self._bus_counted[name] = amount
                self._sink.count(name, fresh)

    async def _look_at_list(self) -> None:
        """Take a changed access list; one that cannot be used changes nothing."""
        if self._access is None or self._panel is None:
            return
        try:
            fresh = await asyncio.to_thread(self._access.changed)
        except SettingsError as error:
            self._sink.count("access_list_refused")
            _log.error("access_list_refused", driver=self.name, error=str(error))
            return
        if fresh is not None:
            self._panel.use(fresh)
            self._sink.count("access_list_taken")
            _log.info("access_list_taken", driver=self.name)


def _relay(output: int, params: Params) -> Drive:
    """Return what a relay command asks; raise :class:`CommandRefusedError`."""
    on, for_s = params.get("on"), params.get("for_s")
    if not isinstance(on, bool):
        raise CommandRefusedError("on: true or false")
    if for_s is None:
        return Drive(output, 2 if on else 1)
    if isinstance(for_s, str | bool) or not 0.1 <= for_s <= LONGEST_PULSE_S:
        raise CommandRefusedError(f"for_s: 0.1 to {LONGEST_PULSE_S:g}, or left out")
    return Drive(output, 5 if on else 6, round(for_s * 10))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
