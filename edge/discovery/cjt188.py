"""Finds CJ/T 188 meters on a line, by their addresses; asks, and writes nothing.

The question for an address goes to type AA and address AA×7: a line with one meter answers it.
Naming the low bytes alone, as DL/T 645 allows, is answered by some makers' meters only; where
none does, a line with several must be given by hand. Both orders of the identifier are tried,
the second one where nothing at all is said to the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

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
from edge.drivers.cjt188.codec import Decoder, Order, address_request, medium_of
from edge.transport.bus import Bus
from edge.transport.settings import ChannelSettings

_DIGITS = 14


async def scan(
    channel: ChannelSettings, *, suffix: str = "", timeout_s: float = 0.6,
    most: int = MOST_QUESTIONS,
) -> AsyncIterator[Found]:  # fmt: skip
    """Yield the meters of a line whose address ends with ``suffix`` (an even number of digits).

    ``timeout_s`` is how long (real time) answers are waited for, ``most`` bounds the questions.
    Raises :class:`LinkError` when the line cannot be opened and ValueError for a bad suffix.
    """
    check_suffix(suffix, _DIGITS)
    said: dict[str, tuple[int, Order]] = {}
    async with line(channel, timeout_s) as bus:
        order = await _order(bus, suffix, timeout_s)
        if order is None:
            return

        async def ask(low: str) -> Heard:
            return await _ask(bus, low, order, timeout_s, said)

        async for address in Search(channel.channel, ask, _DIGITS, most).run(suffix):
            yield _found(channel, address, *said[address])


async def _order(bus: Bus, suffix: str, timeout_s: float) -> Order | None:
    """Return the order of an identifier's bytes to which anything is said."""
    orders: tuple[Order, ...] = ("low", "high")
    for order in orders:
        question = address_request(order, shortened(suffix, _DIGITS))
        frames, clean = replies(Decoder(), await bus.gather(question, timeout_s))
        if frames or not clean:
            return order
    return None


async def _ask(
    bus: Bus, low: str, order: Order, timeout_s: float, said: dict[str, tuple[int, Order]]
) -> Heard:
    """Ask all whose address ends with ``low``, and note the type and order of who answers."""
    question = address_request(order, shortened(low, _DIGITS))
    frames, clean = replies(Decoder(), await bus.gather(question, timeout_s))
    other: Order = "high" if order == "low" else "low"
    for frame in frames:
        # Who refuses the identifier wants its bytes the other way; its address is told, too.
        said[frame.address] = (frame.kind, other if frame.is_error else order)
    addresses = tuple(dict.fromkeys(frame.address for frame in frames))
    return Heard(addresses, clean)


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
