"""Tailgating: more persons walk through a door than were let in.

Each grant lets one person walk in, from a little before it (clocks differ) until ``window_s``
after it; an exit button lets one walk out. Those whom the door's camera sees crossing use up
the grants in the order of their times, each the oldest that is still good. Whoever crosses
while a grant has just been used and none is left has followed its holder: ``access.tailgate``
with the number of persons on that grant.

- Two people with two grants are two people: each has one.
- Who leaves is no tailgater: crossings outwards do not count where the camera tells the way;
  where it does not, an exit button covers one crossing.
- Who crosses without any grant nearby (a door that was held, forced or released) is another
  matter, and another event. While a fire release holds nothing is concluded.
- The camera may be late: nothing is judged before ``late_s`` have passed.

Where the camera counts persons in a zone behind the door rather than crossings, more persons
than before the grant and than grants are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from edge.derive.derivation import Derived
from edge.derive.settings import TailgatingSettings
from edge.observation import Observation

GRANTED, EXIT, RELEASE = "access.granted", "access.exit_button", "access.fire_release"
CROSSED, COUNTED = "camera.line_crossed", "camera.count"
_MOST = 512
_MOST_PERSONS = 1000


@dataclass(slots=True)
class _Pass:
    """One person may walk through; ``outwards`` by an exit button."""

    at: int
    outwards: bool
    used: bool = False
    followers: int = 0
    first_follower: int | None = None
    judged: bool = False


@dataclass(slots=True)
class _Crossing:
    """Somebody crossed; ``inwards`` is None where the camera does not say."""

    at: int
    inwards: bool | None


class _Passage:
    """What is known about one door; times in ms."""

    def __init__(self, settings: TailgatingSettings) -> None:
        self.settings = settings
        self.window = round(settings.window_s * 1000)
        self.lead = round(settings.lead_s * 1000)
        self.late = round(settings.late_s * 1000)
        self.passes: list[_Pass] = []
        self.crossings: list[_Crossing] = []
        self.counts: list[tuple[int, int]] = []
        self.released = False
        self.told_count_at = 0

    @property
    def closes(self) -> int:
        """Return how long after a grant everything about it is known (ms)."""
        return self.window + self.lead + self.late

    @property
    def kept(self) -> int:
        """Return how long (ms) a grant is kept: it counts among those around a later one."""
        return self.closes + self.window + self.lead

    def covers(self, grant: _Pass, crossing: _Crossing) -> bool:
        """Tell whether somebody who crossed then may have used a grant."""
        return grant.at - self.lead <= crossing.at <= grant.at + self.window

    def due(self) -> int | None:
        """Return when there is something to judge or to forget (ms)."""
        moments = [crossing.at + self.lead + self.late for crossing in self.crossings[:1]]
        moments += [
            grant.at + (self.kept if grant.judged else self.closes) for grant in self.passes
        ]
        return min(moments, default=None)


class Tailgating:
    """Derives ``access.tailgate``; see the module."""

    def __init__(self, entries: Iterable[TailgatingSettings]) -> None:
        self._passages = {entry.door: _Passage(entry) for entry in entries}
        self._told: deque[dict[str, Any]] = deque(maxlen=64)

    @property
    def name(self) -> str:
        """Return its name."""
        return "tailgating"

    @property
    def kinds(self) -> frozenset[str]:
        """Return what it looks at; nothing where no door is configured."""
        every = frozenset({GRANTED, EXIT, RELEASE, CROSSED, COUNTED})
        return every if self._passages else frozenset()

    def take(self, seen: Observation) -> Derived:
        """Fold one observation.

        What comes again after a full journal is the very same object: two persons in one second
        have equal events, so that equality would not tell.
        """
        if not any(seen.data is known for known in self._told):
            self._told.append(seen.data)
            self._fold(seen)
        return Derived(seen)

    def due(self) -> int | None:
        """Return when the next crossing or grant can be judged."""
        moments = [due for p in self._passages.values() if (due := p.due()) is not None]
        return min(moments, default=None)

    def wake(self, now: int) -> list[Observation]:
        """Judge whatever can be judged by now."""
        return [found for p in self._passages.values() for found in _judge(p, now)]

    def memory(self) -> Any:
        """Return what is pending."""
        return {
            door: {
                "passes": [asdict(grant) for grant in p.passes],
                "crossings": [asdict(crossing) for crossing in p.crossings],
                "counts": [list(item) for item in p.counts],
                "released": p.released,
            }
            for door, p in self._passages.items()
            if p.passes or p.crossings or p.released or p.counts
        }

    def remember(self, memory: Any) -> None:
        """Take over what was pending; nonsense is ignored."""
        for door, told in memory.items() if isinstance(memory, dict) else ():
            passage = self._passages.get(door)
            if passage is None:
                continue
            try:
                passes = [_Pass(**item) for item in told["passes"]]
                crossings = [_Crossing(**item) for item in told["crossings"]]
                counts = [(int(at), int(count)) for at, count in told["counts"]]
                released = bool(told["released"])
            except (KeyError, TypeError, ValueError):
                continue
            moments = [grant.at for grant in passes] + [crossing.at for crossing in crossings]
            if all(isinstance(at, int) for at in moments):
                passage.passes, passage.crossings = passes[-_MOST:], crossings[-_MOST:]
                passage.counts, passage.released = counts[-_MOST:], released

    def _fold(self, seen: Observation) -> None:
        passage = self._passages.get(seen.device)
        if passage is not None and seen.kind in (GRANTED, EXIT, RELEASE):
            if seen.kind == RELEASE:
                passage.released = bool(seen.data.get("active"))
            else:
                passage.passes.append(_Pass(seen.at, outwards=seen.kind == EXIT))
                _tidy(passage.passes)
            return
        for other in self._passages.values():
            if other.settings.camera == seen.device and not other.released:
                _watch(other, seen)


def _watch(passage: _Passage, seen: Observation) -> None:
    """Note what the camera saw, where it is about this door."""
    settings, data = passage.settings, seen.data
    place = data.get("zone")
    if seen.kind == CROSSED and settings.zone is None and settings.line in (None, place):
        way = {"in": True, "out": False}.get(str(data.get("direction")))
        if data.get("active") is not False and way is not False:
            passage.crossings.append(_Crossing(seen.at, way))
            _tidy(passage.crossings)
    elif (
        seen.kind == COUNTED
        and settings.line is None
        and settings.zone in (None, place)
        and data.get("target") == "person"
        and isinstance(data.get("count"), int)
    ):
        passage.counts.append((seen.at, data["count"]))
        passage.counts.sort()
        del passage.counts[:-_MOST]


def _tidy(items: list[Any]) -> None:
    items.sort(key=lambda item: item.at)
    del items[:-_MOST]


def _judge(passage: _Passage, now: int) -> list[Observation]:
    ready = [c for c in passage.crossings if c.at + passage.lead + passage.late <= now]
    passage.crossings = passage.crossings[len(ready) :]
    for crossing in ready:
        _let_through(passage, crossing)
    found = []
    for grant in passage.passes:
        if grant.judged or grant.at + passage.closes > now:
            continue
        grant.judged = True
        if not grant.outwards and (told := _followed(passage, grant)) is not None:
            found.append(told)
    passage.passes = [grant for grant in passage.passes if grant.at + passage.kept > now]
    if not passage.passes:
        passage.counts = passage.counts[-1:]
    return found


def _let_through(passage: _Passage, crossing: _Crossing) -> None:
    """Let somebody use up a grant, or follow the holder of one."""
    near = [grant for grant in passage.passes if passage.covers(grant, crossing)]
    for grant in near:
        if not grant.used and not (grant.outwards and crossing.inwards):
            grant.used = True
            return
    holders = [grant for grant in near if not grant.outwards]
    if holders:
        holder = holders[-1]
        holder.followers += 1
        if holder.first_follower is None:
            holder.first_follower = crossing.at


def _followed(passage: _Passage, grant: _Pass) -> Observation | None:
    """Return the tailgating behind a grant whose time is over, None without one."""
    if grant.followers:
        persons, at = 1 + grant.followers, grant.first_follower or grant.at
    else:
        crowd = _crowd(passage, grant)
        if crowd is None:
            return None
        persons, at = crowd
    data = {"persons": min(persons, _MOST_PERSONS), "raw_code": "derived"}
    return Observation("access.tailgate", passage.settings.door, data, at)


def _crowd(passage: _Passage, grant: _Pass) -> tuple[int, int] | None:
    """Return (persons, when) where the zone filled with more than were let in."""
    if grant.at - passage.told_count_at <= passage.window:
        return None  # the same people, told with the grant before
    begin, end = grant.at - passage.lead, grant.at + passage.window
    during = [(at, count) for at, count in passage.counts if begin <= at <= end]
    if not during:
        return None
    before = [count for at, count in passage.counts if at < begin]
    at, most = max(during, key=lambda item: item[1])
    around = begin - passage.window
    grants = sum(around <= other.at <= end for other in passage.passes)
    came = most - (before[-1] if before else 0)
    if came <= max(grants, 1):
        return None
    passage.told_count_at = grant.at
    return came, at
