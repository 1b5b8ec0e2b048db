"""What the driver tests share: a fake clock, recording sinks, and a way to wait for an outcome."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core.contracts.codec import make_event
from core.runtime.clock import ScaledClock
from edge.driver import Driver, DriverContext

T = TypeVar("T")
START = 1_764_000_000_000


def run(coroutine: Coroutine[Any, Any, T], timeout_s: float = 20) -> T:
    """Run a test's coroutine, and never for ever."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps."""

    now: int = START

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1000)
        await asyncio.sleep(0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += round(seconds * 1000)
        return event.is_set()


@dataclass
class Recorder:
    """A sink at the end of the way; it checks every event against the contracts."""

    events: list[tuple[str, str, dict[str, Any], int]] = field(default_factory=list)
    pictures: list[tuple[str, str, bytes]] = field(default_factory=list)
    reached_devices: list[str] = field(default_factory=list)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    refuse: Callable[[str], Exception | None] = lambda kind: None
    clock: Any = field(default_factory=ScaledClock)

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        await asyncio.sleep(0)
        if (error := self.refuse(kind)) is not None:
            raise error
        now = self.clock.now_ms()
        at = now if at is None else at
        make_event(kind, device=device, at=at, seen=now, data=data, id=id)
        self.events.append((kind, device, data, at))

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        self.pictures.append((device, media_id, jpeg))

    async def reached(self, device: str, latency_ms: float | None = None) -> None:
        self.reached_devices.append(device)

    async def failed(self, device: str, error: Exception) -> None:
        self.failures.append((device, error))

    def count(self, name: str, amount: int = 1) -> None:
        self.counts[name] += amount

    def of(self, kind: str, device: str | None = None) -> list[dict[str, Any]]:
        """Return the data of all events of a kind."""
        return [e[2] for e in self.events if e[0] == kind and device in (None, e[1])]

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 (any outcome, not one event)
                await asyncio.sleep(0.005)


def context(folder: Path, clock: Any = None) -> DriverContext:
    return DriverContext(edge="e1", clock=clock or ScaledClock(), data=folder, base=folder)


async def listen(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> tuple[asyncio.Server, int]:
    """Serve on an ephemeral port; a handler may end by a lost connection."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


class Streaming:
    """Runs a streaming driver as the runner would, without its back-off."""

    def __init__(self, driver: Driver, sink: Recorder) -> None:
        self.driver: Any = driver
        self.sink = sink
        self.errors: list[Exception] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Streaming:
        await self.driver.start(self.sink)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.driver.stop()

    async def _run(self) -> None:
        while True:
            try:
                await self.driver.run()
            except Exception as error:  # noqa: BLE001 (kept for the test to judge)
                self.errors.append(error)
            await asyncio.sleep(0.02)
