"""What the standard library's ``threading``, ``queue``, ``time`` and futures are in a run."""

from __future__ import annotations

import concurrent.futures
import queue as real_queue
import random
import threading as real_threading
import time as real_time
import uuid as real_uuid
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from tests.simulation.scheduler import Process, Task, the

T = TypeVar("T")


class _Waiters:
    """Tasks that wait for something."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def wait(self, timeout: float | None) -> bool:
        task = the().current
        assert task is not None
        self._tasks.append(task)
        woken = the().park(timeout)
        if not woken:
            self._tasks.remove(task)
        return woken

    def wake(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            the().wake(task)


class Event:
    def __init__(self) -> None:
        self._set = False
        self._waiters = _Waiters()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._waiters.wake()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiters.wait(timeout)
        return self._set


class Lock:
    """A lock; nobody is interrupted inside one unless it waits there."""

    def __init__(self) -> None:
        self._held = False
        self._waiters = _Waiters()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        del timeout
        while self._held:
            if not blocking:
                return False
            self._waiters.wait(None)
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        self._waiters.wake()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition(Lock):
    def __init__(self, lock: object = None) -> None:
        del lock
        super().__init__()
        self._news = _Waiters()

    def wait(self, timeout: float | None = None) -> bool:
        self.release()
        woken = self._news.wait(timeout)
        self.acquire()
        return woken

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        end = None if timeout is None else the().now + timeout
        while not (found := predicate()):
            left = None if end is None else end - the().now
            if left is not None and left <= 0:
                break
            self.wait(left)
        return found

    def notify_all(self) -> None:
        self._news.wake()

    notify = notify_all


class Thread:
    def __init__(
        self,
        target: Callable[..., Any] | None = None,
        name: str = "thread",
        args: tuple[Any, ...] = (),
        daemon: bool = True,
    ) -> None:
        self._target, self._args, self.name, self.daemon = target, args, name, daemon
        self._task: Task | None = None

    def start(self) -> None:
        current = the().current
        assert current is not None
        assert self._target is not None
        target, args = self._target, self._args
        self._task = the().spawn(current.process, self.name, lambda: target(*args))

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done

    def join(self, timeout: float | None = None) -> None:
        task, current = self._task, the().current
        if task is not None and not task.done and current is not None:
            task.waiters.append(current)
            the().park(timeout)


class Timer(Thread):
    def __init__(self, interval: float, function: Callable[..., Any], args: Any = ()) -> None:
        super().__init__(self._later, "timer")
        self._interval, self._function, self._with = interval, function, args
        self._cancelled = False

    def _later(self) -> None:
        the().sleep(self._interval)
        if not self._cancelled:
            self._function(*self._with)

    def cancel(self) -> None:
        self._cancelled = True


class SimpleQueue:
    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiters = _Waiters()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout
        self._items.append(item)
        self._waiters.wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        end = None if timeout is None else the().now + timeout
        while not self._items:
            left = None if end is None else end - the().now
            if not block or (left is not None and left <= 0):
                raise real_queue.Empty
            self._waiters.wait(left)
        return self._items.popleft()

    put_nowait = put

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items


class Queue(SimpleQueue):
    """A bounded one is not bounded here: back-pressure is the windows' matter."""

    def __init__(self, maxsize: int = 0) -> None:
        del maxsize
        super().__init__()


class Future(concurrent.futures.Future[T]):
    """A future for which the scheduler waits."""

    def _settle(self, timeout: float | None) -> None:
        if self.done():
            return
        waiters = _Waiters()
        self.add_done_callback(lambda _: waiters.wake())
        waiters.wait(timeout)
        if not self.done():
            raise TimeoutError

    def result(self, timeout: float | None = None) -> T:
        self._settle(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._settle(timeout)
        return super().exception(0)


class _Module:
    """A module's stand-in: some names are ours, the others its own."""

    def __init__(self, real: Any, **names: Any) -> None:
        self._real = real
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _refused(*_: object, **__: object) -> None:
    raise AssertionError("this would block a real thread, or read a real clock")


threading = _Module(
    real_threading,
    Thread=Thread, Timer=Timer, Event=Event, Lock=Lock, RLock=Lock, Condition=Condition,
    Semaphore=_refused, BoundedSemaphore=_refused, Barrier=_refused,
)  # fmt: skip
queue = _Module(real_queue, SimpleQueue=SimpleQueue, Queue=Queue)
#: Virtual seconds since the Unix epoch at which runs begin.
EPOCH_S = 1_767_225_600


def _time() -> float:
    return EPOCH_S + the().now


time = _Module(
    real_time,
    monotonic=lambda: the().now,
    perf_counter=lambda: the().now,
    time=_time,
    time_ns=lambda: int(_time() * 1e9),
    monotonic_ns=lambda: int(the().now * 1e9),
    sleep=lambda seconds: the().sleep(seconds),
)


def uuid(chance: random.Random) -> Any:
    """Return a stand-in for the module ``uuid`` whose random ids follow from the seed."""
    return _Module(real_uuid, uuid4=lambda: real_uuid.UUID(int=chance.getrandbits(128), version=4))


class SimClock:
    """A machine's clock: virtual time, ``skew_ms`` ahead."""

    def __init__(self, start_ms: int) -> None:
        self._start = start_ms
        self.skew_ms = 0

    def now_ms(self) -> int:
        return self._start + int(the().now * 1000) + self.skew_ms

    def wait(self, event: Event, seconds: float) -> bool:
        return event.wait(seconds)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody here sleeps on the run's clock")


__all__ = ["EPOCH_S", "Future", "Process", "SimClock", "SimpleNamespace", "queue", "threading"]
