"""What crashes a projection's code, and the notes by which it is found and left out (ADR 0028).

A projection is its own code over whatever the log holds, so an entry may crash it: with an
exception that nobody raises on purpose, or by ending the process. The notes outlive both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import msgspec

from core.contracts.codec import Event

#: The index that stands for an entry as a whole.
WHOLE = -1
#: The index that stands for every event of a batch, each by itself.
EVERY = -2


class Stage(StrEnum):
    """Where an entry is on its way through a projection."""

    READ = "read"
    """It is decoded: the same for whoever reads the log."""
    USE = "use"
    """The projection works with it."""


#: Hears of each event before it is touched: where it is, and its index in its batch.
Before = Callable[[Stage, int], None]


class LeftOut(msgspec.Struct, frozen=True):
    """One event of the log (``index`` in the entry at ``pos``), or all of an entry, left out.

    Of a tick it is the timer with that number.
    """

    pos: int
    index: int
    stage: Stage
    reason: str


class Try(msgspec.Struct, frozen=True):
    """A stretch ``first``..``last`` of the log that is tried; if ``is_fine``, event by event."""

    first: int
    last: int
    is_fine: bool = False
    stage: Stage = Stage.READ
    index: int = WHOLE

    def holds(self, other: Try) -> bool:
        """Tell whether another stretch lies within this one."""
        return self.first <= other.first and other.last <= self.last


class Notes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one projection's crashes.

    ``is_alive`` without a process that lives says that one has died without farewell, and
    ``trying`` what it was at, if that was noted. ``suspect`` has failed ``tries`` times in a row,
    last for ``reason``; ``is_guilty`` that it is to be left out.
    """

    is_alive: bool = False
    trying: Try | None = None
    suspect: Try | None = None
    tries: int = 0
    is_guilty: bool = False
    reason: str = ""
    left_out: tuple[LeftOut, ...] = ()


class Watched(list[tuple[int, Event]]):
    """Events of a batch whose reader is followed from one to the next."""

    def __init__(self, events: Iterable[tuple[int, Event]], before: Before) -> None:
        super().__init__(events)
        self._before = before

    def __iter__(self) -> Iterator[tuple[int, Event]]:
        for item in super().__iter__():
            self._before(Stage.USE, item[0])
            yield item
        self._before(Stage.USE, WHOLE)
