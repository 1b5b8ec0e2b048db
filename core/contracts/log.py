"""The collector's log: what its journal holds, and so what every projection folds over.

The lane's name says what an entry is. ``at`` is the time (ms) at which the collector
journalled it; the log is totally ordered by ``pos``.

=============================================  ==============================================
``batch/{site}/{edge}/{epoch}/{lane}``         an edge's batch, byte for byte; seq is its own
``media/{site}/{edge}/{epoch}``                a media header (JSON), a newline, the JPEG
``plain/{site}/{device}``                      one plain event, byte for byte
``control/{site}/{edge}``                      an ``edge.*`` event that the collector wrote
``tick``                                       nothing: a second has passed
``activation``                                 topology and rules that hold from here on
``unreadable``                                 a message that cannot be read (dead letter)
``replay``                                     a dead letter that somebody put back
=============================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from core.contracts.batch import (
    MAX_RAW_BYTES,
    MEDIA_HEADER,
    Batch,
    MediaHeader,
    Reject,
    decode_batch,
    decode_plain,
)
from core.contracts.codec import Event, decode_event, encode
from core.contracts.errors import ContractError, NewerVersionError
from core.contracts.letters import (
    MAX_WHOLE_BYTES,
    REPLAY_BODY,
    Contents,
    Family,
    Origin,
    Replay,
    of_event,
    of_lane,
)
from core.contracts.letters import open_letter as open_again

BATCH = "batch"
MEDIA = "media"
PLAIN = "plain"
CONTROL = "control"
TICK = "tick"
ACTIVATION = "activation"
UNREADABLE = "unreadable"
REPLAY = "replay"
#: The families of lanes that hold events.
EVENT_FAMILIES = frozenset({BATCH, PLAIN, CONTROL, REPLAY})


def batch_lane(site: str, edge: str, epoch: str, lane: str) -> str:
    """Return the journal lane of one edge's epoch and lane."""
    return f"{BATCH}/{site}/{edge}/{epoch}/{lane}"


def media_lane(site: str, edge: str, epoch: str) -> str:
    """Return the journal lane of one edge's snapshots."""
    return f"{MEDIA}/{site}/{edge}/{epoch}"


def plain_lane(site: str, device: str) -> str:
    """Return the journal lane of one device without an edge agent."""
    return f"{PLAIN}/{site}/{device}"


def control_lane(site: str, edge: str) -> str:
    """Return the journal lane of what the collector notes about one edge."""
    return f"{CONTROL}/{site}/{edge}"


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A batch of an edge, without the ``left_out`` events that crash whoever uses it."""

    pos: int
    at: int
    site: str
    batch: Batch
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class MediaEntry:
    """A snapshot; ``lane`` and ``seq`` as in a batch."""

    pos: int
    at: int
    site: str
    header: MediaHeader
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One event: plain (``edge`` is None) or written by the collector about an edge."""

    pos: int
    at: int
    site: str
    edge: str | None
    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class TickEntry:
    """A second has passed; ``at`` is the collector's time.

    ``gate`` is asked before each timer that is due, by its number in this tick, if it may run.
    """

    pos: int
    at: int
    gate: Callable[[int], bool] | None = None


class Activation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Topology (a parsed topology file) and rules (name to YAML text) that hold from here on."""

    topology: dict[str, Any]
    rules: dict[str, str]


@dataclass(frozen=True, slots=True, init=False)
class ActivationEntry:
    """New topology and rules, encoded: a street's take six times as much once they are read."""

    pos: int
    at: int
    body: bytes

    def __init__(self, pos: int, at: int, activation: Activation | bytes) -> None:
        body = activation if isinstance(activation, bytes) else encode(activation)
        for name, value in (("pos", pos), ("at", at), ("body", body)):
            object.__setattr__(self, name, value)

    @property
    def activation(self) -> Activation:
        """Read it anew each time; raise msgspec's DecodeError where it cannot be read."""
        return ACTIVATION_BODY.decode(self.body)


class Unreadable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that could not be read at all: its topic, why, and its first 64 KiB."""

    topic: str
    reason: str
    raw: bytes
    field: str = ""


ACTIVATION_BODY = msgspec.json.Decoder(Activation)
_UNREADABLE_BODY = msgspec.json.Decoder(Unreadable)


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """A message for the dead letters; ``seq`` is its number in its lane of the log."""

    pos: int
    at: int
    message: Unreadable
    seq: int = 0


@dataclass(frozen=True, slots=True)
class ReplayEntry:
    """A dead letter that was put back: history that is known only now."""

    pos: int
    at: int
    replay: Replay
    contents: Contents

    @property
    def stored(self) -> list[tuple[int, Event]]:
        """Return what of it the series store is to take: not what it has already."""
        return [] if self.replay.origin.family is Family.RULES else self.contents.events


@dataclass(frozen=True, slots=True)
class LeftOutEntry:
    """An entry that crashes whoever uses it: it came, and nothing more is done with it."""

    pos: int
    at: int
    entry: LogEntry


LogEntry = (
    BatchEntry
    | MediaEntry
    | EventEntry
    | TickEntry
    | ActivationEntry
    | UnreadableEntry
    | ReplayEntry
    | LeftOutEntry
)


def encode_media(header: MediaHeader, jpeg: bytes) -> bytes:
    """Return the body of a media entry."""
    return encode(header) + b"\n" + jpeg


def decode_entry(lane: str, pos: int, seq: int, at: int, body: bytes) -> LogEntry:
    """Decode one entry of the collector's log; deterministic, and total for what was journalled.

    A plain event that breaks the contract becomes an :class:`UnreadableEntry`, as does a batch
    whose envelope cannot be read. Raises :class:`ContractError` on an unknown lane only.
    """
    family, _, rest = lane.partition("/")
    if family == BATCH:
        site = rest.split("/", 1)[0]
        try:
            return BatchEntry(pos, at, site, decode_batch(body))
        except ContractError as refused:
            return _unreadable(pos, at, lane, seq, refused, body)
    if family == TICK:
        return TickEntry(pos, at)
    if family == CONTROL:
        site, edge = rest.split("/", 1)
        return EventEntry(pos, at, site, edge, seq, decode_event(body))
    if family == PLAIN:
        site, device = rest.split("/", 1)
        try:
            return EventEntry(pos, at, site, None, seq, decode_plain(body, device, at))
        except ContractError as refused:
            return _unreadable(pos, at, lane, seq, refused, body)
    if family == MEDIA:
        head, _, jpeg = body.partition(b"\n")
        header = MEDIA_HEADER.decode(head)
        return MediaEntry(pos, at, rest.split("/", 1)[0], header, jpeg)
    if family == ACTIVATION:
        return ActivationEntry(pos, at, body)
    if family == UNREADABLE:
        return UnreadableEntry(pos, at, _UNREADABLE_BODY.decode(body), seq)
    if family == REPLAY:
        return _replayed(pos, at, body)
    raise ContractError(f"the log has an unknown lane {lane!r}")


def _unreadable(
    pos: int, at: int, lane: str, seq: int, why: ContractError, body: bytes
) -> UnreadableEntry:
    # What only has to wait for another program is of no use without its end.
    most = MAX_WHOLE_BYTES if isinstance(why, NewerVersionError) else MAX_RAW_BYTES
    return UnreadableEntry(pos, at, Unreadable(lane, str(why), body[:most], why.field), seq)


def _replayed(pos: int, at: int, body: bytes) -> ReplayEntry:
    replay = REPLAY_BODY.decode(body)
    origin = replay.origin
    try:
        contents = open_again(origin, replay.raw)
    except ContractError as refused:
        reject = Reject(0, str(refused), refused.field, replay.raw)
        contents = Contents(origin.site, rejects=[(origin, reject)])
    return ReplayEntry(pos, at, replay, contents)


def rejects_of(entry: LogEntry) -> list[Reject]:
    """Return what of an entry belongs in the dead letters."""
    return [reject for _, reject in letters_of(entry)]


def letters_of(entry: LogEntry) -> list[tuple[Origin, Reject]]:
    """Return what of an entry belongs in the dead letters, and where it came from."""
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        return [(of_event(entry.at, entry.site, batch, r.index), r) for r in batch.rejects]
    if isinstance(entry, UnreadableEntry):
        message = entry.message
        reject = Reject(0, message.reason, message.field, message.raw)
        return [(of_lane(entry.at, message.topic, entry.seq), reject)]
    return entry.contents.rejects if isinstance(entry, ReplayEntry) else []
