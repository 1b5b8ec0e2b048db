"""The MQTT JSON driver: a message is acknowledged when what it says is committed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

from core.contracts.errors import JournalError, SettingsError
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from edge.driver import (
    DriverContext,
    DriverSink,
    LinkError,
    ReportRule,
    StreamingDriver,
    health_rule,
)
from edge.drivers.json_mqtt.settings import JsonMqttSettings
from edge.drivers.settings import report_rules
from edge.mapping.mapper import RefusedError
from edge.mapping.model import Mapping as MappingFile
from edge.mapping.model import load
from edge.mapping.reception import Reception
from edge.mapping.reports import REPORTS
from edge.mapping.silence import Silence

#: More than the broker may have unacknowledged; only messages of QoS 0 can exceed it.
_MOST_WAITING = 5_000
_JOURNAL_PAUSE_S = 1.0
#: The link has so long (s) to end; then its thread is left to end by itself.
_LINK_STOP_S = 2.0


def create(settings: JsonMqttSettings, context: DriverContext) -> JsonMqttDriver:
    """Build the driver with its mapping; raise :class:`SettingsError`."""
    mapping = load(settings.map, Path(context.base))
    if not mapping.topics and not settings.topics:
        raise SettingsError(f"topics: the map {mapping.name} names none; give at least one")
    return JsonMqttDriver(settings, mapping, context)


class JsonMqttDriver(StreamingDriver):
    """Listens to one broker."""

    def __init__(
        self, settings: JsonMqttSettings, mapping: MappingFile, context: DriverContext
    ) -> None:
        broker, root = settings.broker, settings.root
        name = f"json_mqtt {broker.host}:{broker.port}" + (f" {root}" if root else "")
        super().__init__(name, settings.device_ids())
        self._settings = settings
        self._context = context
        self._root = f"{root}/" if root else ""
        self._filters = [self._root + t for t in (settings.topics or mapping.topics)]
        # 23 letters and digits: what every broker takes, and the same after a restart.
        digest = hashlib.sha256(f"{context.edge}\0{name}\0{self._filters}".encode()).hexdigest()
        self._client_id = f"e{digest[:22]}"
        self._reception = Reception(
            name, mapping, settings.devices, context, settings.pseudonym_key_file
        )
        self._silence = Silence((), settings.silence_s)

    @property
    def gateway(self) -> str | None:
        """Return the broker where several devices hang on it."""
        broker = self._settings.broker
        return f"{broker.host}:{broker.port}" if len(self.devices) > 1 else None

    @property
    def patience(self) -> int:
        """Return 1: ``silence_s`` is the patience."""
        return 1

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return when statuses and readings are reported; health is repeated."""
        return {"device.health": health_rule(60), **report_rules(self._settings, REPORTS)}

    async def start(self, sink: DriverSink) -> None:
        """Take the sink, the keys and what was told; raise :class:`SettingsError`."""
        await super().start(sink)
        self._reception.open(sink)

    async def run(self) -> None:
        """Listen until the connection is lost; raise :class:`LinkError`."""
        settings, loop = self._settings, asyncio.get_running_loop()
        up, down = asyncio.Event(), asyncio.Event()
        # What an earlier connection left unread comes again: it was not acknowledged.
        queue: asyncio.Queue[Message] = asyncio.Queue()

        def hand_over(message: Message) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._enqueue, queue, message)

        def note(event: asyncio.Event) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

        link = Link(self._broker(), LinkOptions(
            self._client_id, session_expiry_s=settings.session_s, manual_ack=True,
        ))  # fmt: skip
        for topic_filter in self._filters:
            link.subscribe(topic_filter, hand_over)
        link.on_up(lambda: note(up))
        link.on_down(lambda: note(down))
        link.start()
        try:
            try:
                async with asyncio.timeout(settings.timeout_s):
                    await up.wait()
            except TimeoutError:
                raise LinkError("no connection to the broker", "network") from None
            self._silence = Silence(self.devices, settings.silence_s)
            await self._listen(queue, down)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINK_STOP_S):
                    await asyncio.shield(asyncio.to_thread(link.stop))

    def _broker(self) -> BrokerSettings:
        given, base = self._settings.broker.model_dump(), self._context.base
        files = ("password_file", "ca_file", "cert_file", "key_file")
        for name in files:
            if given[name] is not None:
                given[name] = base / given[name]
        return BrokerSettings(embedded=False, **given)

    def _enqueue(self, queue: asyncio.Queue[Message], message: Message) -> None:
        if queue.qsize() >= _MOST_WAITING:
            self._sink.count("messages_overrun")
            return
        queue.put_nowait(message)

    async def _listen(self, queue: asyncio.Queue[Message], down: asyncio.Event) -> None:
        watch = asyncio.create_task(self._watch(down))
        try:
            while True:
                reading = asyncio.create_task(queue.get())
                await asyncio.wait((reading, watch), return_when=asyncio.FIRST_COMPLETED)
                if watch.done():
                    reading.cancel()
                    raise LinkError("the connection to the broker is lost", "network")
                message = reading.result()
                await self._take(message)
                message.ack()
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, down: asyncio.Event) -> None:
        while not down.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._silence.look_s):
                    await down.wait()
            await self._silence.tell(self._sink)

    async def _take(self, message: Message) -> None:
        """Tell what a message says, however long the journal is full."""
        topic = message.topic.removeprefix(self._root)
        while True:
            try:
                heard = await self._reception.take(
                    message.payload, topic, patient=True, alive=not message.retained
                )
            except RefusedError:
                return
            except JournalError:
                # The health of a device could not be told; nothing else was yet.
                self._sink.count("journal_waits")
                await asyncio.sleep(_JOURNAL_PAUSE_S)
            else:
                if not message.retained:
                    self._silence.heard(heard.devices)
                return
