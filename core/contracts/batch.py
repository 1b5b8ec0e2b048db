"""Batches, receipts and statuses: what an edge and a collector say to each other.

A batch is identified by ``(edge, epoch, lane, seq)``. Its envelope (edge, epoch, lane, seq,
oldest) is written when it is sent; the rest (sealed_at, events) was fixed when the edge's
journal committed it and never changes, so a digest over it recognises a reused identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, TypeVar

import msgspec

from core.contracts.codec import (
    AnyEvent,
    Event,
    are_ids,
    decode_event,
    event_from,
    parse_json,
    whole,
)
from core.contracts.errors import ContractError, NewerVersionError
from core.contracts.events import COLLECTOR_KINDS, ID_PATTERN, KINDS, NOT_PLAIN_KINDS, WAYS, Lane

T = TypeVar("T")

#: The newest version of the wire that this program reads. What has no ``v`` is of version 1, and
#: nobody writes ``v`` before there is a version 2: so a collector of version 1 reads it all.
VERSION = 1
MAX_EVENTS = 1_000
MAX_MEDIA_BYTES = 256 * 1024
MAX_RAW_BYTES = 64 * 1024

_EXACT = 9_007_199_254_740_991
_Id = Annotated[str, msgspec.Meta(pattern=whole(ID_PATTERN))]
_Seq = Annotated[int, msgspec.Meta(ge=1, le=_EXACT)]
#: Names a journal lane and a row, so no slash and no control character; usually a UUID.
_Epoch = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{8,40}\Z")]
_Term = Annotated[int, msgspec.Meta(ge=0, le=_EXACT)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]


class Envelope(msgspec.Struct, frozen=True):
    """Who sent a batch, and its place in its lane."""

    edge: _Id
    epoch: _Epoch
    lane: Lane
    seq: _Seq
    oldest: _Seq


class _Sealed(Envelope, frozen=True, forbid_unknown_fields=True):
    sealed_at: _Ms


_Known = Annotated[int, msgspec.Meta(ge=1, le=VERSION)]


class _Batch(_Sealed, frozen=True, forbid_unknown_fields=True):
    events: list[AnyEvent]
    v: _Known = 1


class _RawBatch(_Sealed, frozen=True, forbid_unknown_fields=True):
    events: list[msgspec.Raw]
    v: _Known = 1


class _Versioned(msgspec.Struct, frozen=True):
    v: Annotated[int, msgspec.Meta(ge=1, le=_EXACT)] = 1


class MediaHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of one JPEG on the media lane; it travels in MQTT user properties."""

    edge: _Id
    epoch: _Epoch
    seq: _Seq
    oldest: _Seq
    sealed_at: _Ms
    media: _Id
    device: _Id
    at: _Ms


@dataclass(frozen=True, slots=True)
class Reject:
    """One event of a batch that was refused, with the reason and its bytes (at most 64 KiB)."""

    index: int
    reason: str
    field: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch; ``events`` holds (index in the batch, event) of what could be used."""

    edge: str
    epoch: str
    lane: Lane
    seq: int
    oldest: int
    sealed_at: int
    events: list[tuple[int, Event]]
    rejects: list[Reject]

    @property
    def size(self) -> int:
        """Return the number of events that the edge had put into the batch."""
        return len(self.events) + len(self.rejects)


_fast: msgspec.json.Decoder[_Batch] = msgspec.json.Decoder(_Batch)
_slow: msgspec.json.Decoder[_RawBatch] = msgspec.json.Decoder(_RawBatch)
#: The kinds that an edge may send in each lane.
_KINDS_IN: dict[Lane, frozenset[str]] = {
    lane: frozenset(
        spec.kind
        for spec in KINDS.values()
        if lane in WAYS[spec.lane] and spec.kind not in COLLECTOR_KINDS
    )
    for lane in Lane
}
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_version: msgspec.json.Decoder[_Versioned] = msgspec.json.Decoder(_Versioned)
ENVELOPE: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope)
_IMMUTABLE = b'"sealed_at"'
_EVENTS = b'"events":['
#: What :func:`envelope` writes before the part that comes from the edge's disk.
_front = re.compile(
    rb'\{"edge":"[^"\\]{1,64}","epoch":"[^"\\]{8,40}","lane":"[a-z]+","seq":[0-9]{1,16},'
    rb'"oldest":[0-9]{1,16},'
)
_NOTHING: Mapping[int, str] = MappingProxyType({})


def seal(events: list[bytes], sealed_at: int) -> bytes:
    """Return the immutable part of a batch: encoded events and the time (ms) it was sealed."""
    if not 1 <= len(events) <= MAX_EVENTS:
        raise ValueError(f"a batch holds 1 to {MAX_EVENTS} events, not {len(events)}")
    return b'"sealed_at":%d,"events":[%b]}' % (sealed_at, b",".join(events))


def join(first: bytes, second: bytes) -> bytes:
    """Return two sealed parts as one, the events in their order, sealed when the second was."""
    head, _, events = second.partition(_EVENTS)
    return head + _EVENTS + first.partition(_EVENTS)[2][:-2] + b"," + events


def envelope(edge: str, epoch: str, lane: Lane, seq: int, oldest: int, sealed: bytes) -> bytes:
    """Return the payload of a batch: the envelope as of now before the immutable part."""
    head = b'{"edge":"%b","epoch":"%b","lane":"%b","seq":%d,"oldest":%d,'
    return head % (edge.encode(), epoch.encode(), lane.encode(), seq, oldest) + sealed


def digest(payload: bytes) -> bytes:
    """Return 16 bytes over the immutable part of a batch's payload."""
    start = max(payload.find(_IMMUTABLE), 0)
    return hashlib.blake2b(payload[start:], digest_size=16).digest()


def decode_envelope(payload: bytes) -> Envelope:
    """Read a batch's envelope only; raise :class:`ContractError` when it cannot be read."""
    try:
        return ENVELOPE.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _check_version(payload)
        raise ContractError(f"the batch's envelope cannot be read: {error}") from None


def decode_front(payload: bytes) -> Envelope | None:
    """Read the envelope of a batch of which the rest is damaged, if :func:`envelope` wrote it."""
    front = _front.match(payload)
    if front is None:
        return None
    try:
        return ENVELOPE.decode(front[0][:-1] + b"}")
    except msgspec.MsgspecError:
        return None


def decode_batch(payload: bytes) -> Batch:
    """Decode a batch; a bad event lands in ``rejects``, the rest of its batch is used.

    Raises :class:`ContractError` when the envelope itself cannot be read, and
    :class:`NewerVersionError` when the batch is of a version that is not known here.
    """
    try:
        whole = _fast.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(payload)
    if whole.lane is Lane.MEDIA or len(whole.events) > MAX_EVENTS:
        return _decode_slowly(payload)
    found = whole.events
    if not {event.kind for event in found} <= _KINDS_IN[whole.lane]:
        return _decode_slowly(payload)
    if not are_ids({event.device for event in found}):
        return _decode_slowly(payload)
    events = list(enumerate(found))
    return Batch(
        whole.edge, whole.epoch, whole.lane, whole.seq, whole.oldest, whole.sealed_at, events, []
    )


def _check_version(payload: bytes) -> None:
    try:
        version = _version.decode(payload).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # whoever reads it whole says what is wrong with it
    if version > VERSION:
        raise NewerVersionError(
            f"written in version {version} of the wire, and this collector reads {VERSION}",
            field="v",
            remedy="upgrade the collector first, then replay the letter",
        )


def decode_by_event(
    payload: bytes, crashed: Mapping[int, str], before: Callable[[int], None]
) -> Batch:
    """Decode a batch as :func:`decode_batch` does, telling ``before`` of each event's index.

    The events that ``crashed`` names are not touched but refused, for the reason given there.
    """
    return _decode_slowly(payload, crashed, before)


def _decode_slowly(
    payload: bytes,
    crashed: Mapping[int, str] = _NOTHING,
    before: Callable[[int], None] = lambda _: None,
) -> Batch:
    _check_version(payload)
    try:
        raw = _slow.decode(payload)
    except RecursionError:
        raise ContractError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(f"the batch's envelope cannot be read: {error}") from None
    if raw.lane is Lane.MEDIA:
        raise ContractError("media batches are JPEG with their header in user properties")
    if len(raw.events) > MAX_EVENTS:
        raise ContractError(f"{len(raw.events)} events", remedy=f"send at most {MAX_EVENTS}")
    events: list[tuple[int, Event]] = []
    rejects: list[Reject] = []
    for index, item in enumerate(raw.events):
        if (reason := crashed.get(index)) is not None:
            rejects.append(Reject(index, reason, "", bytes(item)[:MAX_RAW_BYTES]))
            continue
        before(index)
        try:
            events.append((index, check_event(bytes(item), raw.lane)))
        except ContractError as refused:
            rejects.append(Reject(index, str(refused), refused.field, bytes(item)[:MAX_RAW_BYTES]))
    return Batch(raw.edge, raw.epoch, raw.lane, raw.seq, raw.oldest, raw.sealed_at, events, rejects)


def check_event(item: bytes, lane: Lane) -> Event:
    """Decode one event of a batch of a lane; raise :class:`ContractError` naming the field."""
    event = decode_event(item)
    if event.kind in COLLECTOR_KINDS:
        raise ContractError("only a collector writes this kind", field="kind")
    if event.kind not in _KINDS_IN[lane]:
        raise ContractError(
            f"{event.kind} travels in lane {KINDS[event.kind].lane}, not {lane}", field="kind"
        )
    return event


def decode_plain(payload: bytes, device: str, received_at: int) -> Event:
    """Decode one plain event of a device without an edge agent.

    ``device`` (from the topic) and the times (now) may be left out, so that an event can be
    written by hand; ``at`` may also be an ISO 8601 text with an offset.
    Raises :class:`ContractError` that names the field.
    """
    raw = parse_json(payload)
    if not isinstance(raw, dict):
        raise ContractError("an event must be a JSON object")
    kind = raw.get("kind")
    # Before its data is looked at: whatever is in it, it is not a plain device's to say.
    if isinstance(kind, str) and kind in NOT_PLAIN_KINDS:
        raise ContractError("only an edge or a collector writes this kind", field="kind")
    if raw.setdefault("device", device) != device:
        raise ContractError("differs from the topic's device", field="device")
    if isinstance(moment := raw.get("at"), str):
        raw["at"] = _iso_ms(moment)
    raw.setdefault("at", received_at)
    raw.setdefault("seen", received_at)
    return event_from(raw)


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ContractError(
            f"not a time: {text[:40]!r}", field="at", remedy="ms or ISO 8601"
        ) from None
    if moment.tzinfo is None:
        raise ContractError("the time has no offset", field="at", remedy="add Z or +08:00")
    return (moment - _EPOCH_START) // timedelta(milliseconds=1)


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The highest contiguous committed seq of each lane of one edge's epoch (retained).

    Of several collectors (ADR 0026) each also says since which ``term`` the site is its own, and
    what is ``stored`` where the others find it: the edge goes on after ``lanes``, and keeps what
    is above ``stored``. None: what is committed need not be kept.
    """

    edge: str
    epoch: str
    lanes: dict[str, int]
    term: _Term = 0
    stored: dict[str, int] | None = None


class LaneStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One lane of an edge's outbox: its oldest and its last seq (last is oldest-1 when empty)."""

    oldest: _Seq
    last: Annotated[int, msgspec.Meta(ge=0, le=_EXACT)]


class EdgeStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An edge's retained birth (online) and last will or farewell (offline).

    ``clock`` is the edge's time (ms) when it published; ``clean`` marks a farewell.
    """

    online: bool
    edge: _Id
    epoch: _Epoch
    clock: _Ms
    lanes: dict[str, LaneStatus] = {}
    version: str = ""
    clean: bool = False
    previous_epoch: str | None = None


class CollectorStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collector's retained status; ``instance`` changes with every start."""

    online: bool
    instance: str
    clock: int


#: Decoders are made when their module is loaded, never in a running thread: msgspec (0.22) shows
#: other threads a struct whose fields it is still working out, and they crash the process.
EDGE_STATUS = msgspec.json.Decoder(EdgeStatus)
COLLECTOR_STATUS = msgspec.json.Decoder(CollectorStatus)
RECEIPT = msgspec.json.Decoder(Receipt)
MEDIA_HEADER = msgspec.json.Decoder(MediaHeader)


def decode_struct(payload: bytes, shape: msgspec.json.Decoder[T]) -> T:
    """Decode a small control message; raise :class:`ContractError` when it is not of the shape."""
    try:
        return shape.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(f"not a {shape.type.__name__}: {error}") from None


def answers(birth: int) -> list[tuple[str, str]]:
    """Return the user property by which a receipt names the birth (its clock) that it answers."""
    return [("birth", str(birth))]


def answered_birth(properties: list[tuple[str, str]]) -> int | None:
    """Return the clock of the birth that a receipt answers, None where it does not say."""
    text = dict(properties).get("birth", "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 16 else None


def media_properties(header: MediaHeader) -> list[tuple[str, str]]:
    """Return a media header as MQTT user properties."""
    return [(name, str(getattr(header, name))) for name in header.__struct_fields__]


def decode_media_header(properties: list[tuple[str, str]]) -> MediaHeader:
    """Read a media header from MQTT user properties; raise :class:`ContractError`."""
    try:
        return msgspec.convert(dict(properties), MEDIA_HEADER.type, strict=False)
    except msgspec.ValidationError as error:
        raise ContractError(f"the media header cannot be read: {error}") from None
