"""The serial numbers of a controller's events: what is known, what is missing, what began anew.

A controller numbers its events. The book knows the highest number that was dealt with (the
mark), the last few hundred with their times, and the holes below the mark that may still be
filled by a search. After a factory reset or an exchange the numbers begin anew: a new era.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_REMEMBERED = 4096
#: So many of them are remembered over a restart.
_KEPT = 256
#: More holes than this are declared lost, the oldest first.
_MOST_HOLES = 64


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one event from another: its number, and its time in whole seconds (0: none)."""

    serial: int
    second: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers that never came; ``after`` and ``before`` are the seconds around them."""

    first: int
    last: int
    after: int
    before: int

    @property
    def size(self) -> int:
        """Return how many events may be missing."""
        return self.last - self.first + 1


class SerialBook:
    """The bookkeeping of one controller; its memory is plain JSON."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, int] = OrderedDict()
        self._mark: Stamp | None = None
        self._latest = 0
        self._era_began = 0
        self._holes: list[Hole] = []
        self.missed = 0
        """Events that the controller no longer has: declared lost."""
        self.eras = 0
        """How often the numbers began anew."""

    @property
    def mark(self) -> Stamp | None:
        """Return the highest number of the present era that was dealt with."""
        return self._mark

    @property
    def holes(self) -> tuple[Hole, ...]:
        """Return the holes that may still be filled."""
        return tuple(self._holes)

    def known(self, stamp: Stamp, *, fresh: bool) -> bool:
        """Tell whether an event has been dealt with already.

        ``fresh`` says that the controller tells it as something that just happened, so that a
        low number means a new era rather than an old event.
        """
        mark = self._mark
        if mark is None:
            return False
        second = self._seen.get(stamp.serial)
        if second is not None:
            # The same number at another time is an event of another era: a newer or an older.
            return not second or stamp.second <= second
        if stamp.serial > mark.serial:
            return not fresh and 0 < stamp.second < self._era_began
        if self._hole_of(stamp.serial) is not None:
            return False
        return not fresh and stamp.second <= self._latest

    def gap_before(self, stamp: Stamp, previous: int | None) -> Hole | None:
        """Return the hole that an unknown event opens, None without one.

        ``previous`` is the number of the event that the controller sent before this one
        (``frontSerialNo``), where it tells it: numbers in between were never meant for us.
        """
        mark = self._mark
        if mark is None or stamp.serial <= mark.serial + 1:
            return None
        last = min(previous, stamp.serial - 1) if previous else stamp.serial - 1
        if last <= mark.serial:
            return None
        return Hole(mark.serial + 1, last, mark.second, stamp.second)

    def add(self, hole: Hole) -> None:
        """Remember a hole that may be filled later."""
        self._holes.append(hole)
        while len(self._holes) > _MOST_HOLES:
            self.missed += self._holes.pop(0).size

    def declare(self, holes: Iterable[Hole]) -> int:
        """Give holes up, as far as they are still open; return how many events are lost."""
        lost = 0
        for hole in holes:
            for rest in [h for h in self._holes if h.first >= hole.first and h.last <= hole.last]:
                self._holes.remove(rest)
                lost += rest.size
        self.missed += lost
        return lost

    def note(self, stamp: Stamp) -> None:
        """Remember an event that has been dealt with."""
        mark = self._mark
        if mark is None or stamp.serial > mark.serial:
            self._advance(stamp)
        elif (hole := self._hole_of(stamp.serial)) is not None:
            self._fill(hole, stamp)
        elif not self.known(stamp, fresh=True):
            self._begin_era(stamp)
        self._seen[stamp.serial] = stamp.second
        self._seen.move_to_end(stamp.serial)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def restart(self) -> None:
        """Another controller answers at this address: nothing of the old one's numbers holds."""
        self.declare(self.holes)
        self._seen.clear()
        self._mark, self._latest, self._era_began = None, 0, 0
        self.eras += 1

    def dump(self) -> dict[str, Any]:
        """Return what must be known after a restart."""
        recent = list(self._seen.items())[-_KEPT:]
        return {
            "mark": None if self._mark is None else [self._mark.serial, self._mark.second],
            "latest": self._latest,
            "era": self._era_began,
            "seen": [[serial, second] for serial, second in recent],
            "holes": [[h.first, h.last, h.after, h.before] for h in self._holes],
        }

    def restore(self, memory: Any) -> None:
        """Take over what :meth:`dump` returned; nonsense is as good as nothing."""
        try:
            mark = memory["mark"]
            seen = [(int(serial), int(second)) for serial, second in memory["seen"]]
            holes = [Hole(*(int(number) for number in hole)) for hole in memory["holes"]]
            latest, era = int(memory["latest"]), int(memory["era"])
            self._mark = None if mark is None else Stamp(int(mark[0]), int(mark[1]))
        except (KeyError, TypeError, ValueError, IndexError):
            return
        self._seen = OrderedDict(seen)
        self._holes = holes[-_MOST_HOLES:]
        self._latest, self._era_began = latest, era

    def _advance(self, stamp: Stamp) -> None:
        self._mark = stamp
        self._latest = max(self._latest, stamp.second)

    def _begin_era(self, stamp: Stamp) -> None:
        self.declare(self.holes)
        self.eras += 1
        self._mark, self._latest, self._era_began = stamp, stamp.second, stamp.second

    def _hole_of(self, serial: int) -> Hole | None:
        return next((hole for hole in self._holes if hole.first <= serial <= hole.last), None)

    def _fill(self, hole: Hole, stamp: Stamp) -> None:
        self._holes.remove(hole)
        if hole.first < stamp.serial:
            self._holes.append(Hole(hole.first, stamp.serial - 1, hole.after, stamp.second))
        if stamp.serial < hole.last:
            self._holes.append(Hole(stamp.serial + 1, hole.last, stamp.second, hole.before))
        self._holes.sort(key=lambda item: item.first)
