"""A search by shortened addresses: the low bytes are named, the high ones stand for any.

Whoever matches answers. Nothing heard: nobody has these low bytes. One clean frame and nothing
else: one meter. Anything else: several spoke at once, and the next byte is named, too. The
search is bounded by the number of questions. Where the answers of two meters hide each other so
that one of them comes through whole, the other is not found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

#: A search asks at most so many questions unless told otherwise.
MOST_QUESTIONS = 1_000


@dataclass(frozen=True, slots=True)
class Heard:
    """What followed a question: the addresses in whole frames, and whether there was more."""

    addresses: tuple[str, ...]
    clean: bool


#: Asks all whose address ends with some digits.
Ask = Callable[[str], Awaitable[Heard]]


@dataclass(slots=True)
class Search:
    """One search; ``asked`` counts, and ``complete`` tells whether the bound was not reached."""

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
