"""The multipart parser: any cutting, lying lengths, pictures, garbage, bounded memory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.isapi.alert_stream import AlertStream, AlertStreamError, boundary_of


def part(body: bytes, kind: str = "application/json", length: int | None = -1) -> bytes:
    head = f"--B\r\nContent-Type: {kind}\r\n"
    if length is not None:
        head += f"Content-Length: {len(body) if length < 0 else length}\r\n"
    return head.encode() + b"\r\n" + body + b"\r\n"


objects = st.dictionaries(
    st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=5
)


@given(
    st.lists(st.tuples(objects, st.sampled_from([-1, None, 3, 90_000]), st.booleans()), max_size=6),
    st.data(),
)
def test_every_object_arrives_whatever_the_lengths_say(
    sent: list[tuple[dict[str, object], int | None, bool]], data: st.DataObject
) -> None:
    stream = b"HTTP noise\r\n"
    for value, length, picture in sent:
        stream += part(json.dumps(value).encode(), length=length)
        if picture:
            stream += part(b"\xff\xd8" + bytes(range(256)) * 4 + b"\xff\xd9", "image/jpeg")
    stream += b"--B--\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser, got = AlertStream(b"B"), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parser.feed(stream[start:end])
    assert got == [value for value, _, _ in sent]
    assert parser.parts >= len(sent)
    assert parser.counts["malformed_parts"] == 0


def test_an_object_is_given_out_before_the_next_part_begins() -> None:
    parser = AlertStream(boundary_of('multipart/mixed; boundary="MIME_boundary"'))
    head = b"--MIME_boundary\r\nContent-Type: application/json\r\n"
    assert parser.feed(head + b'\r\n{"a": {"b": 1}') == []
    assert parser.feed(b"}\r\n") == [{"a": {"b": 1}}]
    assert parser.feed(head + b'Content-Length: 7\r\n\r\n{"a":2}') == [{"a": 2}]


@pytest.mark.parametrize(
    "bad", [b"{not json", b"[1, 2]", b'{"a":' * 9000 + b"}", b"\xff\xfe", b'{"a": NaN}']
)
def test_a_malformed_part_costs_only_itself(bad: bytes) -> None:
    parser = AlertStream(b"B")
    assert parser.feed(part(bad) + part(b'{"a": 1}')) == [{"a": 1}]
    assert parser.counts["malformed_parts"] + parser.counts["oversize_parts"] == 1


HEAD = b"--B\r\nContent-Type: application/xml; charset=UTF-8\r\n"
PREFIXED = (
    b'<?xml version="1.0" encoding="UTF-8"?><h:EventNotificationAlert '
    b'xmlns:h="http://www.hikvision.com/ver10/XMLSchema"><h:eventType>linedetection</h:eventType>'
    b"<h:Region><h:id>1</h:id></h:Region><h:Region><h:id>2</h:id></h:Region>"
    b"<h:channelName>North &amp; gate &#x4EBA;</h:channelName></h:EventNotificationAlert>"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 5000])
def test_xml_is_an_alert_like_json_however_it_is_cut(size: int) -> None:
    picture = part(b"\xff\xd8\r\n--not the boundary\xff\xd9", "image/jpeg")
    stream = HEAD + b"\r\n" + PREFIXED + b"\r\n" + picture + part(b'{"a": 1}')
    parser, got = AlertStream(b"B"), []
    for at in range(0, len(stream), size):
        got += parser.feed(stream[at : at + size])
    assert got == [
        {
            "eventType": "linedetection",
            "Region": [{"id": "1"}, {"id": "2"}],
            "channelName": "North & gate 人",
        },
        {"a": 1},
    ]


def test_xml_is_given_out_before_the_next_part_begins() -> None:
    parser = AlertStream(b"B")
    assert parser.feed(HEAD + b"\r\n" + PREFIXED[:-3]) == []
    assert len(parser.feed(PREFIXED[-3:])) == 1


@pytest.mark.parametrize(
    "bad",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><EventNotificationAlert>&a;</EventNotificationAlert>',
        b"<EventNotificationAlert><a></EventNotificationAlert>",
        b"<Other><a>1</a></Other>",
        b"<EventNotificationAlert>" + b"<a>" * 40 + b"</a>" * 40 + b"</EventNotificationAlert>",
        b"<EventNotificationAlert>only text</EventNotificationAlert>",
    ],
)
def test_xml_that_is_no_alert_costs_only_itself(bad: bytes) -> None:
    parser = AlertStream(b"B")
    assert parser.feed(part(bad, "application/xml") + part(b'{"a": 1}')) == [{"a": 1}]
    assert parser.counts["malformed_parts"] == 1


def test_endless_parts_and_pictures_are_passed_over() -> None:
    parser = AlertStream(b"B")
    assert parser.feed(part(b"\xff\xd8" * 200_000, "image/jpeg")) == []
    assert len(parser._buffer) < 100
    assert parser.counts["other_parts"] == 1
    parser.feed(b"--B\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(300):
        parser.feed(b"x" * 1000)
        assert len(parser._buffer) < 80_000
    assert parser.counts["oversize_parts"] == 1
    parser.feed(b"\r\n--B\r\n")
    for _ in range(50):
        parser.feed(b"h" * 1000)
        assert len(parser._buffer) < 12_000
    assert parser.counts["malformed_parts"] == 1
    assert parser.feed(part(b'{"a": 1}')) == [{"a": 1}]


def test_a_part_that_breaks_off_is_no_sign_of_life() -> None:
    parser = AlertStream(b"B")
    for _ in range(5):
        parser.feed(part(b'{"eventType": "heartBeat"', length=200))
    assert parser.parts == 0


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_any_bytes_are_survived(chunks: list[bytes]) -> None:
    parser = AlertStream(b"B")
    for chunk in chunks:
        parser.feed(chunk)


def test_the_boundary_comes_from_the_content_type() -> None:
    assert boundary_of("multipart/mixed; boundary=MIME_boundary") == b"MIME_boundary"
    assert AlertStream(b"--B").feed(part(b'{"a": 1}')) == [{"a": 1}]
    for bad in ("text/html", "multipart/mixed", "", "multipart/mixed; boundary=" + "x" * 300):
        with pytest.raises(AlertStreamError):
            boundary_of(bad)
