"""The machines of a run: edges with an outbox and an uplink, and one collector."""

from __future__ import annotations

import asyncio
import functools
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from importlib import resources
from pathlib import Path
from typing import Any

from collector.app import CollectorApp
from core.contracts.codec import encode
from core.contracts.errors import EstateError
from core.contracts.events import Lane
from core.contracts.log import Activation
from core.runtime.settings import BrokerSettings, Settings
from core.storage import sqlite
from core.storage.journal import Journal
from core.storage.records import Records
from edge.outbox import Outbox, open_journal
from edge.uplink import Uplink
from tests.simulation import primitives
from tests.simulation.disk import Disk, Disks
from tests.simulation.loop import Loop
from tests.simulation.primitives import SimClock
from tests.simulation.scheduler import Process, the
from tests.simulation.traffic import Emission, devices_of

SITE = "site-1"
BROKER = BrokerSettings(port=1)
#: A part that cannot start now is started again after so many seconds, as a supervisor does.
_AGAIN_S = 2.0


@functools.cache
def empty_records() -> Any:
    """Return a migrated records database without rows, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.sqlite"
        Records(f"sqlite:///{path}").open().close()
        source, copy = sqlite.connect(path), sqlite.sqlite3.connect(":memory:")
        source.execute("PRAGMA journal_mode=DELETE").fetchall()  # memory knows no write-ahead log
        source.backup(copy)
        source.close()
    return copy


@functools.cache
def fire_rules() -> str:
    """Return the rules that the runs fold: a fire alarm stands until it is over."""
    return (resources.files("rules.builtin") / "fire.yaml").read_text(encoding="utf-8")


def topology(edges: list[str]) -> dict[str, Any]:
    """Return a site with its edges and their devices."""
    name = {"zh": "名", "en": "name"}
    site = {"id": SITE, "level": "site", "name": name, "parent": "street"}
    return {
        "datum": "wgs84",
        "nodes": [
            {"id": "street", "level": "street", "name": name},
            site | {"site_kind": "residential_estate"},
        ],
        "edges": [{"id": edge, "site": SITE, "name": name} for edge in edges],
        "devices": [
            {
                "id": device, "family": family, "name": name, "node": SITE, "edge": edge,
                "expect_s": 600,
            }
            for edge in edges
            for device, family in devices_of(edge)
        ],
    }  # fmt: skip


class Machine:
    """A machine with one process, which is started again whenever it has died."""

    def __init__(self, name: str, disks: Disks, clock: SimClock) -> None:
        self.name = name
        self.disk: Disk = disks.disk(name)
        self.clock = clock
        self.process = Process(name, name)
        self.process.dead = True
        self.lives = 0
        self.up = False
        """Whether the process has come up."""

    def start(self) -> None:
        """Start the process."""
        self.lives += 1
        self.up = False
        self.process = Process(f"{self.name}#{self.lives}", self.name)
        the().spawn(self.process, f"{self.name} main", self._main)

    def _main(self) -> None:
        while True:
            try:
                self.life()
            except EstateError as error:
                the().say(self.name, "cannot start:", str(error)[:150])
                the().sleep(_AGAIN_S)
            else:
                self.up = True
                return

    def life(self) -> None:
        """Build the part and start it; raise EstateError when it cannot start now."""
        raise NotImplementedError

    def failed(self, error: BaseException) -> None:
        """Take note that a journal's writer has failed: the process is ended and comes back."""
        the().failures.append((self.name, f"the journal's writer failed: {error!r}"))


class Edge(Machine):
    """An edge whose devices say what the traffic plans."""

    def __init__(
        self, name: str, disks: Disks, clock: SimClock, plan: list[Emission], budget: int
    ) -> None:
        super().__init__(name, disks, clock)
        self.path = self.disk.folder / "outbox.sqlite"
        self.plan = plan
        self.budget = budget
        self.kept: dict[str, Emission] = {}
        """What the journal has answered for, by id."""
        self.doubtful: dict[str, Emission] = {}
        """What was under way when the process died: kept or not."""
        self.refused: dict[str, Emission] = {}
        self.unsafe: set[str] = set()
        """What a disk that was put back may have lost, or brings again."""
        self._next = 0
        self.underway: dict[str, Emission] = {}
        self.journal: Journal
        self.uplink: Uplink

    def life(self) -> None:
        self.doubtful |= self.underway
        self.underway = {}
        self.journal = open_journal(self.path, self.name, self.budget, self.clock, self.failed)
        self.uplink = Uplink(
            site=SITE,
            edge=self.name,
            journal=self.journal,
            broker=BROKER,
            clock=self.clock,
            version="1",
            fresh_state=self._fresh,
        )
        self._outbox: Outbox | None = None
        self._loop = Loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)
        process = self.process
        the().spawn(process, f"{self.name} loop", self._devices)
        self.uplink.start()

    def stop(self) -> None:
        """End the process in good order."""
        self.uplink.stop()
        self.journal.close()

    def _fresh(self) -> Future[None]:
        done: Future[None] = primitives.Future()
        done.set_result(None)
        return done

    def _devices(self) -> None:
        asyncio.set_event_loop(None)
        self._outbox = Outbox(
            self.journal, self.clock, self.uplink.wake, lambda: self.uplink.heard, edge=self.name
        )
        self._loop.run_until_complete(self._play(self._outbox))

    async def _play(self, outbox: Outbox) -> None:
        waiting: set[asyncio.Task[None]] = set()
        while self._next < len(self.plan):
            emission = self.plan[self._next]
            if (wait := emission.when - the().now) > 0:
                await asyncio.sleep(wait)
            self._next += 1
            task = asyncio.get_running_loop().create_task(self._emit(outbox, emission))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        if waiting:
            await asyncio.wait(set(waiting))

    async def _emit(self, outbox: Outbox, emission: Emission) -> None:
        self.underway[emission.id] = emission
        try:
            await self._take(outbox, emission)
        except EstateError:
            self.refused[emission.id] = emission
        else:
            self.kept[emission.id] = emission
        del self.underway[emission.id]

    async def _take(self, outbox: Outbox, emission: Emission) -> None:
        if emission.kind == "poison":  # what an edge of another version might seal
            await outbox._add(Lane.READING, encode(emission.raw()))
            return
        await outbox.emit(
            emission.kind, emission.device, emission.data, at=emission.at, id=emission.id
        )

    @property
    def told(self) -> bool:
        """Tell whether the devices have said all."""
        return self._next >= len(self.plan) and not self.underway

    def drained(self) -> bool:
        """Tell whether nothing waits (asked between tasks, of the disk)."""
        (entries,) = (
            self.disk.file(self.path).keeper.execute("SELECT count(*) FROM entry").fetchone()
        )
        return bool(entries == 0)


class Collector(Machine):
    """A collector as its composition root builds it."""

    def __init__(self, name: str, disks: Disks, clock: SimClock, edges: list[str]) -> None:
        super().__init__(name, disks, clock)
        self.settings = Settings(data=self.disk.folder, broker=BROKER)
        self.disk.add(self.disk.folder / "records.sqlite", empty_records())
        self.activation = Activation(topology=topology(edges), rules={"fire": fire_rules()})
        self.app: CollectorApp | None = None

    def life(self) -> None:
        app = CollectorApp(
            self.settings, self.clock, activation=self.activation, on_failure=self.failed
        )
        _now(app.start())
        self.app = app

    def stop(self) -> None:
        """End the process in good order."""
        if self.app is not None:
            _now(self.app.stop())

    def settled(self) -> bool:
        """Tell whether every projector has folded the log to its end."""
        if self.app is None:
            return False
        counts = self.app.counts()
        return all(position >= counts.journal for position in counts.positions.values())


def _now(coroutine: Any) -> None:
    """Run a coroutine that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for an event loop")


def edge_names(chance: random.Random) -> list[str]:
    """Return one or two edges."""
    return ["edge-a", "edge-b"][: chance.choice([1, 1, 2])]


Action = Callable[[], None]
