"""What the collector itself notes about edges: births, ends, holes, clashes, clocks.

Each note is an ``edge.*`` event in the journal, so that the rules fold over it like any other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import structlog

from collector.streams import StreamKey
from core.contracts.batch import EdgeStatus
from core.contracts.codec import decode_event, encode, make_event
from core.contracts.events import Lane
from core.contracts.log import control_lane
from core.runtime.clock import Clock
from core.runtime.link import Message
from core.storage.journal import Append, Journal

log = structlog.get_logger(__name__)

#: A clock that differs by more than this is flagged (ms).
SKEW_MS = 5_000
_LANES = frozenset(str(lane) for lane in Lane)


@dataclass(slots=True)
class _Edge:
    online: bool = False
    epoch: str = ""
    status: bytes = b""
    """Digest of the status that was journalled last."""
    skewed: bool = False


class EdgeRegister:
    """The edges that a collector has heard of; used by the ingest's thread only."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._edges: dict[tuple[str, str], _Edge] = {}

    def restore(self) -> None:
        """Read from the journal which edges were online."""
        reader = self._journal.reader()
        try:
            for name, info in self._journal.lanes().items():
                family, _, rest = name.partition("/")
                if family != "control":
                    continue
                site, edge = rest.split("/", 1)
                known = self._edges.setdefault((site, edge), _Edge())
                for entry in reader.read_lane(name, max(info.last - 50, 0), limit=50):
                    event = decode_event(entry.body)
                    if event.kind in ("edge.online", "edge.offline"):
                        known.online = event.kind == "edge.online"
                        known.epoch = event.data.epoch
        finally:
            reader.close()

    def all_away(self, why: str) -> None:
        """Note that no edge can be heard, until each is born again."""
        for (site, edge), known in self._edges.items():
            if known.online:
                log.warning("edge not heard", site=site, edge=edge, why=why)
                known.online, known.status = False, b""
                self._note(site, edge, "edge.offline", {"epoch": known.epoch, "clean": False})

    def take(
        self,
        site: str,
        status: EdgeStatus,
        message: Message,
        accepted: dict[Lane, int],
        epochs: set[str],
    ) -> None:
        """Note a birth or an end; a repetition of what was noted last changes nothing.

        ``accepted`` is what is known of the status's epoch, ``epochs`` are those known at all.
        """
        known = self._edges.setdefault((site, status.edge), _Edge())
        mark = hashlib.blake2b(message.payload, digest_size=16).digest()
        if mark == known.status:
            return
        if not status.online:
            if known.online and known.epoch == status.epoch:
                known.online, known.status = False, mark
                data: dict[str, Any] = {"epoch": status.epoch, "clean": status.clean}
                self._note(site, status.edge, "edge.offline", data)
            return
        if known.epoch and known.epoch != status.epoch and status.epoch not in epochs:
            abandoned = {"epoch": known.epoch, "successor": status.epoch}
            self._note(site, status.edge, "edge.epoch_abandoned", abandoned)
        known.online, known.epoch, known.status = True, status.epoch, mark
        waiting = {
            lane: info
            for lane, info in status.lanes.items()
            if lane in _LANES
            and info.last >= info.oldest
            and info.last > accepted.get(Lane(lane), 0)
        }
        self._note(
            site,
            status.edge,
            "edge.online",
            {
                "epoch": status.epoch,
                "backlog": sum(
                    info.last - max(info.oldest - 1, accepted.get(Lane(lane), 0))
                    for lane, info in waiting.items()
                ),
                "through": {lane: info.last for lane, info in waiting.items()},
            },
        )
        if not message.retained:
            self._check_clock(site, status, known)

    def note_hole(self, key: StreamKey, first: int, last: int) -> None:
        """Note batches that the edge no longer has."""
        self._note(
            key.site,
            key.edge,
            "edge.hole",
            {"epoch": key.epoch, "lane": key.lane, "first_seq": first, "last_seq": last},
        )

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

    def _note(self, site: str, edge: str, kind: str, data: dict[str, Any]) -> None:
        now = self._clock.now_ms()
        event = make_event(kind, device=edge, at=now, seen=now, data=data)
        self._journal.append(Append(control_lane(site, edge), encode(event), now))
