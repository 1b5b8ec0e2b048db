"""Finds DL/T 645 meters on a line, by their addresses; asks, and writes nothing.

A line with one meter answers the address AA×6. With several the shortened addressing of the
standard is used: low bytes named, high bytes AA, in requests to read. On a line that is in use
the search takes turns with the driver only if both are given the same shared things; run it
when the line is commissioned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from core.contracts.errors import DeviceRefusedError
from edge.discovery.found import Found
from edge.discovery.shortened import (
    MOST_QUESTIONS,
    Heard,
    Search,
    check_suffix,
    line,
    replies,
    shortened,
)
from edge.driver import LinkError
from edge.drivers.dlt645.codec import Decoder, address_request, decode_bcd, read_request
from edge.drivers.dlt645.link import Link
from edge.meters.frames import CodecError
from edge.transport.bus import Bus, NoAnswerError
from edge.transport.settings import ChannelSettings

#: Read with a shortened address: every meter has it, and the frame tells whose it is.
_PROBE = 0x00010000
_THIRD_PHASE = 0x02010300
_DIGITS = 12


async def scan(
    channel: ChannelSettings, *, suffix: str = "", timeout_s: float = 0.6,
    most: int = MOST_QUESTIONS,
) -> AsyncIterator[Found]:  # fmt: skip
    """Yield the meters of a line whose address ends with ``suffix`` (an even number of digits).

    ``timeout_s`` is how long (real time) answers are waited for, ``most`` bounds the questions.
    Raises :class:`LinkError` when the line cannot be opened and ValueError for a bad suffix.
    """
    check_suffix(suffix, _DIGITS)
    link = Link(timeout_s)
    async with line(channel, timeout_s) as bus:
        known: set[str] = set()
        if not suffix and (alone := await _alone(bus, timeout_s)) is not None:
            known.add(alone)
            yield await _describe(bus, link, channel, alone)
            # Another may be there whose answer was covered, or who is silent to 13h.
        search = Search(channel.channel, lambda low: _ask(bus, low, timeout_s), _DIGITS, most)
        async for address in search.run(suffix):
            if address not in known:
                yield await _describe(bus, link, channel, address)


async def _alone(bus: Bus, timeout_s: float) -> str | None:
    """Return the address of a meter that alone answers the question for it."""
    heard = _heard(await bus.gather(address_request(), timeout_s))
    return heard.addresses[0] if heard.clean and len(heard.addresses) == 1 else None


async def _ask(bus: Bus, low: str, timeout_s: float) -> Heard:
    return _heard(await bus.gather(read_request(shortened(low, _DIGITS), _PROBE), timeout_s))


def _heard(raw: bytes) -> Heard:
    frames, clean = replies(Decoder(), raw)
    return Heard(tuple(dict.fromkeys(frame.address for frame in frames)), clean)


async def _describe(bus: Bus, link: Link, channel: ChannelSettings, address: str) -> Found:
    energy = await _value(bus, link, address, _PROBE, 100)
    phases = 1 if await _value(bus, link, address, _THIRD_PHASE, 10) is None else 3
    what = f"DL/T 645 meter, {phases} phase{'s' if phases > 1 else ''}"
    if energy is not None:
        what += f", {energy:.2f} kWh"
    meter: dict[str, Any] = {"device": f"meter-{address}", "address": address, "phases": phases}
    where = channel.model_dump(exclude_none=True)
    entry = {"driver": "dlt645", **where, "meters": [meter]}
    return Found("dlt645", f"{address} at {channel.channel}", what, entry)


async def _value(bus: Bus, link: Link, address: str, identifier: int, divisor: int) -> float | None:
    try:
        answer = await link.read(bus, address, identifier)
        number = decode_bcd(answer.payload)
    except (NoAnswerError, DeviceRefusedError, CodecError):
        return None
    except LinkError as error:
        if error.cause != "protocol":
            raise
        return None
    return None if number is None else number / divisor
