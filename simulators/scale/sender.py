"""Sends the batches of many edges over one connection, as edges do: windows, receipts, go-back.

What is not receipted is held in memory, for this is load and not an edge: when the simulator
is killed, what it held is gone, and it never claims otherwise.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from msgspec.json import Decoder

from core.contracts import topics
from core.contracts.batch import (
    COLLECTOR_STATUS,
    MAX_EVENTS,
    RECEIPT,
    CollectorStatus,
    EdgeStatus,
    LaneStatus,
    Receipt,
    decode_struct,
    envelope,
    seal,
)
from core.contracts.codec import encode
from core.contracts.errors import ContractError
from core.contracts.events import Lane
from core.contracts.window import LaneWindow
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings

WINDOW = 32
#: Without an answer for so long (s) an edge repeats its birth.
_BIRTH_AGAIN_S = 5.0
_SEAL_BYTES = 256 * 1024
_LANES = (Lane.URGENT, Lane.STATE, Lane.READING)


@dataclass(slots=True)
class _Lane:
    """The batches of one lane that are not receipted: ``held[0]`` is the window's oldest."""

    held: deque[bytes] = field(default_factory=deque)
    window: LaneWindow = field(default_factory=lambda: LaneWindow(WINDOW))

    @property
    def oldest(self) -> int:
        return self.window.acknowledged + 1

    @property
    def last(self) -> int:
        return self.window.acknowledged + len(self.held)


class EdgeSender:
    """One edge on the wire."""

    def __init__(self, site: str, edge: str) -> None:
        self.site = site
        self.edge = edge
        self.epoch = str(uuid.uuid4())
        self.lanes: dict[Lane, _Lane] = {lane: _Lane() for lane in _LANES}
        self.answered = False
        self.born = 0.0

    @property
    def held(self) -> int:
        """Return how many batches are not receipted."""
        return sum(len(lane.held) for lane in self.lanes.values())

    def add(self, lane: Lane, events: list[bytes], now: int) -> None:
        """Seal events (in their order) into batches of at most 1,000 and 256 kB."""
        # A street's edges are heard: what happens goes the urgent way.
        held = self.lanes[Lane.URGENT if lane is Lane.EVENT else lane].held
        start = size = 0
        for index, event in enumerate(events):
            if index - start >= MAX_EVENTS or size + len(event) > _SEAL_BYTES:
                held.append(seal(events[start:index], now))
                start, size = index, 0
            size += len(event) + 1
        if start < len(events):
            held.append(seal(events[start:], now))

    def status(self, now: int, *, online: bool) -> EdgeStatus:
        """Return its birth or farewell."""
        lanes = {str(name): LaneStatus(lane.oldest, lane.last) for name, lane in self.lanes.items()}
        return EdgeStatus(
            online, self.edge, self.epoch, now, lanes if online else {}, "simulated", not online
        )

    def take(self, receipt: Receipt, now: float) -> None:
        """Forget what a receipt covers."""
        if receipt.epoch != self.epoch:
            return
        self.answered = True
        for name, seq in receipt.lanes.items():
            lane = self.lanes[Lane(name)]
            for _ in range(min(seq - lane.window.acknowledged, len(lane.held))):
                lane.held.popleft()
            lane.window.on_receipt(seq, now)

    def begin_again(self) -> None:
        """Be born again, and go on from the last receipt."""
        for lane in self.lanes.values():
            lane.window.go_back()
        self.answered, self.born = False, 0.0

    def due(self, now: float) -> list[bytes]:
        """Return the payloads that may be sent now; they count as sent."""
        found: list[bytes] = []
        for name, lane in self.lanes.items():
            window, oldest = lane.window, lane.oldest
            window.expire(now)
            for seq in range(window.sent + 1, min(window.sent + window.room, lane.last) + 1):
                sealed = lane.held[seq - oldest]
                found.append(envelope(self.edge, self.epoch, name, seq, oldest, sealed))
                window.on_sent(seq, now)
        return found


class Fleet:
    """All senders of a street over one link; driven by :meth:`step` from one thread."""

    def __init__(self, broker: BrokerSettings, sites: list[tuple[str, str]]) -> None:
        self.senders = {edge: EdgeSender(site, edge) for site, edge in sites}
        self._link = Link(broker, LinkOptions(client_id=f"street:{uuid.uuid4().hex[:8]}"))
        self._mail: deque[Receipt | CollectorStatus | None] = deque()
        self._instance: str | None = None
        self.refused = 0
        self._link.subscribe(topics.ALL_RECEIPTS, self._on_receipt)
        self._link.subscribe(topics.COLLECTOR_STATUS, self._on_collector)
        self._link.on_up(lambda: self._mail.append(None))

    @property
    def held(self) -> int:
        """Return how many batches are not receipted."""
        return sum(sender.held for sender in self.senders.values())

    @property
    def answered(self) -> bool:
        """Tell whether a collector has answered every edge's birth."""
        return all(sender.answered for sender in self.senders.values())

    def start(self) -> None:
        """Start connecting."""
        self._link.start()

    def stop(self, now: int) -> None:
        """Say farewell for every edge and disconnect."""
        self._link.stop(
            (topics.status(s.site, s.edge), encode(s.status(now, online=False)))
            for s in self.senders.values()
        )

    def step(self, now_ms: int) -> int:
        """Take the mail, publish what is due; return how many batches went out."""
        now = time.monotonic()
        self._read_mail(now)
        if not self._link.connected:
            return 0
        sent = 0
        for sender in self.senders.values():
            if not sender.answered:
                self._be_born(sender, now, now_ms)
                continue
            for payload in sender.due(now):
                topic = topics.batch(sender.site, sender.edge)
                self._link.publish(topic, payload, content_type="application/json")
                sent += 1
        return sent

    def _be_born(self, sender: EdgeSender, now: float, now_ms: int) -> None:
        if sender.born and now - sender.born < _BIRTH_AGAIN_S:
            return
        sender.born = now
        payload = encode(sender.status(now_ms, online=True))
        self._link.publish(topics.status(sender.site, sender.edge), payload, retain=True)

    def _read_mail(self, now: float) -> None:
        while self._mail:
            item = self._mail.popleft()
            if isinstance(item, Receipt):
                sender = self.senders.get(item.edge)
                if sender is not None:
                    sender.take(item, now)
            elif item is None:
                self._begin_again()
            elif item.online and item.instance != self._instance:
                if self._instance is not None:
                    self._begin_again()
                self._instance = item.instance

    def _begin_again(self) -> None:
        for sender in self.senders.values():
            sender.begin_again()

    def _on_receipt(self, message: Message) -> None:
        self._post(message, RECEIPT)

    def _on_collector(self, message: Message) -> None:
        self._post(message, COLLECTOR_STATUS)

    def _post(self, message: Message, shape: Decoder[Any]) -> None:
        try:
            self._mail.append(decode_struct(message.payload, shape))
        except ContractError:
            self.refused += 1
