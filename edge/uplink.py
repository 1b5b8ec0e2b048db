"""The uplink: sends the outbox over MQTT and deletes only what a receipt covers (ADR 0001).

After each connect the edge publishes its birth, waits for the collector's receipt of its
epoch, and goes on from receipt + 1. What it had sealed before the birth is backlog; the fresh
state of its devices goes into the urgent lane before any of it is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import msgspec
import structlog

from core.contracts import topics
from core.contracts.batch import (
    COLLECTOR_STATUS,
    RECEIPT,
    CollectorStatus,
    EdgeStatus,
    LaneStatus,
    MediaHeader,
    Receipt,
    answered_birth,
    decode_struct,
    envelope,
    media_properties,
)
from core.contracts.codec import encode
from core.contracts.errors import ContractError
from core.contracts.events import Lane
from core.contracts.window import LaneWindow
from core.runtime.background import Background
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions, Message, Will
from core.runtime.settings import BrokerSettings
from core.runtime.trail import Trail
from core.storage.journal import Entry, Journal, JournalReader, LaneBounds
from edge.greeting import Greeting
from edge.outbox import WINDOW
from edge.pace import Pace
from edge.receipts import Answer, Owner, Standing, credible, known_lanes

log = structlog.get_logger(__name__)

#: So often lanes go back without a receipt until nobody is taken to listen.
_MOST_STALLS = 1
#: The instance of no collector.
_NOBODY = ""
_READ_AT_ONCE = 16
_IDLE_S = 0.5
#: While a backlog is held to its pace.
_PACE_S = 0.01
_STOP_S = 5.0


class Uplink:
    """Sends one edge's journal, lane after lane by priority, within each lane's window.

    ``fresh_state`` is called when a birth was answered; it commits the fresh state of all devices
    to the urgent lane and its future is done when that is durable. ``on_command`` takes what comes
    on the edge's command topic; it runs on the network thread and must only enqueue.
    """

    def __init__(
        self,
        *,
        site: str,
        edge: str,
        journal: Journal,
        broker: BrokerSettings,
        clock: Clock,
        version: str,
        fresh_state: Callable[[], Future[None]],
        on_command: Callable[[Message], None] | None = None,
    ) -> None:
        self._site = site
        self._edge = edge
        self._journal = journal
        self._clock = clock
        self._version = version
        self._fresh_state = fresh_state
        self._wake = threading.Event()
        self._background = Background("uplink", self._run, patience_s=_STOP_S)
        self._mail: list[Answer | CollectorStatus | str] = ["start"]
        self._mail_lock = threading.Lock()
        self._link = Link(
            broker, LinkOptions(client_id=f"edge:{site}:{edge}", will=self._will, keepalive_s=10)
        )
        self._link.subscribe(topics.receipt(site, edge), self._on_receipt)
        self._link.subscribe(topics.COLLECTOR_STATUS, self._on_collector)
        if on_command is not None:
            # What is sent up must not depend on whether the broker lets anything come down.
            self._link.subscribe(
                topics.command(site, edge), on_command, dispensable=True, as_published=True
            )
        self._link.on_up(lambda: self._post("up"))
        self._link.on_down(lambda: self._post("down"))
        self._trail = Trail(log)
        self._pace = Pace()
        self._begin()
        self._owner = Owner()
        self._instance: str | None = None
        self._previous_epoch: str | None = None
        self.sent_batches = 0
        self.receipts = 0
        """Receipts that were news."""
        self.went_back = 0
        """Times that a lane went back to what was last receipted."""
        self.former_receipts = 0
        """Receipts of a collector to which the site belongs no longer."""
        self.refused_messages = 0
        self.failed_steps = 0

    def _begin(self) -> None:
        self._handing_on = self._paced = False
        self._stalls = 0
        self._windows: dict[Lane, LaneWindow] = {lane: LaneWindow(WINDOW) for lane in Lane}
        self._greeting = Greeting(self._journal, self._clock, self._status, self._ask_fresh_state)

    # -- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting and sending in the background."""
        self._background.start()
        self._link.start()

    def stop(self) -> None:
        """Say farewell and stop; what was not sent stays in the journal."""
        self._background.stopping.set()
        self._wake.set()
        self._background.stop()
        farewell = self._status({}, online=False, clean=True)
        self._link.stop([(topics.status(self._site, self._edge), encode(farewell))])

    def wake(self) -> None:
        """Say that the journal has more."""
        self._wake.set()

    def reply(self, payload: bytes, expiry_s: int) -> Future[int]:
        """Publish the reply to a command; fails as :meth:`Link.publish` does."""
        topic = topics.reply(self._site, self._edge)
        return self._link.publish(
            topic, payload, expiry_s=expiry_s, content_type="application/json"
        )

    @property
    def link(self) -> Link:
        """Return the connection to the broker."""
        return self._link

    @property
    def online(self) -> bool:
        """Tell whether the collector has answered the birth and the fresh state is committed."""
        return self._greeting.online

    @property
    def heard(self) -> bool:
        """Tell whether a collector listens, so that what happens goes into the urgent lane."""
        return self._greeting.heard

    # -- callbacks of the link: they only post --------------------------------------------

    def _on_receipt(self, message: Message) -> None:
        try:
            receipt = known_lanes(decode_struct(message.payload, RECEIPT))
            birth = answered_birth(message.properties)
            self._post(Answer(receipt, birth, retained=message.retained))
        except ContractError as error:
            self.refused_messages += 1
            log.warning("receipt refused", why=str(error))

    def _on_collector(self, message: Message) -> None:
        try:
            self._post(decode_struct(message.payload, COLLECTOR_STATUS))
        except ContractError as error:
            self.refused_messages += 1
            log.warning("collector status refused", why=str(error))

    def _post(self, mail: Answer | CollectorStatus | str) -> None:
        with self._mail_lock:
            self._mail.append(mail)
        self._wake.set()

    def _will(self) -> Will:
        will = self._status({}, online=False)
        return Will(topics.status(self._site, self._edge), encode(will))

    # -- the uplink's thread --------------------------------------------------------------

    def _run(self) -> None:
        reader: JournalReader | None = None
        try:
            while not self._background.stopping.is_set():
                try:
                    reader = reader or self._journal.reader()
                    busy = self._step(reader)
                except Exception as error:
                    # The outbox keeps everything; the uplink must go on whatever it meets.
                    self.failed_steps += 1
                    if self.failed_steps % 100 == 1:
                        log.exception("uplink step failed", why=str(error))
                    self._background.stopping.wait(_IDLE_S)
                    busy = False
                if not busy:
                    self._wake.wait(_PACE_S if self._paced else _IDLE_S)
                    self._wake.clear()
        finally:
            if reader is not None:
                reader.close()

    def _step(self, reader: JournalReader) -> bool:
        self._paced = False
        self._read_mail()
        if not self._link.connected:
            return False
        now = time.monotonic()
        if not self.online:
            self._greet(now)
            return False
        if not self._handing_on:
            self._handing_on = self._greeting.settle()
            return True
        for lane, window in self._windows.items():
            if window.expire(now):
                log.info("no receipt in time, going back", lane=lane, to=window.acknowledged + 1)
                self._stalls += 1
                self.went_back += 1
        if self._stalls > _MOST_STALLS:
            self._begin_again("nobody answers")
            return False
        # One lane at a time: what happened goes before status, and status before bulk.
        return any(self._send_lane(reader, lane, window) for lane, window in self._windows.items())

    def _read_mail(self) -> None:
        while True:
            with self._mail_lock:
                if not self._mail:
                    return
                item = self._mail[0]
            self._take(item)
            with self._mail_lock:
                del self._mail[0]  # only now: what could not be taken is taken again

    def _take(self, item: Answer | CollectorStatus | str) -> None:
        if isinstance(item, Answer):
            self._take_receipt(item)
        elif isinstance(item, CollectorStatus):
            self._take_status(item)
        else:
            self._begin_again(item)

    def _take_status(self, status: CollectorStatus) -> None:
        if not status.online:
            if self._instance != _NOBODY:
                self._begin_again("the collector went away")
            self._instance = _NOBODY
        elif status.instance != self._instance:
            if self._instance is not None:
                self._begin_again("another collector")
            self._instance = status.instance

    def _begin_again(self, why: str, stands: dict[str, int] | None = None) -> None:
        """Greet anew; what follows ``stands`` (by lane) is sent again, where that is given."""
        log.info("link state", edge=self._edge, state=why)
        self._journal.grow(allowed=True)
        acknowledged = {lane: window.acknowledged for lane, window in self._windows.items()}
        self._begin()
        for lane, seq in acknowledged.items():
            behind = seq if stands is None else stands.get(lane, 0)
            self._windows[lane].acknowledged = self._windows[lane].sent = behind

    def _greet(self, now: float) -> None:
        """Publish a birth where one is due, and again when nobody answers it."""
        if self._greeting.failed:
            self._begin_again("the fresh state could not be kept")
        birth = self._greeting.step(now)
        if birth is not None:
            topic = topics.status(self._site, self._edge)
            self._link.publish(topic, encode(birth), retain=True)

    def _status(
        self, lanes: dict[str, LaneStatus], *, online: bool = True, clean: bool = False
    ) -> EdgeStatus:
        return EdgeStatus(
            online,
            self._edge,
            self._journal.epoch,
            self._clock.now_ms(),
            lanes,
            self._version,
            clean,
            self._previous_epoch,
        )

    def _ask_fresh_state(self) -> Future[None]:
        asked = self._fresh_state()
        asked.add_done_callback(lambda _: self._wake.set())
        return asked

    def _take_receipt(self, answer: Answer) -> None:
        receipt = answer.receipt
        if receipt.edge != self._edge or receipt.epoch != self._journal.epoch:
            return
        answers_us = self._greeting.is_open(answer.birth)
        standing = self._owner.judge(receipt.term, answers_us=answers_us)
        if standing is Standing.FORMER:
            self.former_receipts += 1
            return
        bounds = self._journal.bounds()
        if not all(credible(bounds.get(lane), seq) for lane, seq in receipt.lanes.items()):
            self._start_new_epoch(receipt)
            return
        if standing is Standing.NEW:
            self._begin_again("another collector", receipt.lanes)
            self._journal.note_receipted({str(n): receipt.lanes.get(n, 0) for n in Lane})
        self._advance(receipt, bounds)
        self._greeting.answer(answer.birth, retained=answer.retained)

    def _advance(self, receipt: Receipt, bounds: dict[str, LaneBounds]) -> None:
        """Let go what is stored, and go on behind what is committed."""
        stored = receipt.lanes if receipt.stored is None else receipt.stored
        gone = [
            self._journal.acknowledge(name, seq)
            for name, seq in stored.items()
            if name in bounds and seq >= bounds[name].oldest
        ]
        news = {
            name: seq
            for name, seq in receipt.lanes.items()
            if seq > self._windows[Lane(name)].acknowledged
        }
        if receipt.stored is not None:
            self._journal.note_receipted(news)
        for durable in gone:
            durable.result()
        now = time.monotonic()
        self.receipts += bool(news)
        for name, seq in news.items():
            window = self._windows[Lane(name)]
            through = range(max(window.acknowledged, bounds[name].oldest - 1) + 1, seq + 1)
            window.on_receipt(seq, now)
            self._stalls = 0
            self._trail.tell("batches receipted", self._edge, self._journal.epoch, name, through)

    def _start_new_epoch(self, receipt: Receipt) -> None:
        """The collector has more than was ever sealed here: the disk was restored or cloned."""
        self._previous_epoch = receipt.epoch
        epoch = self._journal.new_epoch()
        log.error("the journal is older than its receipt: new epoch", was=receipt.epoch, now=epoch)
        self._begin()

    def _send_lane(self, reader: JournalReader, lane: Lane, window: LaneWindow) -> bool:
        if window.room <= 0:
            return False
        late = window.sent < self._greeting.waited(lane)
        if late and not self._pace.may(time.monotonic()):
            self._paced = True
            return False
        limit = min(window.room, _READ_AT_ONCE)
        entries = reader.read_lane(lane, window.sent, limit=limit, max_bytes=4 << 20)
        oldest = reader.oldest(lane)
        if entries:
            self._journal.note_sent(lane, entries[-1].seq).result()
        if late:
            self._pace.take(sum(entry.events for entry in entries))
        for entry in entries:
            if oldest is not None:
                self._publish(lane, entry, min(oldest, entry.seq))
            window.on_sent(entry.seq, time.monotonic())
            self.sent_batches += 1
        sent = (entry.seq for entry in entries)
        self._trail.tell("batches sent", self._edge, self._journal.epoch, lane, sent)
        return bool(entries)

    def _publish(self, lane: Lane, entry: Entry, oldest: int) -> None:
        topic = topics.batch(self._site, self._edge)
        epoch = self._journal.epoch
        if lane is not Lane.MEDIA:
            payload = envelope(self._edge, epoch, lane, entry.seq, oldest, entry.body)
            self._link.publish(topic, payload, content_type="application/json")
            return
        head, _, jpeg = entry.body.partition(b"\n")
        header = MediaHeader(
            edge=self._edge, epoch=epoch, seq=entry.seq, oldest=oldest, **msgspec.json.decode(head)
        )
        self._link.publish(
            topic, jpeg, properties=media_properties(header), content_type="image/jpeg"
        )
