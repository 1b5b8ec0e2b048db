"""Wiegand formats: the published vectors, round trips, and that no wrong bit passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.wiegand import Card, WiegandError, decode
from simulators.devices.wiegand import w26, w34


def packed(bits: int, word: int) -> bytes:
    size = (bits + 7) // 8
    return (word << (size * 8 - bits)).to_bytes(size)


def test_the_vectors_of_the_field() -> None:
    assert decode(26, packed(26, 0x2F623AE)) == Card(26, 4567, 123)
    assert decode(34, packed(34, 0x22468ACF1)) == Card(34, 0x12345678)
    assert w26(123, 4567) == (26, packed(26, 0x2F623AE))
    assert w34(0x12345678) == (34, packed(34, 0x22468ACF1))


@given(st.integers(0, 0xFF), st.integers(0, 0xFFFF))
def test_26_bits_there_and_back(facility: int, card: int) -> None:
    assert decode(*w26(facility, card)) == Card(26, card, facility)


@given(st.integers(0, 0xFFFF_FFFF))
def test_34_bits_there_and_back(card: int) -> None:
    assert decode(*w34(card)) == Card(34, card)


@given(st.integers(0, 0xFFFF_FFFF), st.booleans(), st.data())
def test_every_single_wrong_bit_is_refused(card: int, longer: bool, data: st.DataObject) -> None:
    bits, raw = w34(card) if longer else w26(card >> 16 & 0xFF, card & 0xFFFF)
    place = data.draw(st.integers(0, bits - 1))
    spoilt = bytearray(raw)
    spoilt[place // 8] ^= 0x80 >> place % 8
    with pytest.raises(WiegandError):
        decode(bits, bytes(spoilt))


@given(st.integers(1, 256).filter(lambda n: n not in (26, 34)), st.data())
def test_other_lengths_are_named_by_their_bits(bits: int, data: st.DataObject) -> None:
    word = data.draw(st.integers(0, (1 << bits) - 1))
    assert decode(bits, packed(bits, word)).identifier == f"raw{bits}-{word:x}"


@given(st.integers(0, 127))
def test_the_bits_that_fill_the_last_byte_do_not_count(filling: int) -> None:
    bits, raw = w26(123, 4567)
    assert decode(bits, raw[:-1] + bytes((raw[-1] | filling & 0x3F,))) == Card(26, 4567, 123)


@pytest.mark.parametrize(
    ("bits", "data"), [(0, b""), (257, bytes(33)), (26, bytes(3)), (26, bytes(5)), (-1, b"")]
)
def test_what_is_no_read_at_all(bits: int, data: bytes) -> None:
    with pytest.raises(WiegandError):
        decode(bits, data)


def test_formats_with_the_same_number_are_different_cards() -> None:
    assert len({decode(*w26(0, 5)).identifier, decode(*w34(5)).identifier}) == 2
