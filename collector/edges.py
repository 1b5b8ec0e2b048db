"""What the collector itself notes about edges: births, ends, holes, clashes, clocks.

Each note is an ``edge.*`` event in the journal, so that the rules fold over it like any other.

Where the collector has lost the broker it knows nothing of the edges, and says so: they are
noted as offline by the broker. When it is there again, those that have not come back within
:data:`RETURN_S` are noted once more, now as offline by themselves.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec
import structlog

from collector.streams import StreamKey
from core.contracts.batch import EdgeStatus
from core.contracts.codec import decode_event, encode, make_event
from core.contracts.events import Lane
from core.contracts.log import control_lane
from core.runtime.clock import Clock
from core.runtime.link import Message
from core.storage.journal import Append, Log

log = structlog.get_logger(__name__)

#: A clock that differs by more than this is flagged (ms).
SKEW_MS = 5_000
#: A collector that has started blames the broker when its link does not stand after so long (s).
LINK_S = 10.0
#: So long (s) after the broker has returned its edges may take to follow: the longest pause
#: between two attempts of a link (60 s), and to connect and be born.
RETURN_S = 75.0
_LANES = frozenset(str(lane) for lane in Lane)
_is_online = attrgetter("online")


class _Lost(StrEnum):
    """Why an edge that was online is not heard, as far as it is no fault of its own."""

    START = "the collector has started"
    END = "the collector ends"
    BROKER = "the broker cannot be reached"


@dataclass(slots=True)
class _Edge:
    online: bool = False
    lost: _Lost | None = None
    epoch: str = ""
    status: bytes = b""
    """Digest of the status that was journalled last."""
    skewed: bool = False
    birth: int = 0
    """The edge's clock in the birth that was noted or repeated last."""


class EdgeRegister:
    """The edges that a collector has heard of; used by the ingest's thread only."""

    def __init__(self, journal: Log, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._edges: dict[tuple[str, str], _Edge] = {}
        self._linked = False
        self._due: float | None = None

    def restore(self) -> None:
        """Read from the journal which edges were online."""
        reader = self._journal.reader()
        try:
            for name, last in self._journal.last_seqs().items():
                family, _, rest = name.partition("/")
                if family != "control":
                    continue
                site, edge = rest.split("/", 1)
                known = self._edges.setdefault((site, edge), _Edge())
                for entry in reader.read_lane(name, max(last - 50, 0), limit=50):
                    event = decode_event(entry.body)
                    if event.kind in ("edge.online", "edge.offline"):
                        known.online = event.kind == "edge.online"
                        known.epoch = event.data.epoch
                        by_broker = not known.online and event.data.cause is not None
                        known.lost = _Lost.BROKER if by_broker else None
        finally:
            reader.close()

    def inherit(self, site: str, online: dict[str, str]) -> None:
        """Take over which edges of a site were online, by their epochs."""
        for edge, epoch in online.items():
            self._edges[site, edge] = _Edge(online=True, epoch=epoch)

    def epoch(self, site: str, edge: str) -> str:
        """Return the epoch in which an edge was last heard of, empty where it was not."""
        known = self._edges.get((site, edge))
        return "" if known is None else known.epoch

    def birth(self, site: str, edge: str) -> int:
        """Return the clock of the birth that an edge's receipts answer, 0 without one."""
        known = self._edges.get((site, edge))
        return 0 if known is None else known.birth

    @property
    def skewed(self) -> int:
        """Return how many edges are online whose clock was off at their last birth; any thread."""
        return sum(known.online and known.skewed for known in list(self._edges.values()))

    def start(self) -> None:
        """Note that no edge is heard yet: the collector has only started."""
        self._lose(_Lost.START)
        self._due = time.monotonic() + LINK_S

    def leave(self) -> None:
        """Note that no edge is heard any more, because the collector ends."""
        self._due = None
        self._lose(_Lost.END)

    def link_down(self) -> None:
        """Note that no edge can be heard because of the broker, until each is born again."""
        self._linked, self._due = False, None
        self._lose(_Lost.BROKER, lambda known: known.online or known.lost is _Lost.START)

    def link_up(self) -> None:
        """Take that the broker is there: the edges are expected back."""
        self._linked, self._due = True, None
        for known in self._edges.values():
            if known.lost is _Lost.START:
                known.lost = None  # those that are there answer the greeting; nobody else is
            elif known.lost is _Lost.BROKER:
                self._due = time.monotonic() + RETURN_S

    def wait_s(self) -> float | None:
        """Return in how long (s) :meth:`look` has something to do by time alone, None: never."""
        return None if self._due is None else max(self._due - time.monotonic(), 0.0)

    def look(self) -> None:
        """Note what the time that has passed says: who is to blame that an edge is not heard."""
        if self._due is None or time.monotonic() < self._due:
            return
        if not self._linked:
            self.link_down()
            return
        self._due = None
        self._lose(None, lambda known: known.lost is _Lost.BROKER)

    def _lose(self, lost: _Lost | None, which: Callable[[_Edge], bool] = _is_online) -> None:
        """Note of some edges, those that are online, why they are not heard from now on."""
        for (site, edge), known in self._edges.items():
            if which(known):
                self._away(site, edge, known, lost)

    def _away(self, site: str, edge: str, known: _Edge, lost: _Lost | None) -> None:
        log.warning("edge not heard", site=site, edge=edge, why=lost or "it did not return")
        known.online, known.status, known.lost = False, b"", lost
        data: dict[str, Any] = {"epoch": known.epoch, "clean": False}
        if lost is _Lost.BROKER:
            data["cause"] = "broker"
        self._note(site, edge, "edge.offline", data)

    def take(
        self,
        site: str,
        status: EdgeStatus,
        message: Message,
        accepted: dict[Lane, int],
        epochs: list[str],
    ) -> bool:
        """Note a birth or an end; tell whether a birth is to be answered by a receipt.

        A repetition of what was noted last changes nothing. ``accepted`` is what is known of the
        status's epoch, ``epochs`` are those known at all, the oldest first. A retained birth
        may be of an edge that is long gone: those that live answer a collector's greeting with
        a new one.
        """
        known = self._edges.setdefault((site, status.edge), _Edge())
        mark = _mark(status)
        if mark == known.status:
            known.birth = status.clock if status.online else known.birth
            return status.online
        if not status.online:
            self._end(site, status, known, mark)
            return False
        if message.retained:
            return False
        former = known.epoch or next((e for e in reversed(epochs) if e != status.epoch), "")
        if former and former != status.epoch and status.epoch not in epochs:
            abandoned = {"epoch": former, "successor": status.epoch}
            self._note(site, status.edge, "edge.epoch_abandoned", abandoned)
        if not self._note(site, status.edge, "edge.online", _birth(status, accepted)):
            return False  # the log is full: no receipt, so the birth is repeated
        known.online, known.epoch, known.status = True, status.epoch, mark
        known.lost = None
        known.birth = status.clock
        self._check_clock(site, status, known)
        return True

    def _end(self, site: str, status: EdgeStatus, known: _Edge, mark: bytes) -> None:
        if not (known.online and known.epoch == status.epoch):
            return
        data: dict[str, Any] = {"epoch": status.epoch, "clean": status.clean}
        if self._note(site, status.edge, "edge.offline", data):
            known.online, known.status = False, mark

    def hole(self, key: StreamKey, first: int, last: int) -> Append:
        """Return the note of batches that the edge no longer has."""
        data = {"epoch": key.epoch, "lane": key.lane, "first_seq": first, "last_seq": last}
        return self._entry(key.site, key.edge, "edge.hole", data)

    def note_clash(self, key: StreamKey, seq: int) -> None:
        """Note that one identity came with two contents."""
        log.error("identity clash", lane=key.journal_lane, seq=seq)
        data = {"epoch": key.epoch, "lane": key.lane, "seq": seq}
        self._note(key.site, key.edge, "edge.identity_clash", data)

    def _check_clock(self, site: str, status: EdgeStatus, known: _Edge) -> None:
        skew = status.clock - self._clock.now_ms()
        skewed = abs(skew) > SKEW_MS
        if skewed or known.skewed:
            self._note(site, status.edge, "edge.clock", {"skew_s": skew / 1000})
        known.skewed = skewed

    def _note(self, site: str, edge: str, kind: str, data: dict[str, Any]) -> bool:
        """Journal a note; tell whether it is durable."""
        error = self._journal.append(self._entry(site, edge, kind, data)).exception()
        if error is not None:
            log.error("not noted", site=site, edge=edge, kind=kind, why=str(error))
        return error is None

    def _entry(self, site: str, edge: str, kind: str, data: dict[str, Any]) -> Append:
        now = self._clock.now_ms()
        event = make_event(kind, device=edge, at=now, seen=now, data=data)
        return Append(control_lane(site, edge), encode(event), now)


def _mark(status: EdgeStatus) -> bytes:
    """Return a digest of all but the clock, which goes on while a birth is repeated."""
    still = encode(msgspec.structs.replace(status, clock=0))
    return hashlib.blake2b(still, digest_size=16).digest()


def _birth(status: EdgeStatus, accepted: dict[Lane, int]) -> dict[str, Any]:
    """Return the data of ``edge.online``: what waits in the outbox that the log does not have."""
    waiting = {
        lane: info
        for lane, info in status.lanes.items()
        if lane in _LANES and info.last >= info.oldest and info.last > accepted.get(Lane(lane), 0)
    }
    return {
        "epoch": status.epoch,
        "backlog": sum(
            info.last - max(info.oldest - 1, accepted.get(Lane(lane), 0))
            for lane, info in waiting.items()
        ),
        "through": {lane: info.last for lane, info in waiting.items()},
    }
