"""A peer, its driver and a real runner on one table, with everything that is told written down."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from core.contracts.errors import JournalFullError
from edge.config import build, from_raw
from edge.runner import Runner
from tests.edge.drivers.support import Recorder

from .peer import Peer
from .peers import name_of

#: Longest time (s) that a driver may take to notice anything in this suite.
SOON_S = 12.0


class Bench:
    """Runs one or several peers under one runner."""

    def __init__(self, folder: Path, *peers: Peer) -> None:
        self.peers = peers
        self.sink = Recorder()
        self.refusing = False
        self.sink.refuse = lambda _: JournalFullError("full") if self.refusing else None
        self._folder = folder
        self.runner: Runner

    async def __aenter__(self) -> Bench:
        for peer in self.peers:
            await peer.start()
        clock = self.peers[0].clock
        raw = {"edge": "e1", "site": "s1", "drivers": [peer.entry for peer in self.peers]}
        self.config = from_raw(raw, "suite", self._folder)
        drivers = build(self.config, clock, self._folder)
        self.runner = Runner(drivers, self.sink, clock, edge="e1", random=Random(3))
        await self.runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()
        for peer in self.peers:
            await peer.stop()

    @property
    def devices(self) -> tuple[str, ...]:
        return self.config.device_ids()

    def online(self, *devices: str) -> bool:
        """Tell whether all of the devices (default: all of the bench) are online."""
        health = self.runner.health()
        return all(health[device].online is True for device in devices or self.devices)

    def offline(self, *devices: str) -> bool:
        """Tell whether all of the devices (default: all of the bench) are known to be offline."""
        health = self.runner.health()
        return all(health[device].online is False for device in devices or self.devices)

    def told(self, kind: str, device: str | None = None) -> list[dict[str, Any]]:
        """Return the data of all events of a kind."""
        return self.sink.of(kind, device)

    def counted(self, name: str) -> int:
        """Return a counter over all drivers."""
        return sum(counts.get(name, 0) for counts in self.runner.counters().values())

    async def until(
        self, condition: Callable[[], Any], what: str, within_s: float = SOON_S
    ) -> float:
        """Wait for an outcome; return after how many seconds it came."""
        began = time.monotonic()
        try:
            await self.sink.until(condition, within_s)
        except TimeoutError:
            health = {d: (c.online, c.cause, c.error) for d, c in self.runner.health().items()}
            raise AssertionError(
                f"not within {within_s} s: {what}; {health}; {self.runner.counters()}"
            ) from None
        return time.monotonic() - began


def note(peer: Peer, fault: str, outcome: str, seconds: float | None) -> None:
    """Write down one row of the faults table, where it is asked for (``make faults``)."""
    folder = os.environ.get("FAULTS_TABLE")
    if not folder:
        return
    row = {"peer": name_of(type(peer)), "fault": fault, "outcome": outcome, "seconds": seconds}
    path = Path(folder) / f"{name_of(type(peer))}.{fault}.json"
    path.write_text(json.dumps(row), encoding="utf-8")


async def settle(seconds: float = 0.5) -> None:
    """Let what is under way arrive, where the test is about nothing more coming."""
    await asyncio.sleep(seconds)
