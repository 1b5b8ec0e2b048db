"""A door controller's memory and doors: who passes, and what goes wrong at a door."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.isapi import AccessRecord, Code, Holder, RawCode
from simulators.rhythms import Arrivals
from simulators.seeds import stream

#: Events that a controller remembers for a search.
MEMORY = 5_000
_QUEUE = 500
#: 2025-01-01T00:00Z in s: serial numbers start from the seconds since then, so that those of a
#: later run are always higher.
_SERIAL_EPOCH_S = 1_735_689_600

#: A lock stays released for so long after each unlocking, as controllers are set by default:
#: whoever presses the button while another shuts the door can still leave.
RELEASED_S = 5

_DENIALS = (Code.NO_RIGHT, Code.FACE_FAILED, Code.EXPIRED, Code.WRONG_PERIOD, Code.INVALID)


@dataclass(slots=True)
class Door:
    """One door of a controller; ``held_after_s`` is how long it may stand open."""

    number: int
    arrivals: Arrivals
    held_after_s: float = 30
    open: bool = False
    locked: bool = True
    released_until_ms: int = 0
    disturbed: bool = False
    """A scenario has the door; nobody passes meanwhile."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class DoorController:
    """The doors of one controller, its event memory, and whoever listens to it.

    What can go wrong with it: ``drift_s`` (its clock), ``unheard`` (so many next events are
    remembered, and told to nobody), numbers that are skipped or begin anew, a short memory.
    """

    def __init__(
        self, seed: int, name: str, clock: Clock, doors: Iterable[Door], holders: list[Holder]
    ) -> None:
        self.name = name
        self.doors = {door.number: door for door in doors}
        self.memory: deque[AccessRecord] = deque(maxlen=MEMORY)
        self.dropped = 0
        """Events that a listener was too slow to take."""
        self.drift_s = 0.0
        """How far the controller's clock is ahead (device time is the run's time plus this)."""
        self.unheard = 0
        """So many of the next events are remembered, but no listener hears of them."""
        self._seed = seed
        self._clock = clock
        self._holders = holders
        self._serial = max(clock.now_ms() // 1000 - _SERIAL_EPOCH_S, 0)
        self._listeners: set[asyncio.Queue[AccessRecord]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Let people come and go."""
        for door in self.doors.values():
            self._spawn(self._live(door))

    async def stop(self) -> None:
        """Stop everything that goes on at the doors."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def listen(self) -> asyncio.Queue[AccessRecord]:
        """Return a queue that gets every event from now on."""
        queue: asyncio.Queue[AccessRecord] = asyncio.Queue(_QUEUE)
        self._listeners.add(queue)
        return queue

    def unlisten(self, queue: asyncio.Queue[AccessRecord]) -> None:
        """Give a queue back."""
        self._listeners.discard(queue)

    def now_ms(self) -> int:
        """Return what the controller's own clock shows."""
        return self._clock.now_ms() + round(self.drift_s * 1000)

    def record(
        self,
        door: int,
        code: Code | RawCode,
        holder: Holder | None = None,
        **fields: object,
    ) -> AccessRecord:
        """Remember an event and tell everybody who listens."""
        self._serial += 1
        record = AccessRecord(self._serial, self.now_ms(), door, code, holder, dict(fields))
        self.memory.append(record)
        if self.unheard > 0:
            self.unheard -= 1
            return record
        for queue in self._listeners:
            try:
                queue.put_nowait(record)
            except asyncio.QueueFull:
                self.dropped += 1
        return record

    # -- what goes wrong with the numbers and the memory -------------------------------------

    def skip_serials(self, amount: int) -> None:
        """Leave numbers out, as after events that the controller could not store."""
        self._serial += amount

    def reset_serials(self) -> None:
        """Begin to count anew with an empty memory, as after a factory reset."""
        self._serial = 0
        self.memory.clear()

    def forget(self, keep: int) -> None:
        """Keep only the last events, as a controller with a full memory does."""
        self.memory = deque(list(self.memory)[-keep:] if keep else [], maxlen=MEMORY)

    def restart(self) -> None:
        """Record a loss of power and its return; numbers and memory are kept."""
        self.record(0, Code.POWER_OFF)
        self.record(0, Code.POWER_ON)

    # -- what a scenario does ----------------------------------------------------------------

    async def force(self, number: int) -> None:
        """Break a door open."""
        door = self._take(number)
        self._open(door, Code.FORCED)

    async def hold(self, number: int) -> None:
        """Let somebody in and keep the door open; the controller complains in its time."""
        door = self._take(number)
        holder = self._somebody(stream(self._seed, self.name, "hold", self._serial))
        self.record(number, Code.FACE_OK, holder)
        self._unlock(door)
        self._open(door)
        door.task = self._spawn(self._complain(door))

    async def close(self, number: int) -> None:
        """Close a door that was forced or held."""
        door = self._door(number)
        if door.task is not None:
            door.task.cancel()
            door.task = None
        self._close(door)
        door.disturbed = False

    def admit(self, number: int, index: int = 0) -> None:
        """Let somebody in by card or face; what they do with the leaf is another matter."""
        door = self._door(number)
        holder = self._holders[index % len(self._holders)]
        self.record(door.number, Code.FACE_OK if index % 3 else Code.CARD_OK, holder)
        self._unlock(door)

    async def deny(self, number: int, code: Code = Code.NO_RIGHT, *, times: int = 1) -> None:
        """Refuse somebody, several times in a row; returns after the first time."""
        door = self._door(number)
        holder = self._somebody(stream(self._seed, self.name, "deny", self._serial))
        self.record(door.number, code, holder)
        if times > 1:
            self._spawn(self._try_again(door, code, holder, times - 1))

    async def _try_again(self, door: Door, code: Code, holder: Holder, times: int) -> None:
        for _ in range(times):
            await self._clock.sleep(2)
            self.record(door.number, code, holder)

    async def report(self, number: int, code: Code) -> None:
        """Report a code as it is (duress, blacklist, fire release, tamper …)."""
        door = self._door(number)
        self.record(number, code)
        if code is Code.EXIT_BUTTON:
            self._unlock(door)

    def report_input(self, code: Code | RawCode, fields: Mapping[str, object]) -> None:
        """Report what an alarm input says (``alarmInNo`` or ``caseSensorNo`` in the fields)."""
        self.record(0, code, None, **fields)

    def remote_open(self, number: int) -> None:
        """Unlock a door from afar, for its usual time; somebody walks in meanwhile."""
        door = self._door(number)
        self.record(number, Code.REMOTE_OPEN)
        self._unlock(door)
        if not door.disturbed and not door.open:
            self._spawn(self._walk_through(door))

    async def _walk_through(self, door: Door) -> None:
        await self._clock.sleep(1.5)
        if not door.disturbed:
            self._open(door)
        await self._clock.sleep(3)
        if not door.disturbed:
            self._close(door)

    # -- people ------------------------------------------------------------------------------

    async def _live(self, door: Door) -> None:
        at = self._clock.now_ms()
        while True:
            at = door.arrivals.after(at)
            await self._clock.sleep((at - self._clock.now_ms()) / 1000)
            if not door.disturbed and not door.open:
                await self._pass(door, at)
            at = max(at, self._clock.now_ms())

    async def _pass(self, door: Door, at: int) -> None:
        random = stream(self._seed, self.name, door.number, at)
        holder = self._somebody(random)
        draw = random.random()
        if draw < 0.03:
            self.record(door.number, random.choice(_DENIALS), holder)
            return
        if draw < 0.35:
            self.record(door.number, Code.EXIT_BUTTON)
        else:
            by_face = random.random() < 0.7
            self.record(door.number, Code.FACE_OK if by_face else Code.CARD_OK, holder)
        self._unlock(door)
        await self._clock.sleep(random.uniform(0.6, 1.8))
        if door.disturbed:
            return
        self._open(door)
        await self._clock.sleep(random.uniform(2.5, 6.0))
        if not door.disturbed:
            self._close(door)

    def _somebody(self, random: Random) -> Holder:
        return random.choice(self._holders)

    # -- the leaf ----------------------------------------------------------------------------

    def _unlock(self, door: Door) -> None:
        self.record(door.number, Code.UNLOCKED)
        door.locked = False
        door.released_until_ms = self._clock.now_ms() + RELEASED_S * 1000
        self._spawn(self._lock_again(door))

    async def _lock_again(self, door: Door) -> None:
        while (left_ms := door.released_until_ms - self._clock.now_ms()) > 0:
            await self._clock.sleep(left_ms / 1000)
        self._lock(door)

    def _lock(self, door: Door) -> None:
        released = self._clock.now_ms() < door.released_until_ms
        if not (door.open or door.locked or released):
            door.locked = True
            self.record(door.number, Code.LOCKED)

    def _open(self, door: Door, cause: Code | None = None) -> None:
        if cause is not None:
            self.record(door.number, cause)
        if not door.open:
            door.open = True
            door.locked = False
            self.record(door.number, Code.DOOR_OPENED)

    def _close(self, door: Door) -> None:
        if door.open:
            door.open = False
            self.record(door.number, Code.DOOR_CLOSED)
            self._lock(door)

    async def _complain(self, door: Door) -> None:
        await self._clock.sleep(door.held_after_s)
        self.record(door.number, Code.HELD_OPEN)

    def _take(self, number: int) -> Door:
        door = self._door(number)
        if door.disturbed:
            raise ContractError(f"door {number} of {self.name} is forced or held already")
        door.disturbed = True
        return door

    def _door(self, number: int) -> Door:
        try:
            return self.doors[number]
        except KeyError:
            raise ContractError(f"{self.name} has no door {number}", field="door") from None

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
