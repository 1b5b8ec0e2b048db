"""Finds CJ/T 188 meters on a line, by their addresses; asks, and writes nothing.

The question for an address goes to type AA and address AA×7: a line with one meter answers it.
Naming the low bytes alone, as DL/T 645 allows, is answered by some makers' meters only; where
none does, a line with several must be given by hand. Both orders of the identifier are tried,
the second one where nothing at all is said to the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import structlog

from edge.discovery.found import Found
from edge.discovery.shortened import MOST_QUESTIONS, Heard, Search
from edge.drivers.cjt188.codec import Decoder, Order, address_request, medium_of
from edge.transport.bus import Bus
from edge.transport.line import line_of
from edge.transport.settings import ChannelSettings

_DIGITS = 14
_NAME = "discovery"
_log = structlog.get_logger(__name__)


async def scan(
    channel: ChannelSettings, *, suffix: str = "", timeout_s: float = 0.6,
    most: int = MOST_QUESTIONS,
) -> AsyncIterator[Found]:  # fmt: skip
    """Yield the meters of a line whose address ends with ``suffix`` (an even number of digits).

    ``timeout_s`` is how long (real time) answers are waited for, ``most`` bounds the questions.
    Raises :class:`LinkError` when the line cannot be opened and ValueError for a bad suffix.
    """
    if len(suffix) % 2 or len(suffix) > _DIGITS or (suffix and not suffix.isdecimal()):
        raise ValueError(f"not the low digits of an address, in pairs: {suffix!r}")
    bus = Bus(line_of(channel))
    said: dict[str, tuple[int, Order]] = {}
    try:
        async with bus.turn(_NAME, max(timeout_s, 3)):
            order = await _order(bus, suffix, timeout_s)
            if order is None:
                return

            async def ask(low: str) -> Heard:
                return await _ask(bus, low, order, timeout_s, said)

            search = Search(ask, _DIGITS, most)
            async for address in search.run(suffix):
                yield _found(channel, address, *said[address])
            if not search.complete:
                _log.warning("search_bounded", channel=channel.channel, questions=search.asked)
    finally:
        await bus.close()


async def _order(bus: Bus, suffix: str, timeout_s: float) -> Order | None:
    """Return the order of an identifier's bytes to which anything is said."""
    orders: tuple[Order, ...] = ("low", "high")
    for order in orders:
        raw = await bus.gather(address_request(order, _shortened(suffix)), timeout_s)
        decoder = Decoder()
        frames = decoder.feed(raw)
        decoder.clear()
        if decoder.skipped or any(frame.is_reply for frame in frames):
            return order
    return None


def _shortened(low: str) -> str:
    return "AA" * ((_DIGITS - len(low)) // 2) + low


async def _ask(
    bus: Bus, low: str, order: Order, timeout_s: float, said: dict[str, tuple[int, Order]]
) -> Heard:
    """Ask all whose address ends with ``low``, and note the type and order of who answers."""
    raw = await bus.gather(address_request(order, _shortened(low)), timeout_s)
    decoder = Decoder()
    frames = [frame for frame in decoder.feed(raw) if frame.is_reply]
    decoder.clear()
    other: Order = "high" if order == "low" else "low"
    for frame in frames:
        # Who refuses the identifier wants its bytes the other way; its address is told, too.
        said[frame.address] = (frame.kind, other if frame.is_error else order)
    addresses = tuple(dict.fromkeys(frame.address for frame in frames))
    return Heard(addresses, clean=decoder.skipped == 0 and len(frames) <= 1)


def _found(channel: ChannelSettings, address: str, kind: int, order: Order) -> Found:
    medium = medium_of(kind)
    what = f"CJ/T 188 meter, type {kind:02X}" + (f" ({medium})" if medium else "")
    meter: dict[str, Any] = {
        "device": f"meter-{address}", "address": address, "type": f"{kind:02X}",
    }  # fmt: skip
    entry = {
        "driver": "cjt188", **channel.model_dump(exclude_none=True),
        "identifier_order": order, "meters": [meter],
    }  # fmt: skip
    return Found("cjt188", f"{address} at {channel.channel}", what, entry)
