"""An edge without devices and a collector, on a real broker, for tests of the wire."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from collector.app import CollectorApp
from core.contracts.codec import Event
from core.contracts.log import Activation, BatchEntry, EventEntry, decode_entry
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings, CollectorSettings, Settings
from core.storage.journal import Journal
from core.storage.series import open_reader
from edge.outbox import Outbox, open_journal
from edge.uplink import Uplink
from tests.servers import Server

SITE = "site-1"
FOREVER = 4_102_444_800_000
CLOCK = ScaledClock()


def run(main: Coroutine[Any, Any, None], timeout: float = 60) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(timeout):
            await main

    asyncio.run(bounded())


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail with ``what`` when it does not come true within 20 s."""
    deadline = asyncio.get_running_loop().time() + 20
    while not await asyncio.to_thread(true):
        assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


def topology(edge: str, *devices: str) -> dict[str, Any]:
    name = {"zh": "名", "en": "name"}
    return {
        "datum": "wgs84",
        "nodes": [
            {"id": "street", "level": "street", "name": name},
            {
                "id": SITE, "level": "site", "name": name, "parent": "street",
                "site_kind": "residential_estate",
            },
        ],
        "edges": [{"id": edge, "site": SITE, "name": name}],
        "devices": [
            {"id": d, "family": "meter", "name": name, "node": SITE, "edge": edge, "expect_s": 600}
            for d in devices
        ],
    }  # fmt: skip


class SyntheticEdge:
    """An outbox and an uplink; ``emit_many`` journals numbered readings."""

    def __init__(
        self,
        folder: Path,
        broker: Server,
        edge: str = "edge-1",
        budget: int = 1 << 30,
        site: str = SITE,
    ) -> None:
        self.folder = folder
        self.site = site
        self.edge = edge
        self.broker = BrokerSettings(port=broker.port)
        self.budget = budget
        self.path = folder / f"{edge}.sqlite"
        self.journal: Journal
        self.number = 0

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = open_journal(self.path, self.edge, self.budget, CLOCK)
        self.uplink = Uplink(
            site=self.site,
            edge=self.edge,
            journal=self.journal,
            broker=self.broker,
            clock=CLOCK,
            version="test",
            fresh_state=self.fresh,
        )
        self.outbox = Outbox(
            self.journal, CLOCK, self.uplink.wake, lambda: self.uplink.heard, edge=self.edge
        )
        self.uplink.start()

    def fresh(self) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    async def stop(self) -> None:
        await asyncio.to_thread(self.uplink.stop)
        await asyncio.to_thread(self.journal.close)

    async def emit_many(self, count: int, seed: int = 1) -> None:
        """Journal readings of ever new value over the three lanes of JSON batches."""
        rng = random.Random(seed)
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("meter.reading", {"medium": "electricity"}),
            ("device.health", {"online": True}),
            ("access.granted", {}),
        ]
        pending = []
        for _ in range(count):
            self.number += 1
            kind, data = rng.choice(kinds)
            device = f"{self.edge}-d{rng.randrange(20)}"
            pending.append(self.outbox.emit(kind, device, data, id=str(self.number)))
            if len(pending) >= 50:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)

    def drained(self) -> bool:
        return all(info.entries == 0 for info in self.journal.lanes().values())


class Collector:
    """A collector on a folder of its own, that can be stopped and started again."""

    def __init__(self, folder: Path, broker: Server, edge: str = "edge-1", **settings: Any) -> None:
        # A process less to start for each test; tests/wire/test_companion.py tries the second one.
        settings.setdefault("collector", CollectorSettings(companion=False))
        self.settings = Settings(
            data=folder / "collector", broker=BrokerSettings(port=broker.port), **settings
        )
        self.activation = Activation(topology=topology(edge), rules={})
        self.app: CollectorApp

    async def start(self) -> None:
        self.app = CollectorApp(self.settings, CLOCK, activation=self.activation)
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()

    async def settle(self) -> None:
        """Wait until every projector has folded what the log holds now."""
        goal = self.app.journal.position
        await until(
            lambda: all(p >= goal for p in self.app.counts().positions.values()),
            "the projectors are done",
        )

    def stored(self) -> int:
        reader = open_reader(self.settings)
        try:
            return reader.count(0, FOREVER)
        finally:
            reader.close()

    def logged(self, *kinds: str) -> Counter[tuple[str, str | None]]:
        """Return (kind, id) of the logged events with their counts."""
        reader = self.app.journal.reader()
        found: Counter[tuple[str, str | None]] = Counter()
        after = 0
        while entries := reader.read(after, limit=1000):
            for raw in entries:
                entry = decode_entry(raw.lane, raw.pos, raw.seq, raw.at, raw.body)
                events: list[Event] = []
                if isinstance(entry, BatchEntry):
                    events = [event for _, event in entry.batch.events]
                elif isinstance(entry, EventEntry):
                    events = [entry.event]
                found.update((e.kind, e.id) for e in events if not kinds or e.kind in kinds)
                after = raw.pos
        reader.close()
        return found
