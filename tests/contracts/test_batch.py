"""Batches, plain events and control messages: what is used, what is refused, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import Decoder

from core.contracts.batch import (
    MAX_EVENTS,
    MAX_RAW_BYTES,
    CollectorStatus,
    EdgeStatus,
    LaneStatus,
    MediaHeader,
    Receipt,
    decode_batch,
    decode_media_header,
    decode_plain,
    decode_struct,
    digest,
    envelope,
    media_properties,
    seal,
)
from core.contracts.codec import decode_event, encode
from core.contracts.errors import ContractError
from core.contracts.events import COLLECTOR_KINDS, KINDS, WAYS, Lane
from tests.contracts.strategies import IDS, nearly_valid, to_json, valid_event

EPOCH = "0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11"
SENDABLE = sorted(set(KINDS) - COLLECTOR_KINDS)
READING = b'{"at":1,"seen":2,"device":"m1","kind":"meter.reading","data":{"medium":"gas"}}'


def batch(*events: bytes, lane: Lane = Lane.READING, **changes: int) -> bytes:
    seq, oldest = changes.get("seq", 7), changes.get("oldest", 5)
    return envelope("e1", EPOCH, lane, seq, oldest, seal(list(events), 1_790_000_000_000))


def test_an_envelope_is_read() -> None:
    read = decode_batch(batch(READING, READING))
    assert (read.edge, read.epoch, read.lane) == ("e1", EPOCH, Lane.READING)
    assert (read.seq, read.oldest, read.sealed_at) == (7, 5, 1_790_000_000_000)
    assert [index for index, _ in read.events] == [0, 1]
    assert read.size == 2
    assert read.rejects == []


def reason_of(payload: bytes, lane: Lane) -> str:
    """Return why an event is refused; empty where it is not."""
    try:
        event = decode_event(payload)
    except ContractError as error:
        return str(error)
    fitting = KINDS[event.kind].lane
    if lane in WAYS[fitting]:
        return ""
    return f"kind: {event.kind} travels in lane {fitting}, not {lane}"


def is_json(event: dict[str, Any]) -> bool:
    text = to_json(event)
    return "NaN" not in text and "Infinity" not in text


JSON_LANES = [lane for lane in Lane if lane is not Lane.MEDIA]
MIXED = st.sampled_from(SENDABLE).flatmap(lambda kind: valid_event(kind) | nearly_valid(kind))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(JSON_LANES), st.lists(MIXED.filter(is_json), min_size=1, max_size=4))
def test_every_event_is_used_or_rejected_with_its_index_and_bytes(
    lane: Lane, events: list[dict[str, Any]]
) -> None:
    payloads = [to_json(event).encode() for event in events]
    read = decode_batch(batch(*payloads, lane=lane))
    reasons = [reason_of(payload, lane) for payload in payloads]
    assert read.events == [
        (index, decode_event(payload))
        for index, payload in enumerate(payloads)
        if not reasons[index]
    ]
    assert [(reject.index, reject.reason, reject.raw) for reject in read.rejects] == [
        (index, reasons[index], payload) for index, payload in enumerate(payloads) if reasons[index]
    ]


HOSTILE = {
    "number out of range": READING.replace(b'"at":1', b'"at":1e400'),
    "thousands of digits": READING.replace(b'"at":1', b'"at":1' + b"0" * 5000),
    "invalid UTF-8 in a text": READING.replace(b"m1", b"m\xff"),
    "invalid UTF-8 in the kind": READING.replace(b"meter", b"met\xe9r"),
    "invalid UTF-8 in a key": READING.replace(b'"at"', b'"a\xff"'),
    "two times the same key": READING.replace(b'"at":1', b'"at":1,"at":-1'),
    "two kinds": READING.replace(b'{"at"', b'{"kind":"fire.alarm","at"'),
    "not an object": b"[1,2,3]",
    "a number": b"5",
    "null": b"null",
    "a text": b'"meter.reading"',
    "an empty object": b"{}",
    "nested": READING.replace(b'"gas"', b"[" * 100 + b"]" * 100),
    "wrong lane": READING.replace(b"meter.reading", b"fire.alarm").replace(
        b'{"medium":"gas"}', b'{"active":true}'
    ),
    "newline in the id": READING.replace(b"m1", b"m1\\n"),
    "null byte in the id": READING.replace(b"m1", b"m1\\u0000"),
    "topic wildcard in the id": READING.replace(b"m1", b"#"),
    "a path in the id": READING.replace(b"m1", b"../m1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_event_does_not_spoil_its_batch(name: str) -> None:
    read = decode_batch(batch(READING, HOSTILE[name], READING))
    assert [index for index, _ in read.events] == [0, 2]
    [reject] = read.rejects
    assert reject.index == 1
    assert reject.reason
    assert reject.raw == HOSTILE[name]


@pytest.mark.parametrize("kind", sorted(COLLECTOR_KINDS))
def test_only_a_collector_writes_about_edges(kind: str) -> None:
    data = {
        "edge.online": {"epoch": EPOCH, "backlog": 0, "through": {}},
        "edge.offline": {"epoch": EPOCH, "clean": True},
        "edge.hole": {"epoch": EPOCH, "lane": "event", "first_seq": 1, "last_seq": 2},
        "edge.epoch_abandoned": {"epoch": EPOCH, "successor": EPOCH},
        "edge.identity_clash": {"epoch": EPOCH, "lane": "event", "seq": 1},
    }[kind]
    event = json.dumps({"at": 1, "seen": 1, "device": "e1", "kind": kind, "data": data}).encode()
    assert decode_event(event).kind == kind
    [reject] = decode_batch(batch(event, lane=Lane.EVENT)).rejects
    assert (reject.field, reject.reason) == ("kind", "kind: only a collector writes this kind")
    with pytest.raises(ContractError, match="only"):
        decode_plain(event, "e1", 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        batch(READING)[:-1],
        batch(READING) + b"x",
        batch(READING).replace(b'"seq":7', b'"seq":0'),
        batch(READING).replace(b'"seq":7', b'"seq":-7'),
        batch(READING).replace(b'"seq":7', b'"seq":7.0'),
        batch(READING).replace(b'"seq":7', b'"seq":9007199254740992'),
        batch(READING).replace(b'"seq":7', b'"seq":7,"extra":1'),
        batch(READING).replace(b'"e1"', b'"e/1"'),
        batch(READING).replace(b'"e1"', b'"e1\\n"'),
        batch(READING).replace(EPOCH.encode(), b"short"),
        batch(READING).replace(EPOCH.encode(), b"../../../../etc"),
        batch(READING).replace(b'"reading"', b'"bulk"'),
        batch(READING).replace(b'"reading","seq"', b'"media","seq"'),
        batch(READING).replace(b"1790000000000", b"-1"),
        batch(*[READING] * MAX_EVENTS).replace(b'"events":[', b'"events":[' + READING + b","),
        batch(READING.replace(b'"gas"', b"[" * 5000 + b"]" * 5000)),
    ],
)
def test_an_envelope_that_cannot_be_read_is_a_contract_error(payload: bytes) -> None:
    with pytest.raises(ContractError) as caught:
        decode_batch(payload)
    assert caught.value.reason


def test_a_full_batch_is_accepted_and_raw_bytes_are_bounded() -> None:
    assert decode_batch(batch(*[READING] * MAX_EVENTS)).size == MAX_EVENTS
    long = READING.replace(b"gas", b"g" * 100_000)
    [reject] = decode_batch(batch(long)).rejects
    assert len(reject.raw) == MAX_RAW_BYTES
    assert len(reject.reason) < 500


def test_seal_refuses_nothing_and_too_much() -> None:
    for events in ([], [READING] * (MAX_EVENTS + 1)):
        with pytest.raises(ValueError, match="1 to 1000"):
            seal(events, 1)


# -- identity ----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    edge=IDS,
    epoch=st.uuids().map(str),
    lane=st.sampled_from(list(Lane)[:3]),
    seq=st.integers(1, 2**53 - 1),
    later=st.integers(1, 2**53 - 1),
    sealed_at=st.integers(0, 4_102_444_800_000),
)
def test_the_digest_belongs_to_what_was_sealed(
    edge: str, epoch: str, lane: Lane, seq: int, later: int, sealed_at: int
) -> None:
    sealed = seal([READING], sealed_at)
    first = envelope(edge, epoch, lane, seq, 1, sealed)
    again = envelope(edge, epoch, lane, seq, later, sealed)
    assert digest(first) == digest(again)
    assert len(digest(first)) == 16
    other = envelope(edge, epoch, lane, seq, 1, seal([READING, READING], sealed_at))
    assert digest(first) != digest(other)
    read = decode_batch(first)
    assert (read.edge, read.epoch, read.lane, read.seq) == (edge, epoch, lane, seq)


# -- plain events ------------------------------------------------------------------------------


def plain(**fields: Any) -> bytes:
    return json.dumps({"kind": "fire.alarm", "data": {"active": True}, **fields}).encode()


def test_a_plain_event_may_be_written_by_hand() -> None:
    event = decode_plain(plain(), "panel-1", 1_790_000_000_123)
    assert (event.device, event.at, event.seen) == ("panel-1", 1_790_000_000_123, 1_790_000_000_123)
    event = decode_plain(plain(device="panel-1", at=5, seen=6, id="x"), "panel-1", 9)
    assert (event.at, event.seen, event.id) == (5, 6, "x")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 4_102_444_800_000), st.integers(-14 * 60, 14 * 60))
def test_an_iso_time_is_read_to_the_millisecond(moment: int, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)).astimezone(zone)
    assert decode_plain(plain(at=text.isoformat()), "p", 1).at == moment


def test_iso_with_z() -> None:
    assert decode_plain(plain(at="2026-11-21T08:00:00.250Z"), "p", 1).at == 1_795_248_000_250


@pytest.mark.parametrize(
    ("payload", "field", "says"),
    [
        (plain(at="2026-11-21T08:00:00"), "at", "no offset"),
        (plain(at="2026-11-21"), "at", "no offset"),
        (plain(at="yesterday"), "at", "ms or ISO 8601"),
        (plain(at="x" * 100_000), "at", "not a time"),
        (plain(at="0001-01-01T00:00:00+14:00"), "at", "greater than or equal to 0"),
        (plain(at="9999-12-31T23:59:59-14:00"), "at", "less than or equal"),
        (plain(at=None), "at", "valid integer"),
        (plain(at=1.5), "at", "valid integer"),
        (plain(device="other"), "device", "differs from the topic"),
        (plain(device=None), "device", "differs from the topic"),
        (plain(kind="device.snapshot", data={"states": []}), "kind", "only an edge"),
        (plain(kind="edge.online", data={}), "kind", "only an edge"),
        (plain(kind="edge.onlin", data={}), "kind", "edge.onlin"),
        (plain(data={"active": "yes"}), "data.active", "valid boolean (got 'yes')"),
        (b'{"kind":"fire.alarm"}', "data", "missing"),
        (b'{"kind":"fire.alarm","at":1e999,"data":{"active":true}}', "at", "out of range"),
        (b"{'kind': 'fire.alarm'}", "", "not readable as JSON"),
        (b"fire", "", "not readable as JSON"),
        (b"[]", "", "must be a JSON object"),
        (b"[" * 100_000, "", "nested"),
        (b"\xff", "", "not readable as JSON"),
        (b"", "", "not readable as JSON"),
    ],
)
def test_a_malformed_plain_event_is_refused_by_field(payload: bytes, field: str, says: str) -> None:
    with pytest.raises(ContractError) as caught:
        decode_plain(payload, "p", 1)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("name", ["m1", "M_1.x-2", "x" * 64])
def test_a_batch_takes_the_devices_that_a_single_event_may_have(name: str) -> None:
    event, payload = named(name)
    for _ in range(2):  # a name is looked at when it is new
        assert decode_batch(payload).events[1] == (1, decode_event(event))


@pytest.mark.parametrize("name", ["a b", "m1\\n", "", "x" * 65, "\u00e4", "-m1", "m/1"])
def test_a_batch_refuses_the_devices_that_a_single_event_may_not_have(name: str) -> None:
    event, payload = named(name)
    with pytest.raises(ContractError) as caught:
        decode_event(event)
    for _ in range(2):
        batch = decode_batch(payload)
        found = [(reject.index, reject.reason, reject.field) for reject in batch.rejects]
        assert found == [(1, str(caught.value), "device")]
        assert [index for index, _ in batch.events] == [0, 2]


def named(device: str) -> tuple[bytes, bytes]:
    """Return a reading of a device, and a batch that has it between two good ones."""
    event = READING.replace(b'"m1"', b'"%b"' % device.encode())
    return event, envelope("e1", EPOCH, Lane.READING, 1, 1, seal([READING, event, READING], 1))


# -- control messages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Receipt(edge="e1", epoch=EPOCH, lanes={"event": 3}),
        EdgeStatus(online=True, edge="e1", epoch=EPOCH, clock=1, lanes={"event": LaneStatus(1, 0)}),
        CollectorStatus(online=True, instance="a", clock=1),
    ],
)
def test_control_messages_survive_the_way(message: msgspec.Struct) -> None:
    assert decode_struct(encode(message), Decoder(type(message))) == message
    for payload in (b"", b"[]", b"{}", b"\xff", b"[" * 50_000, encode(message)[:-1] + b',"x":1}'):
        with pytest.raises(ContractError, match=type(message).__name__):
            decode_struct(payload, Decoder(type(message)))


def test_a_media_header_travels_in_user_properties() -> None:
    header = MediaHeader("e1", EPOCH, 4, 2, 1_790_000_000_000, "snap-1", "cam-1", 1_789_999_999_999)
    properties = media_properties(header)
    assert all(isinstance(value, str) for pair in properties for value in pair)
    assert decode_media_header(properties) == header
    for name, value in (("seq", "0"), ("seq", "x"), ("media", "../x"), ("at", "-1"), ("new", "1")):
        with pytest.raises(ContractError):
            decode_media_header([(n, v) for n, v in properties if n != name] + [(name, value)])
    with pytest.raises(ContractError):
        decode_media_header(properties[1:])
