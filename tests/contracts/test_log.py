"""The collector's log is decoded deterministically, whatever was journalled."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import log
from core.contracts.batch import MediaHeader, envelope, seal
from core.contracts.codec import encode
from core.contracts.errors import ContractError
from core.contracts.events import Lane

EPOCH = "0d3f7a52-1f1e-4a57-9d55-2a6d8f2f9c11"
ALARM = b'{"at":1,"seen":2,"device":"p1","kind":"fire.alarm","data":{"active":true}}'
HEADER = MediaHeader("e1", EPOCH, 1, 1, 1, "snap-1", "cam-1", 1)


def test_every_lane_gives_its_entry() -> None:
    payload = envelope("e1", EPOCH, Lane.EVENT, 4, 1, seal([ALARM], 9))
    entry = log.decode_entry(log.batch_lane("s1", "e1", EPOCH, "event"), 10, 4, 99, payload)
    assert isinstance(entry, log.BatchEntry)
    assert (entry.pos, entry.at, entry.site, entry.batch.seq) == (10, 99, "s1", 4)

    entry = log.decode_entry(
        log.plain_lane("s1", "p1"), 11, 1, 99, b'{"kind":"fire.alarm","data":{"active":true}}'
    )
    assert isinstance(entry, log.EventEntry)
    assert (entry.site, entry.edge, entry.event.device, entry.event.at) == ("s1", None, "p1", 99)

    offline = (
        b'{"at":1,"seen":1,"device":"e1","kind":"edge.offline","data":{"epoch":"x","clean":true}}'
    )
    entry = log.decode_entry(log.control_lane("s1", "e1"), 12, 1, 99, offline)
    assert isinstance(entry, log.EventEntry)
    assert (entry.site, entry.edge) == ("s1", "e1")

    jpeg = b"\xff\xd8\n\xff\xd9"
    entry = log.decode_entry(
        log.media_lane("s1", "e1", EPOCH), 13, 1, 99, log.encode_media(HEADER, jpeg)
    )
    assert isinstance(entry, log.MediaEntry)
    assert (entry.header, entry.jpeg) == (HEADER, jpeg)

    assert log.decode_entry(log.TICK, 14, 1, 99, b"") == log.TickEntry(14, 99)
    activation = log.Activation(topology={"nodes": []}, rules={"a.yaml": "rules: []"})
    entry = log.decode_entry(log.ACTIVATION, 15, 1, 99, encode(activation))
    assert entry == log.ActivationEntry(15, 99, activation)
    unreadable = log.Unreadable("t", "why", b"\xff\x00", "at")
    entry = log.decode_entry(log.UNREADABLE, 16, 1, 99, encode(unreadable))
    assert entry == log.UnreadableEntry(16, 99, unreadable, seq=1)
    [reject] = log.rejects_of(entry)
    assert (reject.reason, reject.field, reject.raw) == ("why", "at", b"\xff\x00")


def test_a_lane_that_nobody_writes_is_an_error() -> None:
    with pytest.raises(ContractError, match="unknown lane"):
        log.decode_entry("other/x", 1, 1, 1, b"")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from([log.plain_lane("s1", "p1"), log.batch_lane("s1", "e1", EPOCH, "event")]),
    st.binary(max_size=40)
    | st.sampled_from([ALARM[:-1], ALARM.replace(b"true", b"1"), b"[" * 9999]),
)
def test_what_cannot_be_read_becomes_a_dead_letter(lane: str, body: bytes) -> None:
    entry = log.decode_entry(lane, 5, 1, 9, body)
    assert isinstance(entry, log.UnreadableEntry)
    assert entry == log.decode_entry(lane, 5, 1, 9, body)
    [reject] = log.rejects_of(entry)
    assert reject.reason
    assert reject.raw == body
    assert msgspec.json.decode(encode(entry.message), type=log.Unreadable) == entry.message
