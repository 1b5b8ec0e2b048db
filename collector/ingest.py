"""Ingest: what arrives is journalled, then the receipt says so (ADR 0001).

One thread decides; the link's callbacks and the journal's futures only post to its inbox.
"""

from __future__ import annotations

import hashlib
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

import structlog

from collector.edges import EdgeRegister
from collector.holding import Holding
from collector.streams import Stream, StreamKey, Streams, Verdict, parse_lane
from collector.tenure import Tenure
from collector.trail import JournalTrail
from collector.unnumbered import Unnumbered
from core.contracts import topics
from core.contracts.batch import (
    EDGE_STATUS,
    MAX_MEDIA_BYTES,
    Envelope,
    MediaHeader,
    Receipt,
    decode_envelope,
    decode_front,
    decode_media_header,
    decode_struct,
    digest,
)
from core.contracts.codec import whole
from core.contracts.errors import ContractError
from core.contracts.events import ID_PATTERN, Lane
from core.contracts.log import CONTROL, encode_media
from core.contracts.topics import Address
from core.runtime.clock import Clock
from core.runtime.link import Message
from core.storage.journal import Answer, Append, Log

log = structlog.get_logger(__name__)

_AT_ONCE = 512
_ID = re.compile(whole(ID_PATTERN))


class _Received(NamedTuple):
    family: str
    message: Message
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class _Stored:
    """More of these streams is stored for good; None: the edges have to be told again."""

    keys: frozenset[StreamKey] | None


class _Taken(NamedTuple):
    """A batch that the journal is to get, behind the note of a hole before it."""

    key: StreamKey
    seq: int
    appends: list[Append]


@dataclass(frozen=True, slots=True)
class _Settled:
    """The journal has answered on the batches of a round."""

    taken: list[_Taken]
    answer: Future[list[Answer]]


class _Turn(Enum):
    """What changes whether edges can be heard."""

    LINK_UP = auto()
    LINK_DOWN = auto()
    LEAVE = auto()
    TIME = auto()


_Item = _Received | _Settled | _Stored | _Turn
#: Site, edge, receipt, and the clock of the birth that it answers (0: of none).
PublishReceipt = Callable[[str, str, Receipt, int], None]


class Ingest:
    """Takes messages from the link, journals them, and answers with receipts."""

    def __init__(
        self,
        journal: Log,
        clock: Clock,
        publish: PublishReceipt,
        holding: Holding | None = None,
        known: frozenset[str] = frozenset(),
    ) -> None:
        """``holding`` is of the one site that it takes, where others have other sites.

        ``known`` are the edges that the topology names.
        """
        self._journal = journal
        self._clock = clock
        self._publish = publish
        self._holding = holding
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._streams = Streams(known, lambda lanes: journal.forget(*lanes).result())
        self._edges = EdgeRegister(journal, clock)
        self._taken: list[_Taken] = []
        self._dirty: dict[tuple[str, str], str] = {}
        self._thread: threading.Thread | None = None
        self._trail = JournalTrail()
        self.counts: Counter[str] = Counter()
        self._unnumbered = Unnumbered(journal, clock, holding, self.counts, self._again)

    @property
    def skewed_edges(self) -> int:
        """Return how many edges are online whose clock is off."""
        return self._edges.skewed

    def start(self) -> None:
        """Read the receipts from the journal and start deciding."""
        for name, last in self._journal.last_seqs().items():
            if (key := parse_lane(name)) is not None:
                self._streams.add(key)[key.lane] = Stream(last, last)
            elif name.startswith(f"{CONTROL}/"):
                _, site, edge = name.split("/")
                self._streams.know(site, edge)
        self._unnumbered.restore()
        self._edges.restore()
        if self._holding is not None:
            self._inherit(self._holding.tenure)
        self._edges.start()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()

    def _inherit(self, tenure: Tenure) -> None:
        for key, seq in tenure.streams():
            self._streams.add(key)[key.lane] = Stream(seq, seq, seq)
            self._dirty[key.site, key.edge] = key.epoch
        self._edges.inherit(tenure.site, tenure.online)

    def stop(self) -> None:
        """Decide on what has arrived, then stop."""
        self._unnumbered.stop()
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join(5.0)
            self._thread = None

    def _again(self, message: Message, family: str) -> None:
        self._inbox.put(_Received(family, message, is_again=True))

    # -- posts: called by the link's thread -----------------------------------------------

    def on_batch(self, message: Message) -> None:
        """Take a message from an edge's batch topic."""
        self._inbox.put(_Received("batch", message))

    def on_status(self, message: Message) -> None:
        """Take an edge's birth, farewell or last will."""
        self._inbox.put(_Received("status", message))

    def on_plain(self, message: Message) -> None:
        """Take a plain event; it is acknowledged to the broker after the commit."""
        self._inbox.put(_Received("plain", message))

    def on_link_up(self) -> None:
        """Take that edges can be heard, and told again how far they are receipted."""
        self._inbox.put(_Turn.LINK_UP)

    def on_stored(self, keys: frozenset[StreamKey]) -> None:
        """Take that the edges may forget more of these streams."""
        self._inbox.put(_Stored(keys))

    def on_link_down(self) -> None:
        """Take that no edge can be heard any more."""
        self._inbox.put(_Turn.LINK_DOWN)

    def on_leave(self) -> None:
        """Take that the collector ends: that the link then goes down is no fault of the broker."""
        self._inbox.put(_Turn.LEAVE)

    # -- the deciding thread --------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._await()) is not None:
            self._handle(item)
            for _ in range(_AT_ONCE):
                try:
                    item = self._inbox.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    self._hand_over()
                    self._send_receipts()
                    return
                self._handle(item)
            self._hand_over()
            self._send_receipts()

    def _await(self) -> _Item | None:
        """Wait for what comes next; what is due by time alone goes before it."""
        wait_s = self._edges.wait_s()
        if wait_s == 0:
            return _Turn.TIME
        try:
            return self._inbox.get(timeout=wait_s)
        except queue.Empty:
            return _Turn.TIME

    def _handle(self, item: _Item) -> None:
        try:
            if isinstance(item, _Settled):
                self._settle(item)
            elif isinstance(item, _Received):
                self._receive(item)
            elif isinstance(item, _Stored):
                self._tell(item.keys)
            else:
                self._turn(item)
        except Exception:
            # One message must never end the ingest; it stays unreceipted and comes again.
            self.counts["failed"] += 1
            log.exception("ingest failed on an item")

    def _turn(self, turn: _Turn) -> None:
        self._hand_over()  # what came before is in the log before it
        if turn is _Turn.LINK_DOWN:
            self._edges.link_down()
        elif turn is _Turn.LEAVE:
            self._edges.leave()
        elif turn is _Turn.LINK_UP:
            self._edges.link_up()
            if self._holding is not None:
                self._tell(None)
        else:
            self._edges.look()

    def _receive(self, item: _Received) -> None:
        message = item.message
        if not item.is_again:
            self.counts[item.family] += 1
        try:
            address = _address(message.topic)
            if item.family == "status":
                self._status(address, message)
            elif item.family == "plain":
                self._unnumbered.plain(address, message)
            elif message.properties:
                self._media(address, message)
            else:
                self._batch(address, message)
        except ContractError as refused:
            self._unnumbered.refuse(message, refused, item.family)

    def _batch(self, address: Address, message: Message) -> None:
        head = self._envelope(message)
        if head.edge != address.sender:
            raise ContractError(f"the topic is {address.sender}'s", field="edge")
        key = StreamKey(address.site, head.edge, head.epoch, head.lane)
        self._take(key, head.seq, head.oldest, message.payload, digest(message.payload))

    def _envelope(self, message: Message) -> Envelope:
        """Read a batch's envelope, of what comes damaged again and again its front at least.

        An edge whose disk has damaged a batch sends it until it has a receipt, and all behind it
        waits. The first time it may have been damaged on its way only.
        """
        try:
            return decode_envelope(message.payload)
        except ContractError:
            head = decode_front(message.payload)
            if head is None or not self._unnumbered.has_refused(message):
                raise
            return head

    def _media(self, address: Address, message: Message) -> None:
        header: MediaHeader = decode_media_header(message.properties)
        if header.edge != address.sender:
            raise ContractError(f"the topic is {address.sender}'s", field="edge")
        jpeg = message.payload
        if len(jpeg) > MAX_MEDIA_BYTES or not jpeg.startswith(b"\xff\xd8"):
            raise ContractError(f"a snapshot is a JPEG of at most {MAX_MEDIA_BYTES} bytes")
        key = StreamKey(address.site, header.edge, header.epoch, Lane.MEDIA)
        mark = hashlib.blake2b(jpeg, digest_size=16).digest()
        self._take(key, header.seq, header.oldest, encode_media(header, jpeg), mark)

    def _take(self, key: StreamKey, seq: int, oldest: int, body: bytes, mark: bytes) -> None:
        if not self._admits(key.site, key.edge, key.epoch):
            return
        stream = self._stream(key)
        decision = stream.decide(seq, oldest)
        self.counts[decision.verdict] += 1
        self._dirty[key.site, key.edge] = key.epoch
        if decision.verdict is Verdict.DUPLICATE:
            self._compare(key, seq, mark)
            return
        if decision.verdict is Verdict.GAP:
            return
        appends = []
        if decision.hole is not None:
            appends.append(self._edges.hole(key, *decision.hole))
            self.counts["holes"] += 1
        batch = Append(
            key.journal_lane,
            body,
            self._clock.now_ms(),
            seq=seq,
            after=stream.after,
            digest=mark,
        )
        stream.accept(seq)
        # All or none: a hole is declared when the batch behind it is taken, and only once.
        self._taken.append(_Taken(key, seq, [*appends, batch]))

    def _hand_over(self) -> None:
        """Give the journal what a round has taken."""
        if not self._taken:
            return
        taken, self._taken = self._taken, []
        self._journal.append_each([batch.appends for batch in taken]).add_done_callback(
            lambda answer: self._inbox.put(_Settled(taken, answer))
        )

    def _stream(self, key: StreamKey) -> Stream:
        return self._streams.add(key).setdefault(key.lane, Stream())

    def _admits(self, site: str, edge: str, epoch: str) -> bool:
        """Tell whether an edge is listened to; without a receipt it keeps what it has."""
        if self._streams.admits(site, edge, epoch):
            return True
        self.counts["beyond_bound"] += 1
        if self.counts["beyond_bound"] == 1:
            log.error("not listened to: too many edges or epochs", site=site, edge=edge)
        return False

    def _compare(self, key: StreamKey, seq: int, mark: bytes) -> None:
        if seq > self._stream(key).committed:
            return  # still on its way to the disk
        kept = self._journal.digest(key.journal_lane, seq)
        if kept is not None and kept != mark:
            self.counts["identity_clash"] += 1
            self._edges.note_clash(key, seq)

    def _settle(self, item: _Settled) -> None:
        failure = item.answer.exception()
        answers = [failure] * len(item.taken) if failure else item.answer.result()
        for (key, seq, _), answer in zip(item.taken, answers, strict=True):
            stream = self._stream(key)
            if isinstance(answer, list):
                stream.commit(seq)
                pos = answer[-1].pos
                self._trail.note(key, seq, pos)
                self._dirty[key.site, key.edge] = key.epoch
                continue
            if stream.accepted > stream.committed:
                log.error("not journalled", lane=key.journal_lane, why=str(answer))
            self.counts["not_journalled"] += 1
            stream.fail()

    def _tell(self, keys: frozenset[StreamKey] | None) -> None:
        """Have edges told what they may forget; each of its newest epoch."""
        if keys is None:
            told = self._streams.all_epochs()
        else:
            told = sorted({(key.site, key.edge, key.epoch) for key in keys})
        for site, edge, epoch in told:
            if self._edges.epoch(site, edge) in ("", epoch):
                self._dirty[site, edge] = epoch

    def _status(self, address: Address, message: Message) -> None:
        if not message.payload:
            return  # a retained status was deleted
        status = decode_struct(message.payload, EDGE_STATUS)
        if status.edge != address.sender:
            raise ContractError(f"the topic is {address.sender}'s", field="edge")
        if not self._admits(address.site, status.edge, status.epoch):
            return
        self._hand_over()  # what came before a birth is in the log before it
        self._streams.know(address.site, status.edge)
        lanes = self._streams.lanes(address.site, status.edge, status.epoch)
        accepted = {lane: stream.accepted for lane, stream in lanes.items()}
        known = self._streams.epochs(address.site, status.edge)
        if self._edges.take(address.site, status, message, accepted, known):
            self._dirty[address.site, status.edge] = status.epoch

    def _send_receipts(self) -> None:
        self._trail.tell()
        dirty, self._dirty = self._dirty, {}
        self.counts["receipts"] += len(dirty)
        for (site, edge), epoch in dirty.items():
            lanes = self._streams.lanes(site, edge, epoch)
            committed = {str(lane): stream.committed for lane, stream in lanes.items()}
            receipt = Receipt(edge, epoch, committed)
            if self._holding is not None:
                receipt = self._holding.receipt(receipt)
            self._publish(site, edge, receipt, self._edges.birth(site, edge))


@lru_cache(maxsize=4096)
def _address(topic: str) -> Address:
    address = topics.address(topic)
    if address is None or not all(map(_ID.match, (address.site, address.sender))):
        raise ContractError("the topic is not estate/v1/{site}/{sender}/…", field="topic")
    return address
