"""A passenger lift: calls, travel, doors, passengers, counters, and what a scenario does to it.

The model is advanced to a moment when somebody looks at it; between two looks it goes through
every step in between, so a lift that nobody polls costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from core.contracts.errors import ContractError
from simulators.devices.elevator_motion import Car

OPENING_MS = 2_200
CLOSING_MS = 2_600
DWELL_MS = 4_500
_MAXIMUM_STEPS = 5_000
#: A lift that nobody looked at for longer than this starts afresh, idle.
_FORGET_MS = 2 * 3_600_000
_MEAN_PERSON_KG = 66
#: Within this share of a floor's height the car is in the door zone.
_ZONE = 0.05

# Fault codes as implementations after GB/T 24476 number them; those from 9 on differ by vendor.
SAFETY_CIRCUIT, UNINTENDED_MOVEMENT, RUN_TIME_LIMITER = 1, 5, 6
OVERTRAVEL_TOP, OVERTRAVEL_BOTTOM, OVERSPEED = 9, 10, 12
BACK_TO_AUTOMATIC, MAIN_POWER_OFF = 40, 41
#: With these a car stands still at once, between two floors if it is there.
_STOPS_AT_ONCE = frozenset(
    {SAFETY_CIRCUIT, UNINTENDED_MOVEMENT, RUN_TIME_LIMITER, OVERSPEED, MAIN_POWER_OFF}
)


class ServiceMode(IntEnum):
    """Service modes of GB/T 24476, as implementations number them."""

    STOPPED = 0
    NORMAL = 1
    INSPECTION = 2
    FIRE_RETURN = 3
    FIREFIGHTER = 4
    EMERGENCY_POWER = 5
    EARTHQUAKE = 6


#: Codes that some lifts show for their mode where others show faults.
MODE_CODES = {
    ServiceMode.NORMAL: BACK_TO_AUTOMATIC,
    ServiceMode.STOPPED: 42,
    ServiceMode.INSPECTION: 43,
    ServiceMode.FIRE_RETURN: 44,
    ServiceMode.FIREFIGHTER: 45,
    ServiceMode.EMERGENCY_POWER: 46,
    ServiceMode.EARTHQUAKE: 47,
}


class Phase(Enum):
    """What the car is doing."""

    IDLE = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    MOVING = auto()
    STALLED = auto()
    """Stands where it is and answers no call."""


@dataclass(frozen=True, slots=True)
class Trip:
    """Persons who want from one floor to another; floors are indices from the lowest."""

    origin: int
    destination: int
    persons: int


@dataclass(frozen=True, slots=True)
class CarState:
    """The lift at one moment; ``floor`` is the floor's number."""

    mode: ServiceMode
    moving: bool
    direction: int
    in_door_zone: bool
    floor: int
    door_closed: bool
    occupied: bool
    power_on: bool
    alarm: bool
    load_kg: int
    running_h: int
    trips: int
    door_cycles: int
    faults: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where a lift's calls come from: the next call's time, and the trip of a call."""

    next_call: Callable[[int], int]
    trip: Callable[[int], Trip]


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters at the start: running hours, runs and door cycles."""

    running_h: float = 0
    trips: int = 0
    door_cycles: int = 0


class ElevatorModel:
    """One lift. ``floors`` are its stops from the lowest, without a floor 0."""

    def __init__(
        self,
        floors: list[int],
        traffic: Traffic,
        now_ms: int,
        *,
        counters: Counters | None = None,
        speed_m_s: float = 1.75,
        floor_height_m: float = 2.9,
    ) -> None:
        if len(floors) < 2 or floors != sorted(set(floors)) or 0 in floors:
            raise ContractError(
                f"{floors}: at least two stops in ascending order, without a floor 0",
                field="floors",
            )
        self.floors = floors
        self._traffic = traffic
        self._counters = counters or Counters()
        self._now = now_ms
        self._phase = Phase.IDLE
        self._until: int | None = None
        ground = float(floors.index(1) if 1 in floors else 0)
        self._car = Car(ground, speed_m_s=speed_m_s, floor_height_m=floor_height_m)
        self._waiting: deque[Trip] = deque(maxlen=40)
        self._aboard: list[Trip] = []
        self._next_call = traffic.next_call(now_ms)
        self._mode = ServiceMode.NORMAL
        self._mode_wanted = ServiceMode.NORMAL
        self._faults: list[int] = []
        self._trap: tuple[int, int] | None = None
        self._alarm_at: int | None = None
        self._stuck_after_arrival = False
        self._pressed_until: int | None = None
        self.power_on = True
        self.shows_modes = False
        """The second fault register shows the mode's code (40, 42 to 47) while no fault does."""

    # -- what a scenario does ----------------------------------------------------------------

    @property
    def trapped(self) -> bool:
        """Tell whether somebody is inside a car that stands between two floors."""
        return self._phase is Phase.STALLED and bool(self._aboard)

    def trap(self, now_ms: int, *, alarm_after_s: float = 8, code: int = 4) -> None:
        """Let somebody board where the car is, and stop the car between two floors.

        The alarm button is pressed ``alarm_after_s`` after the stop and stays so until
        :meth:`free`. ``code`` is the fault that the lift reports, 0 for none. Raises
        :class:`ContractError` when the lift serves nobody.
        """
        self.advance(now_ms)
        if self._mode_wanted is not ServiceMode.NORMAL or self._stuck_after_arrival:
            raise ContractError("the lift is out of service: nobody can be trapped in it")
        if self._phase is Phase.STALLED:
            return
        self._trap = (round(alarm_after_s * 1000), code)
        if self._phase is Phase.MOVING and self._aboard:
            self._stall_between(now_ms)
        elif self._phase is not Phase.MOVING:
            here = self._car.floor
            away = here - 1 if here >= len(self.floors) - 1 else here + 1
            self._waiting.appendleft(Trip(here, away, 1))
            if self._phase is Phase.IDLE:
                self._open(now_ms)

    def free(self, now_ms: int) -> None:
        """Level the car at the nearest floor, open its door and let the people out."""
        self.advance(now_ms)
        self._trap = self._alarm_at = None
        self._faults.clear()
        if self._phase is not Phase.STALLED:
            return
        nearest = self._nearest(now_ms)
        self._aboard = [Trip(t.origin, nearest, t.persons) for t in self._aboard]
        self._travel(now_ms, nearest, seconds=6)

    def fault(self, now_ms: int, code: int) -> None:
        """Report a fault and take the car to the next floor, where it stays with its door open.

        With a broken safety circuit, overspeed and the like (and without power) a moving car
        stands still where it is, with whoever is in it.
        """
        self.advance(now_ms)
        if code not in self._faults:
            self._faults = [code, *self._faults][:2]
        self._stuck_after_arrival = True
        if code == MAIN_POWER_OFF:
            self.power_on = False
        if code in _STOPS_AT_ONCE and self._phase is Phase.MOVING:
            self._car.stop(now_ms)
            self._enter(Phase.STALLED, now_ms)
            return
        if self._phase in (Phase.IDLE, Phase.CLOSING):
            self._open(now_ms)
        elif self._phase is Phase.OPEN:
            self._aboard.clear()
            self._until = None

    def clear_faults(self, now_ms: int) -> None:
        """End the faults; the lift serves again."""
        self.advance(now_ms)
        if self._trap is None and self._alarm_at is None and self._phase is Phase.STALLED:
            self.free(now_ms)  # it was no entrapment by a scenario: the car levels by itself
        self._faults.clear()
        self._stuck_after_arrival = False
        self.power_on = True
        if self._phase is Phase.OPEN and self._until is None:
            self._enter(Phase.OPEN, now_ms, DWELL_MS)

    def press_alarm(self, now_ms: int, for_s: float = 10) -> None:
        """Let somebody press the alarm button for so long."""
        self._pressed_until = now_ms + round(for_s * 1000)

    def set_mode(self, now_ms: int, mode: ServiceMode) -> None:
        """Switch the service mode; passengers leave at the next floor first."""
        self.advance(now_ms)
        self._mode_wanted = mode
        self._waiting.clear()
        if mode is ServiceMode.NORMAL:
            self._mode = mode
            self._next_call = self._traffic.next_call(now_ms)
        elif self._phase in (Phase.IDLE, Phase.STALLED):
            self._mode = mode

    # -- time --------------------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Go through everything that happens until ``now_ms``."""
        if now_ms - self._now > _FORGET_MS and self._phase is not Phase.STALLED:
            self._aboard.clear()
            self._waiting.clear()
            self._enter(Phase.IDLE, now_ms)
            self._car.forget()
            self._next_call = self._traffic.next_call(now_ms)
        for _ in range(_MAXIMUM_STEPS):
            step_at = self._until if self._until is not None else now_ms + 1
            if self._next_call <= min(step_at, now_ms):
                self._call(self._next_call)
            elif step_at <= now_ms:
                self._step(step_at)
            else:
                break
        self._now = max(now_ms, self._now)

    def state(self, now_ms: int) -> CarState:
        """Return the lift's state at a moment."""
        self.advance(now_ms)
        nearest = self._nearest(now_ms)
        persons = sum(trip.persons for trip in self._aboard)
        codes = list(self._faults)
        if self.shows_modes and len(codes) < 2:
            codes = [*(codes or [0]), MODE_CODES[self._mode]]
        first, second = (*codes, 0, 0)[:2]
        called = self._alarm_at is not None and now_ms >= self._alarm_at
        pressed = self._pressed_until is not None and now_ms < self._pressed_until
        return CarState(
            mode=self._mode,
            moving=self._phase is Phase.MOVING,
            direction=self._car.direction,
            in_door_zone=abs(self._car.position(now_ms) - nearest) <= _ZONE,
            floor=self.floors[nearest],
            door_closed=self._phase in (Phase.IDLE, Phase.MOVING, Phase.STALLED),
            occupied=persons > 0,
            power_on=self.power_on,
            alarm=called or pressed,
            load_kg=persons * _MEAN_PERSON_KG,
            running_h=int(self._counters.running_h + self._car.moved_ms(now_ms) / 3_600_000),
            trips=self._counters.trips,
            door_cycles=self._counters.door_cycles,
            faults=(first, second),
        )

    # -- steps -------------------------------------------------------------------------------

    def _call(self, at: int) -> None:
        self._next_call = self._traffic.next_call(at)
        if self._mode_wanted is not ServiceMode.NORMAL or self._phase is Phase.STALLED:
            return
        self._waiting.append(self._traffic.trip(at))
        if self._phase is Phase.IDLE:
            self._choose(at)

    def _step(self, at: int) -> None:
        if self._phase is Phase.OPENING:
            self._at_floor(at)
        elif self._phase is Phase.OPEN:
            self._enter(Phase.CLOSING, at, CLOSING_MS)
        elif self._phase is Phase.CLOSING:
            self._count(door_cycles=1)
            self._choose(at)
        elif self._phase is Phase.MOVING:
            self._arrive(at)
        else:
            self._until = None

    def _arrive(self, at: int) -> None:
        if self._trap is not None and self._aboard:
            self._stall_between(at)
            return
        self._car.arrive(at)
        self._open(at)

    def _at_floor(self, at: int) -> None:
        """Let people out and in."""
        here = self._car.floor
        leaves_all = self._mode_wanted is not ServiceMode.NORMAL or self._stuck_after_arrival
        self._aboard = [t for t in self._aboard if t.destination != here and not leaves_all]
        boarding = [t for t in self._waiting if t.origin == here]
        for trip in boarding:
            self._waiting.remove(trip)
        if not leaves_all:
            self._aboard += boarding
        self._enter(Phase.OPEN, at, None if self._stuck_after_arrival else DWELL_MS)

    def _choose(self, at: int) -> None:
        """Go on to the nearest floor where somebody wants out, else in, else rest."""
        if self._mode_wanted is not ServiceMode.NORMAL and not self._aboard:
            self._mode = self._mode_wanted
            self._enter(Phase.IDLE, at)
            return
        here = self._car.floor
        if any(trip.origin == here for trip in self._waiting):
            self._open(at)
            return
        wanted = [trip.destination for trip in self._aboard]
        if not wanted:
            wanted = [self._waiting[0].origin] if self._waiting else []
        if not wanted:
            self._enter(Phase.IDLE, at)
            return
        goal = min(wanted, key=lambda index: abs(index - here))
        run_ms = self._travel(at, goal)
        if self._trap is not None and self._aboard:
            # It will stop for good on the way, not at the goal.
            self._until = at + min(3_000, run_ms // 2)

    def _travel(self, at: int, goal: int, seconds: float | None = None) -> int:
        run_ms = self._car.leave(at, goal, seconds)
        self._count(trips=1)
        self._enter(Phase.MOVING, at, run_ms)
        return run_ms

    def _stall_between(self, at: int) -> None:
        after_ms, code = self._trap or (0, 0)
        self._trap = None
        self._car.stop_between(at, len(self.floors))
        self._enter(Phase.STALLED, at)
        self._alarm_at = at + after_ms
        if code:
            self._faults = [code]

    def _open(self, at: int) -> None:
        self._enter(Phase.OPENING, at, OPENING_MS)

    def _enter(self, phase: Phase, at: int, lasts_ms: int | None = None) -> None:
        self._phase = phase
        self._until = None if lasts_ms is None else at + lasts_ms

    def _nearest(self, at: int) -> int:
        return min(max(round(self._car.position(at)), 0), len(self.floors) - 1)

    def _count(self, *, trips: int = 0, door_cycles: int = 0) -> None:
        old = self._counters
        self._counters = Counters(old.running_h, old.trips + trips, old.door_cycles + door_cycles)
