"""A search by shortened addresses: the low bytes are named, the high ones stand for any.

Whoever matches answers. Nothing heard: nobody has these low bytes. One clean frame and nothing
else: one meter. Anything else: several spoke at once, and the next byte is named, too. The
search is bounded by the number of questions. Where the answers of two meters hide each other so
that one of them comes through whole, the other is not found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from edge.meters.frames import WILDCARD, F, FrameDecoder
from edge.transport.bus import Bus
from edge.transport.line import line_of
from edge.transport.settings import ChannelSettings

#: A search asks at most so many questions unless told otherwise.
MOST_QUESTIONS = 1_000
_NAME = "discovery"
#: Opening a line may take so long (s, real time), however short the answers' time-out is.
_OPEN_S = 3.0
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def line(channel: ChannelSettings, timeout_s: float) -> AsyncIterator[Bus]:
    """Open a line for a search and close it afterwards; raise :class:`LinkError`."""
    bus = Bus(line_of(channel))
    try:
        async with bus.turn(_NAME, max(timeout_s, _OPEN_S)):
            yield bus
    finally:
        await bus.close()


def shortened(low: str, digits: int) -> str:
    """Return the address of all whose address ends with ``low``."""
    return WILDCARD * ((digits - len(low)) // 2) + low


def replies(decoder: FrameDecoder[F], raw: bytes) -> tuple[list[F], bool]:
    """Return the replies in what was heard, and whether there was at most one and no more."""
    # Adapters that hear themselves give the question back; it is no reply.
    frames = [frame for frame in decoder.feed(raw) if frame.is_reply]
    decoder.clear()
    return frames, decoder.skipped == 0 and len(frames) <= 1


@dataclass(frozen=True, slots=True)
class Heard:
    """What followed a question: the addresses in whole frames, and whether there was more."""

    addresses: tuple[str, ...]
    clean: bool


#: Asks all whose address ends with some digits.
Ask = Callable[[str], Awaitable[Heard]]


def check_suffix(suffix: str, digits: int) -> None:
    """Raise ValueError for what are not the low digits of an address, in pairs."""
    if len(suffix) % 2 or len(suffix) > digits or (suffix and not suffix.isdecimal()):
        raise ValueError(f"not the low digits of an address, in pairs: {suffix!r}")


@dataclass(slots=True)
class Search:
    """One search on a channel, whose name is for the log.

    ``asked`` counts, and ``complete`` tells whether the bound was not reached.
    """

    channel: str
    ask: Ask
    digits: int
    most: int = MOST_QUESTIONS
    asked: int = 0
    complete: bool = True

    async def run(self, suffix: str = "") -> AsyncIterator[str]:
        """Yield the addresses that end with ``suffix``, each once."""
        found: set[str] = set()
        waiting = [suffix]
        while waiting:
            known = waiting.pop(0)
            if self.asked >= self.most:
                self.complete = False
                _log.warning("search_bounded", channel=self.channel, questions=self.asked)
                return
            self.asked += 1
            heard = await self.ask(known)
            for address in heard.addresses:
                if address not in found:
                    found.add(address)
                    yield address
            settled = len(heard.addresses) <= 1 and heard.clean
            if not settled and len(known) < self.digits:
                waiting += [f"{byte:02d}{known}" for byte in range(100)]
