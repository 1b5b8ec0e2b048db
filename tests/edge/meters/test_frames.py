"""Frames of both meter protocols in streams that are cut, disturbed and full of garbage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.cjt188 import codec as cjt188
from edge.drivers.dlt645 import codec as dlt645
from edge.meters.frames import LONGEST_DATA, FrameDecoder


@dataclass(frozen=True)
class Protocol:
    frames: st.SearchStrategy[Any]
    encode: Callable[..., bytes]
    decoder: Callable[[], FrameDecoder[Any]]


def _address(digits: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=digits, max_size=digits)


_byte, _data = st.integers(0, 255), st.binary(max_size=LONGEST_DATA)
PROTOCOLS = {
    "dlt645": Protocol(
        st.builds(dlt645.Frame, address=_address(12), control=_byte, data=_data),
        dlt645.encode,
        dlt645.Decoder,
    ),
    "cjt188": Protocol(
        st.builds(cjt188.Frame, kind=_byte, address=_address(14), control=_byte, data=_data),
        cjt188.encode,
        cjt188.Decoder,
    ),
}
each_protocol = pytest.mark.parametrize("name", PROTOCOLS)


@each_protocol
@settings(deadline=None)
@given(data=st.data())
def test_frames_survive_any_cutting_of_the_stream(name: str, data: st.DataObject) -> None:
    protocol = PROTOCOLS[name]
    sent = data.draw(st.lists(protocol.frames, min_size=1, max_size=4))
    stream = b"".join(protocol.encode(frame, wake=index % 5) for index, frame in enumerate(sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, got = protocol.decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
    assert got == sent
    assert decoder.skipped == 0


@each_protocol
@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.data())
def test_frames_are_found_again_after_garbage(
    name: str, before: bytes, between: bytes, data: st.DataObject
) -> None:
    protocol = PROTOCOLS[name]
    first, second = data.draw(protocol.frames), data.draw(protocol.frames)
    decoder = protocol.decoder()
    got = decoder.feed(before + protocol.encode(first) + between + protocol.encode(second))
    # Garbage may look like the beginning of a frame; then a few more bytes settle it.
    got += decoder.feed(bytes(LONGEST_DATA + 13))
    assert first in got
    assert second in got


@each_protocol
@settings(deadline=None)
@given(st.data(), st.integers(0, 5000), st.integers(1, 255))
def test_a_corrupt_byte_never_gives_another_frame(
    name: str, data: st.DataObject, where: int, flip: int
) -> None:
    protocol = PROTOCOLS[name]
    frame = data.draw(protocol.frames)
    raw = bytearray(protocol.encode(frame, wake=0))
    raw[where % len(raw)] ^= flip
    assert frame not in protocol.decoder().feed(bytes(raw))


@each_protocol
@settings(deadline=None)
@given(garbage=st.binary(max_size=2000))
def test_any_bytes_are_survived_with_bounded_memory(name: str, garbage: bytes) -> None:
    decoder = PROTOCOLS[name].decoder()
    found = decoder.feed(garbage)
    decoder.clear()
    assert decoder.skipped <= len(garbage)
    assert all(len(frame.data) <= LONGEST_DATA for frame in found)
