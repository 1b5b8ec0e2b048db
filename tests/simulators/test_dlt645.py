"""The frame codec against the published vectors, and against arbitrary bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.errors import ContractError
from simulators.devices.dlt645 import Frame, FrameReader, bcd

ADDRESS = "000012345678"
VECTORS = {
    "read energy": ("68 78 56 34 12 00 00 68 11 04 33 33 34 33 C6 16", 0x11, "00000100"),
    "12345.67 kWh": (
        "68 78 56 34 12 00 00 68 91 08 33 33 34 33 9A 78 56 34 E6 16",
        0x91,
        "00000100" + bcd(12345.67, 2, 4).hex(),
    ),
    "220.5 V": (
        "68 78 56 34 12 00 00 68 91 06 33 34 34 35 38 55 D8 16",
        0x91,
        "00010102" + bcd(220.5, 1, 2).hex(),
    ),
    "5.123 A": (
        "68 78 56 34 12 00 00 68 91 07 33 34 35 35 56 84 33 5A 16",
        0x91,
        "00010202" + bcd(5.123, 3, 3, signed=True).hex(),
    ),
    "-1.2345 kW": (
        "68 78 56 34 12 00 00 68 91 07 33 33 36 35 78 56 B4 CF 16",
        0x91,
        "00000302" + bcd(-1.2345, 4, 3, signed=True).hex(),
    ),
    "power factor": (
        "68 78 56 34 12 00 00 68 91 06 33 33 39 35 B8 3C 43 16",
        0x91,
        "00000602" + bcd(0.985, 3, 2).hex(),
    ),
    "status 3 open": (
        "68 78 56 34 12 00 00 68 91 06 36 38 33 37 83 33 09 16",
        0x91,
        "03050004" + "5000",
    ),
    "no data": ("68 78 56 34 12 00 00 68 D1 01 35 EB 16", 0xD1, "02"),
}


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors_decode_and_encode(name):
    text, control, data = VECTORS[name]
    raw = bytes.fromhex(text)
    expected = Frame(ADDRESS, control, bytes.fromhex(data))
    assert FrameReader().feed(b"\xfe" * 4 + raw) == [expected]
    assert expected.encode() == raw


def test_read_address_vectors():
    request = bytes.fromhex("68 AA AA AA AA AA AA 68 13 00 DF 16")
    assert FrameReader().feed(request) == [Frame("AA" * 6, 0x13)]
    reply = Frame("123456789678", 0x93, bytes.fromhex("789678563412"))
    assert FrameReader().feed(reply.encode()) == [reply]


frames = st.builds(
    Frame,
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.integers(0, 255),
    st.binary(max_size=200),
)


@given(st.lists(frames, max_size=4), st.integers(1, 40))
def test_frames_survive_any_cut_of_the_stream(sent, size):
    stream = b"".join(b"\xfe" * (i % 5) + frame.encode() for i, frame in enumerate(sent))
    reader = FrameReader()
    received = []
    for at in range(0, len(stream), size):
        received += reader.feed(stream[at : at + size])
    assert received == sent
    assert reader.skipped == 0


@given(st.binary(max_size=600))
def test_any_bytes_are_counted_and_never_fatal(noise):
    reader = FrameReader()
    reader.feed(noise)
    assert 0 <= reader.skipped <= len(noise)


@given(frames, st.data())
def test_a_damaged_frame_is_never_taken_for_another(frame, data):
    raw = bytearray(frame.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert all(found != frame for found in FrameReader().feed(bytes(raw)))


@pytest.mark.parametrize(("value", "signed"), [(10_000, False), (-1, False), (8_000, True)])
def test_what_does_not_fit_is_refused(value, signed):
    with pytest.raises(ContractError):
        bcd(value, 0, 2, signed=signed)
