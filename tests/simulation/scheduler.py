"""A deterministic scheduler: threads as greenlets, one virtual clock, every choice seeded.

The parts under test run unchanged, with their own loops and threads; only the names ``threading``,
``queue``, ``time`` … in their modules are replaced (:mod:`tests.simulation.substitutes`). Whenever
one of them would block, the scheduler picks who goes on; when nobody can, time moves.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import traceback
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

#: The parts' own faults: what a thread of theirs must never end with.
Failure = tuple[str, str]


#: A run takes some thousand steps; more are a circle in which no time passes.
_MOST_STEPS = 30_000


class Process:
    """One process of a machine: it dies as a whole, at any point that it passes."""

    def __init__(self, name: str, machine: str) -> None:
        self.name = name
        self.machine = machine
        self.dead = False
        self.fuse: int | None = None
        """How many points it still passes until it is killed."""
        self.power = False
        """Whether the fuse cuts the power instead of killing the process."""
        self.on_death: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Task:
    """One thread."""

    __slots__ = ("done", "greenlet", "name", "parked", "process", "ticket", "waiters", "woken")

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.greenlet: greenlet
        self.parked = False
        self.woken = False
        self.ticket = 0
        self.done = False
        self.waiters: list[Task] = []


class Scheduler:
    """Runs tasks one at a time, in an order that only the seed decides."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"schedule {seed}")
        self.now = 0.0
        self.failures: list[Failure] = []
        self.trace: list[str] | None = None
        self.current: Task | None = None
        self.steps = 0
        self._hub = getcurrent()
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Task | Callable[[], None], int]] = []
        self._order = itertools.count()
        self._tasks: list[Task] = []
        self.on_kill: Callable[[Process, bool], None] = lambda _process, _power: None

    # -- tasks ----------------------------------------------------------------------------

    def spawn(self, process: Process, name: str, target: Callable[[], Any]) -> Task:
        """Start a task of a process."""
        task = Task(name, process)

        def body() -> None:
            try:
                target()
            except GreenletExit:
                pass
            except BaseException as error:  # noqa: BLE001  (a thread must not end so)
                if not process.dead:
                    self.failures.append((name, "".join(traceback.format_exception(error))))
            finally:
                task.done = True
                for waiter in task.waiters:
                    self.wake(waiter)

        task.greenlet = greenlet(body, self._hub)
        self._tasks.append(task)
        self._ready.append(task)
        return task

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Call ``action`` at a moment, between tasks; it must not block."""
        heapq.heappush(self._timers, (max(when, self.now), next(self._order), action, 0))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after so many seconds, between tasks; it must not block."""
        self.at(self.now + seconds, action)

    def park(self, timeout: float | None = None) -> bool:
        """Block the current task until it is woken; tell whether it was, or time was up."""
        task = self.current
        if task is None:
            raise RuntimeError("only a task can wait")
        if task.process.dead:
            raise GreenletExit
        task.ticket += 1
        task.parked = True
        if timeout is not None:
            due = self.now + max(timeout, 0.0)
            heapq.heappush(self._timers, (due, next(self._order), task, task.ticket))
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        self._hub.switch()
        asyncio._set_running_loop(loop)
        return task.woken

    def wake(self, task: Task, *, woken: bool = True) -> None:
        """Let a parked task go on."""
        if task.parked:
            task.parked = False
            task.woken = woken
            self._ready.append(task)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the current task."""
        self.park(seconds)

    # -- running --------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], deadline: float) -> bool:
        """Run until a condition holds (looked at between tasks); False: the time is over."""
        while not self.failures:
            if self._ready:
                index = self.random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
                task = self._ready.pop(index)
                if not task.process.dead:
                    self.steps += 1
                    if self.steps > _MOST_STEPS:
                        self.failures.append((task.name, "it goes round in a circle"))
                    self._switch(task)
                continue
            if until():
                return True
            if not self._timers or self._timers[0][0] > deadline:
                self.now = deadline
                return False
            due, _, item, ticket = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if not isinstance(item, Task):
                item()
            elif item.parked and item.ticket == ticket:
                self.wake(item, woken=False)
        return False

    def _switch(self, task: Task) -> None:
        self.current = task
        task.greenlet.switch()
        self.current = None

    # -- death ----------------------------------------------------------------------------

    def point(self, what: str) -> None:
        """Pass a point at which the current process may be killed."""
        task = self.current
        if task is None:
            return
        process = task.process
        if process.dead:
            raise GreenletExit
        if process.fuse is None:
            return
        process.fuse -= 1
        if process.fuse <= 0:
            self.say("dies at", what, process.name)
            self.kill(process, power=process.power)

    def kill(self, process: Process, *, power: bool = False) -> None:
        """Kill a process where it stands; with ``power`` what was not durable is lost."""
        if process.dead:
            return
        process.dead = True
        process.fuse = None
        self.say("killed", process.name, "power" if power else "")
        self.on_kill(process, power)
        for action in process.on_death:
            action()
        if self.current is not None and self.current.process is process:
            self.current.parked = False
            asyncio._set_running_loop(None)
            self._hub.switch()

    def close(self) -> None:
        """End every task that is left."""
        for task in self._tasks:
            task.process.dead = True
        for task in self._tasks:
            self.current = task
            if not task.greenlet.dead:
                try:
                    task.greenlet.throw()
                except BaseException as error:  # noqa: BLE001  (a dead process cleans up)
                    self.say("end of", task.name, type(error).__name__)
                asyncio._set_running_loop(None)
        self.current = None
        self._tasks.clear()

    def say(self, *words: object) -> None:
        """Note what happens, where somebody listens."""
        if self.trace is not None:
            self.trace.append(f"{self.now:9.3f} {' '.join(map(str, words))}")


class Here:
    """The scheduler of the run that is on."""

    scheduler: Scheduler


def the() -> Scheduler:
    """Return the scheduler of the run that is on."""
    return Here.scheduler
