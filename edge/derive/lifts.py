"""Lifts: who is trapped, and how often the car ran and its door turned.

**Entrapment.** A car that is occupied, stands, has its door shut, and is out of the door zone
or has its alarm button pressed, for ``after_s`` without a break, holds somebody trapped: an
``elevator.fault`` ``entrapment`` with ``derived`` begins. What is right for a lift:

- It ends when somebody can get out: the door opens in the door zone. It ends, too, when the car
  has been empty for ``empty_s`` (freed through a door between two floors). That the car moves
  ends nothing: a rescuer moves it by hand, or it creeps to the next floor, with the people
  still inside. A moment without load (somebody shifts their weight) ends nothing either.
- Not in inspection: there a fitter rides the car and stands between two floors with the door
  shut. In firefighter service a pressed button and a shut door at a floor are usual; a car that
  stands out of the zone is not, and counts. What stands already goes on when the mode changes:
  the fitter who frees somebody switches to inspection first.
- A lift that reports an entrapment itself is believed: nothing is derived beside it, and what
  is derived already ends when the lift's own begins.
- Nothing is concluded about a lift that is silent: its last status must be fresh.

**Counters.** Runs and door cycles are counted from the changes of the status where the lift
gives no counters of its own, over restarts, and never backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from edge.derive.derivation import Derived
from edge.observation import Observation

STATUS, FAULT, BUTTON = "elevator.status", "elevator.fault", "elevator.alarm_button"
_JUDGED = frozenset({"service_mode", "moving", "in_door_zone", "door_closed", "occupied", "floor"})
_WITHOUT = frozenset({"inspection"})
_ZONE_ONLY = frozenset({"firefighter"})


def holds(status: Mapping[str, Any], *, alarm: bool) -> bool:
    """Tell whether a status is that of a car with somebody trapped."""
    mode = status["service_mode"]
    outside = not status["in_door_zone"]
    stuck = status["occupied"] and not status["moving"] and status["door_closed"]
    return bool(stuck and mode not in _WITHOUT and (outside or (alarm and mode not in _ZONE_ONLY)))


@dataclass(slots=True)
class _Car:
    """What is known about one lift; ``_run`` times are the run's clock, others the lift's."""

    status: Mapping[str, Any] | None = None
    last_at: int = 0
    alarm: bool = False
    reported: set[str] = field(default_factory=set)
    since: int | None = None
    """Since when the condition has held without a break."""
    armed_run: int | None = None
    heard_run: int = 0
    heard: bool = False
    told_at: int | None = None
    """The derived fault stands, and began then."""
    floor: int | None = None
    empty_since: int | None = None
    tell_again: bool = False

    def disarm(self) -> None:
        self.since = self.armed_run = None


class Entrapment:
    """Derives entrapments; see the module."""

    def __init__(
        self, *, after_s: float = 30.0, fresh_s: float = 20.0, empty_s: float = 10.0
    ) -> None:
        """``fresh_s`` is the greatest age of the last status, and pause between two."""
        self._after_ms = round(after_s * 1000)
        self._fresh_ms = round(fresh_s * 1000)
        self._empty_ms = round(empty_s * 1000)
        self._cars: dict[str, _Car] = {}

    @property
    def name(self) -> str:
        """Return the key of its memory."""
        return "lift_entrapment"

    @property
    def kinds(self) -> frozenset[str]:
        """Return what it looks at."""
        return frozenset({STATUS, FAULT, BUTTON})

    def take(self, seen: Observation) -> Derived:
        """Fold one observation."""
        car = self._cars.setdefault(seen.device, _Car())
        if seen.kind == FAULT:
            return Derived(seen, self._reported(car, seen))
        if seen.kind == BUTTON:
            car.alarm = bool(seen.data.get("active"))
            if car.status is None or "alarm_button" in car.status:
                return Derived(seen)
            # The same status, judged with the button as it is now.
            return Derived(seen, self._judge(car, seen.device, max(seen.at, car.last_at)))
        if _JUDGED - seen.data.keys():
            return Derived(seen)
        car.status = seen.data
        return Derived(seen, self._judge(car, seen.device, seen.at))

    def due(self) -> int | None:
        """Return 0 (as soon as possible) while somebody may be trapped."""
        return 0 if any(car.since is not None for car in self._cars.values()) else None

    def wake(self, now: int) -> list[Observation]:
        """Conclude where the time is over.

        The time is taken between two wakes: a lift's own clock may be wrong by hours.
        """
        found: list[Observation] = []
        for device, car in self._cars.items():
            if car.since is None:
                continue
            if car.heard or car.armed_run is None or now < car.heard_run:
                car.heard, car.heard_run = False, now
            if car.armed_run is None or now < car.armed_run:
                car.armed_run = now
            if now - car.heard_run > self._fresh_ms:
                car.disarm()
            elif now - car.armed_run >= self._after_ms:
                found.append(self._begin(car, device, car.since + self._after_ms))
        return found

    def memory(self) -> Any:
        """Return who is trapped."""
        return {
            device: {"at": car.told_at, "floor": car.floor}
            for device, car in self._cars.items()
            if car.told_at is not None
        }

    def remember(self, memory: Any) -> None:
        """Take over who was trapped; it is told again with the first status that agrees.

        What an edge told before its restart has ended unless its new snapshot lists it.
        """
        for device, known in memory.items() if isinstance(memory, dict) else ():
            at = known.get("at") if isinstance(known, dict) else None
            floor = known.get("floor") if isinstance(known, dict) else None
            if isinstance(at, int) and (floor is None or isinstance(floor, int)):
                car = _Car(told_at=at, floor=floor, tell_again=True)
                self._cars[str(device)] = car

    def _judge(self, car: _Car, device: str, at: int) -> list[Observation]:
        status = car.status or {}
        paused = not 0 <= at - car.last_at <= self._fresh_ms
        car.last_at, car.heard = at, True
        if car.told_at is not None:
            return self._standing(car, device, status, at, paused=paused)
        alarm = bool(status.get("alarm_button", car.alarm))
        if car.reported or not holds(status, alarm=alarm):
            car.disarm()
            return []
        car.floor = status["floor"]
        if car.since is None or paused:
            car.disarm()
            car.since = at
        elif at - car.since >= self._after_ms:
            return [self._begin(car, device, car.since + self._after_ms)]
        return []

    def _standing(
        self, car: _Car, device: str, status: Mapping[str, Any], at: int, *, paused: bool
    ) -> list[Observation]:
        if status["occupied"]:
            car.empty_since = None
        elif car.empty_since is None or paused:
            car.empty_since = at
        out = status["in_door_zone"] and not status["door_closed"]
        empty = car.empty_since is not None and at - car.empty_since >= self._empty_ms
        if out or empty:
            return [self._end(car, device, at)]
        if car.tell_again and car.told_at is not None:
            car.tell_again = False
            return [self._fault(car, device, car.told_at, active=True)]
        return []

    def _reported(self, car: _Car, seen: Observation) -> list[Observation]:
        data = seen.data
        if data.get("fault") != "entrapment" or data.get("derived"):
            return []
        code = str(data.get("raw_code"))
        if not data.get("active"):
            car.reported.discard(code)
            return []
        car.reported.add(code)
        car.disarm()
        return [] if car.told_at is None else [self._end(car, seen.device, seen.at)]

    def _begin(self, car: _Car, device: str, at: int) -> Observation:
        car.disarm()
        car.told_at, car.empty_since, car.tell_again = at, None, False
        return self._fault(car, device, at, active=True)

    def _end(self, car: _Car, device: str, at: int) -> Observation:
        car.told_at, car.tell_again = None, False
        car.disarm()
        return self._fault(car, device, at, active=False)

    def _fault(self, car: _Car, device: str, at: int, *, active: bool) -> Observation:
        data: dict[str, Any] = {
            "fault": "entrapment", "active": active, "raw_code": "derived", "derived": True,
        }  # fmt: skip
        if car.floor is not None:
            data["floor"] = car.floor
        return Observation(FAULT, device, data, at)


@dataclass(slots=True)
class _Count:
    """One counter: its value, and the state whose next beginning it counts."""

    value: int = 0
    state: bool | None = None


#: Counter -> the field whose change to true it counts.
_COUNTED = {"trips": "moving", "door_cycles": "door_closed"}


class LiftCounters:
    """Fills in ``trips`` and ``door_cycles`` where the lift does not give them."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, _Count]] = {}

    @property
    def name(self) -> str:
        """Return the key of its memory."""
        return "lift_counters"

    @property
    def kinds(self) -> frozenset[str]:
        """Return what it looks at."""
        return frozenset({STATUS})

    def take(self, seen: Observation) -> Derived:
        """Count, and return the status with its counters."""
        counts = self._counts.setdefault(seen.device, {})
        filled = dict(seen.data)
        for name, source in _COUNTED.items():
            count = counts.setdefault(name, _Count())
            state, given = seen.data.get(source), seen.data.get(name)
            if not isinstance(state, bool):
                continue
            if _is_count(given):
                # The lift's own; ours goes on from it, should it fall silent about it.
                count.value = max(count.value, given)
            elif given is None:
                count.value += int(state and count.state is False)
                filled[name] = count.value
            count.state = state
        return Derived(Observation(seen.kind, seen.device, filled, seen.at, seen.id))

    def due(self) -> int | None:
        """Return None: it has no timers."""
        return None

    def wake(self, now: int) -> list[Observation]:  # noqa: ARG002 (the port's)
        """Conclude nothing."""
        return []

    def memory(self) -> Any:
        """Return every counter with its state."""
        return {
            device: {name: [count.value, count.state] for name, count in counts.items()}
            for device, counts in self._counts.items()
        }

    def remember(self, memory: Any) -> None:
        """Go on from the counters of an earlier run."""
        for device, known in memory.items() if isinstance(memory, dict) else ():
            for name, pair in known.items() if isinstance(known, dict) else ():
                if name not in _COUNTED or not isinstance(pair, list) or len(pair) != 2:
                    continue
                value, state = pair
                if _is_count(value) and (state is None or isinstance(state, bool)):
                    self._counts.setdefault(str(device), {})[name] = _Count(value, state)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
