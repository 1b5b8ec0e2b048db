"""Dead letters and their way back: where a letter came from, and what a replay of it brings.

A replayed letter keeps the identity that it had: its batch and its index in it, or its place in
its device's lane. So the point that it becomes has the time that it would have had.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from core.contracts import topics
from core.contracts.batch import (
    MAX_RAW_BYTES,
    Batch,
    Reject,
    check_event,
    decode_batch,
    decode_plain,
)
from core.contracts.codec import Event, decode_event, whole
from core.contracts.errors import ContractError
from core.contracts.events import ID_PATTERN, Lane

#: A letter of a whole batch that only a newer program can read is kept whole, up to this.
MAX_WHOLE_BYTES = 1 << 20
#: Half of the seqs that a point's time can tell apart.
_HALF = 500
#: No batch has so many events: apart from every sibling that came by the usual way.
_BESIDE = 999
_ID = re.compile(whole(ID_PATTERN))


class Family(StrEnum):
    """What a letter holds."""

    EVENT = "event"
    """One event of a batch."""
    BATCH = "batch"
    """A whole batch of the log that could not be read."""
    PLAIN = "plain"
    """A plain event."""
    MESSAGE = "message"
    """A message of which not even the sender's numbering could be read."""
    POINT = "point"
    """An event that the series store refused."""
    RULES = "rules"
    """An event that the rules could not fold; the series store has it."""


class LetterState(StrEnum):
    """What became of a dead letter."""

    DEAD = "dead"
    ASKED = "asked"
    """Its replay was asked for and is not in the log yet."""
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    """Somebody said that it is of no use; it is kept, and still counts as refused."""


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a letter came from; ``at`` is when it was journalled first (ms).

    ``edge``, ``epoch``, ``lane`` and ``seq`` are a batch's, ``device`` a plain event's, ``topic``
    a message's. ``offset_ns`` is what a point's time has beyond its event's millisecond.
    """

    family: Family
    at: int
    site: str = ""
    edge: str = ""
    epoch: str = ""
    lane: str = ""
    seq: int = 0
    device: str = ""
    topic: str = ""
    offset_ns: int = 0


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A letter put back into the log: its id, what is in it now, and who asked for it."""

    letter: str
    by: str
    origin: Origin
    raw: bytes


ORIGIN = msgspec.json.Decoder(Origin)
REPLAY_BODY = msgspec.json.Decoder(Replay)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a letter brings: (``offset_ns``, event) each, and what of it is refused again."""

    site: str
    edge: str = ""
    epoch: str = ""
    events: list[tuple[int, Event]] = field(default_factory=list)
    rejects: list[tuple[Origin, Reject]] = field(default_factory=list)


def offset_ns(lane: str, seq: int, index: int = 0) -> int:
    """Return what keeps a batch's event apart from its siblings of the same millisecond.

    (seq mod 1000) · 1000 + index, in the urgent lane seq + 500: the same seq in the other lane
    of the class must not give the same points.
    """
    return (seq + (_HALF if lane == Lane.URGENT else 0)) % 1000 * 1000 + index


def open_letter(origin: Origin, raw: bytes) -> Contents:
    """Read a letter by the same rules as what arrives; raise :class:`ContractError` as they do."""
    if origin.family is Family.EVENT:
        event = check_event(raw, Lane(origin.lane))
        return Contents(origin.site, origin.edge, origin.epoch, [(origin.offset_ns, event)])
    if origin.family is Family.RULES:
        event = decode_event(raw)
        return Contents(origin.site, origin.edge, origin.epoch, [(origin.offset_ns, event)])
    if origin.family is Family.POINT:
        return Contents(origin.site, events=[(origin.offset_ns, decode_event(raw))])
    if origin.family is Family.PLAIN:
        return _plain(origin, origin.site, origin.device, raw)
    if origin.family is Family.MESSAGE:
        return _message(origin, raw)
    batch = decode_batch(raw)
    found = (batch.edge, batch.epoch, batch.lane.value, batch.seq)
    if found != (origin.edge, origin.epoch, origin.lane, origin.seq):
        raise ContractError(
            "edge, epoch, lane and seq are the batch's identity and stay as they were"
        )
    return _batch(origin, origin.site, batch)


def addressed(topic: str) -> tuple[str, str, str]:
    """Return (site, sender, last part) of an up topic; raise :class:`ContractError`."""
    address = topics.address(topic)
    if address is None or not all(map(_ID.match, (address.site, address.sender))):
        raise ContractError(f"{topic[:80]!r} is no topic of this system: only discard it")
    return address.site, address.sender, topic.rpartition("/")[2]


def _message(origin: Origin, raw: bytes) -> Contents:
    site, sender, channel = addressed(origin.topic)
    if channel == "event":
        if len(raw) > MAX_RAW_BYTES:
            raise ContractError(f"longer than {MAX_RAW_BYTES} bytes")
        return _plain(origin, site, sender, raw)
    if channel != "batch":
        raise ContractError("an edge says this again of itself: only discard it")
    batch = decode_batch(raw)
    if batch.edge != sender:
        raise ContractError(f"the topic is {sender}'s", field="edge")
    return _batch(origin, site, batch)


def _plain(origin: Origin, site: str, device: str, raw: bytes) -> Contents:
    return Contents(site, events=[(origin.offset_ns, decode_plain(raw, device, origin.at))])


def _batch(origin: Origin, site: str, batch: Batch) -> Contents:
    return Contents(
        site,
        batch.edge,
        batch.epoch,
        [(offset_ns(batch.lane, batch.seq, index), event) for index, event in batch.events],
        [(of_event(origin.at, site, batch, reject.index), reject) for reject in batch.rejects],
    )


def of_event(at: int, site: str, batch: Batch, index: int) -> Origin:
    """Return the origin of one event of a batch that was journalled at ``at`` (ms)."""
    return Origin(
        Family.EVENT,
        at,
        site,
        batch.edge,
        batch.epoch,
        batch.lane.value,
        batch.seq,
        offset_ns=offset_ns(batch.lane, batch.seq, index),
    )


def of_lane(at: int, name: str, seq: int) -> Origin:
    """Return the origin of what could not be read in a lane of the log, or under a topic."""
    family, *parts = name.split("/")
    if family == "batch" and len(parts) == 4:
        site, edge, epoch, lane = parts
        return Origin(Family.BATCH, at, site, edge, epoch, lane, seq)
    if family == "plain" and len(parts) == 2:
        site, device = parts
        offset = offset_ns(Lane.EVENT, seq)
        return Origin(Family.PLAIN, at, site, seq=seq, device=device, offset_ns=offset)
    offset = offset_ns(Lane.EVENT, seq, _BESIDE)
    return Origin(Family.MESSAGE, at, seq=seq, topic=name, offset_ns=offset)
