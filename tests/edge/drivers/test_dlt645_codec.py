"""DL/T 645-2007 frames and BCD against published vectors and against themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.dlt645.clock import clock_offset_s, demand_time_ms
from edge.drivers.dlt645.codec import (
    MORE,
    READ,
    READ_ADDRESS,
    READ_NEXT,
    Decoder,
    Frame,
    address_request,
    decode_bcd,
    encode,
    error_text,
    matches,
    next_request,
    read_request,
)
from edge.drivers.dlt645.items import Item, electricity
from edge.meters.frames import ERROR, REPLY, CodecError
from simulators.devices.dlt645 import bcd

ADDRESS = "000012345678"
ALL_ITEMS: dict[int, Item] = {
    item.identifier: item
    for phases in (1, 3)
    for items in electricity(phases).values()
    for outer in items
    for item in (outer, *outer.instead)
}
REPLIES: dict[str, dict[str, Any] | None] = {
    "68785634120000689108333334339A785634E616": {"energy_kwh": 12345.67},
    "68785634120000689106333434353855D816": {"voltage_l1_v": 220.5},
    "68785634120000689107333435355684335B16": None,
    "68785634120000689107333435355684335A16": {"current_l1_a": 5.123},
    "68785634120000689107333336357856B4CF16": {"power_w": -1234.5},
    "6878563412000068910633333935B83C4316": {"power_factor": 0.985},
    "687856341200006891063638333783330916": {"_words": {3: 0x50}},
    "687856341200006891 0C 33333434 9A7836 634B383659 0C16": {
        "demand_max_w": 34567 / 10,
        "_demand_max_at": "2603051830",
    },
}


@pytest.mark.parametrize(("text", "values"), REPLIES.items())
def test_published_replies(text: str, values: dict[str, Any] | None) -> None:
    frames = Decoder().feed(bytes.fromhex(text))
    if values is None:  # the same frame with a wrong checksum
        assert frames == []
        return
    (frame,) = frames
    assert frame.address == ADDRESS
    assert frame.is_reply
    assert frame.function == READ
    assert not frame.is_error
    item = ALL_ITEMS[int.from_bytes(frame.data[:4], "little")]
    assert item.decode(frame.data[4:]) == values
    assert encode(frame, wake=0) == bytes.fromhex(text)


def test_published_requests() -> None:
    energy = "6878563412000068110433333433C616"
    status = "6878563412000068110436383337D116"
    assert read_request(ADDRESS, 0x00010000) == b"\xfe" * 4 + bytes.fromhex(energy)
    assert read_request(ADDRESS, 0x04000503) == b"\xfe" * 4 + bytes.fromhex(status)
    asked = encode(Frame("A" * 12, READ_ADDRESS), wake=0)
    assert asked == bytes.fromhex("68AAAAAAAAAAAA681300DF16")
    assert address_request() == b"\xfe" * 4 + asked


def test_following_frames_are_asked_for_by_number() -> None:
    (request,) = Decoder().feed(next_request(ADDRESS, 0x0001FF00, 7))
    assert request == Frame(ADDRESS, READ_NEXT, bytes.fromhex("00FF010007"))
    assert Frame(ADDRESS, READ | REPLY | MORE).has_more
    assert not Frame(ADDRESS, READ | REPLY).has_more


@pytest.mark.parametrize(
    ("pattern", "address", "so"),
    [
        ("A" * 12, ADDRESS, True), (ADDRESS, ADDRESS, True), ("AAAAAAAA5678", ADDRESS, True),
        ("AAAAAAAA5679", ADDRESS, False), ("00", ADDRESS, False), (ADDRESS, ADDRESS[2:], False),
    ],
)  # fmt: skip
def test_shortened_addresses(pattern: str, address: str, so: bool) -> None:
    assert matches(pattern, address) is so


def test_counters_are_one_number_or_one_for_each_phase() -> None:
    single, phases = ALL_ITEMS[0x03300D00], ALL_ITEMS[0x03020000]
    assert single.decode(bytes.fromhex("030000")) == {"_counts": {0x03300D00: [3]}}
    three = bytes.fromhex("010000050000 020000600000 000000000000")
    assert phases.decode(three) == {"_counts": {0x03020000: [1, 2, 0]}}
    assert phases.decode(three[:6]) == {"_counts": {0x03020000: [1]}}
    for bad in (b"", b"\x01", bytes(7)):
        with pytest.raises(CodecError):
            phases.decode(bad)


def test_tariffs_come_with_their_total_and_as_many_as_there_are() -> None:
    block = ALL_ITEMS[0x0001FF00]
    two = bcd(300, 0, 4) + bcd(100, 0, 4) + bcd(200, 0, 4)
    assert block.decode(two) == {"energy_t1_kwh": 1.0, "energy_t2_kwh": 2.0}
    many = b"".join(bcd(100 * n, 0, 4) for n in range(10))
    assert block.decode(many) == {f"energy_t{n}_kwh": float(n) for n in range(1, 5)}
    with pytest.raises(CodecError):
        block.decode(many[:-1])


def test_status_words_come_in_a_block_or_one_by_one() -> None:
    words = b"".join(n.to_bytes(2, "little") for n in range(0x101, 0x108))
    assert ALL_ITEMS[0x040005FF].decode(words) == {
        "_words": {n: 0x100 + n for n in range(1, 8)},
    }
    assert ALL_ITEMS[0x04000507].decode(b"\x20\x00") == {"_words": {7: 0x20}}
    for identifier in (0x040005FF, 0x04000507, 0x04000101, 0x04000102, 0x04000402, 0x01010000):
        with pytest.raises(CodecError):
            ALL_ITEMS[identifier].decode(b"\x01")


def test_the_clock_is_told_against_ours() -> None:
    # 2026-03-05 18:30:15 in China is 10:30:15 UTC.
    now = 1_772_706_615_000
    assert clock_offset_s("260305", "183015", 8, now) == 0
    assert clock_offset_s("260305", "183215", 8, now) == 120
    assert clock_offset_s("260305", "183015", 0, now) == 8 * 3600
    assert clock_offset_s("261332", "183015", 8, now) is None
    assert clock_offset_s("26AB05", "183015", 8, now) is None
    assert demand_time_ms("2603051830", 8) == now - 15_000
    assert demand_time_ms("0000000000", 8) is None


def test_demand_and_address_replies() -> None:
    demand = bytes.fromhex("68785634120000 68 91 0C 33333434 9A7836 634B383659 0C16")
    (frame,) = Decoder().feed(demand)
    assert frame.data[:4] == (0x01010000).to_bytes(4, "little")
    assert decode_bcd(frame.data[4:7]) == 34567
    address = bytes.fromhex("687856341200006893 06AB8967453333 C316")
    (frame,) = Decoder().feed(address)
    assert frame.function == READ_ADDRESS
    assert frame.data[::-1].hex() == ADDRESS


def test_an_error_reply_says_why() -> None:
    (frame,) = Decoder().feed(bytes.fromhex("68785634120000 68D10135EB16"))
    assert frame.is_error
    assert frame.control == READ | REPLY | ERROR
    assert error_text(frame.data[0]) == "no such data"
    assert error_text(0x05) == "other error, password or not authorised"
    assert error_text(0) == "no reason given"


@settings(deadline=None)
@given(st.integers(2, 6), st.data())
def test_bcd_round_trip(size: int, data: st.DataObject) -> None:
    signed = data.draw(st.booleans())
    limit = (8 if signed else 10) * 10 ** (size * 2 - 1) - 1
    value = data.draw(st.integers(-limit if signed else 0, limit))
    raw = bcd(value, 0, size, signed=signed)
    assert len(raw) == size
    assert decode_bcd(raw, signed=signed) == value


def test_bcd_refuses_what_is_not_bcd() -> None:
    with pytest.raises(CodecError):
        decode_bcd(b"\x1a\x00")
    with pytest.raises(CodecError):
        decode_bcd(b"")
    assert decode_bcd(b"\xff\xff\xff") is None


def test_encoding_refuses_what_does_not_fit() -> None:
    with pytest.raises(CodecError):
        encode(Frame("12", READ))
    with pytest.raises(CodecError):
        encode(Frame(ADDRESS, READ, bytes(201)))


def test_a_block_leaves_out_the_phase_that_is_not_there() -> None:
    block = ALL_ITEMS[0x0201FF00]
    assert block.decode(bytes.fromhex("0522 FFFF 1022")) == {
        "voltage_l1_v": 220.5,
        "voltage_l3_v": 221.0,
    }
    with pytest.raises(CodecError):
        block.decode(bytes.fromhex("0522FFFF"))
