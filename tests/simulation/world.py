"""One run: machines, traffic and faults from a seed; healed at the end, drained, then judged."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.storage.journal import least_budget
from edge.outbox import WINDOW
from tests.simulation import faults, law
from tests.simulation.disk import Disks
from tests.simulation.network import Network
from tests.simulation.parts import Collector, Edge, Machine, edge_names
from tests.simulation.primitives import EPOCH_S, SimClock
from tests.simulation.scheduler import Here, Process, Scheduler
from tests.simulation.substitutes import hush, substituted
from tests.simulation.traffic import plan
from tests.simulation.watch import Watch

#: Virtual seconds that a healed system may take until nothing waits any more.
PATIENCE_S = 400.0
_LOOK_S = 0.5
#: The budget of an outbox that never evicts.
_ROOMY = 1 << 30


@dataclass
class Outcome:
    """What a run came to; no ``faults`` (broken laws) means that all held."""

    seed: int
    broken: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    events: int = 0
    declared: int = 0
    deaths: int = 0
    seconds: float = 0.0


class World:
    """The machines of one run and what happens to them."""

    def __init__(self, seed: int, root: Path, scheduler: Scheduler) -> None:
        self.seed = seed
        self.chance = random.Random(f"world {seed}")
        self.scheduler = scheduler
        self.disks = Disks(root)
        self.network = Network()
        self.seconds = self.chance.choice([3.0, 6.0, 10.0])
        self.start_ms = EPOCH_S * 1000
        if self.chance.random() < 0.2:
            self.start_ms += 86_400_000 - int(self.seconds * 500)  # across midnight
        names = edge_names(self.chance)
        # Small outboxes evict; large ones never do.
        self.budget = self.chance.choice([_ROOMY, _ROOMY, _ROOMY, least_budget(WINDOW)])
        self.tight = self.budget < _ROOMY
        self.edges = [
            Edge(
                name, self.disks, SimClock(self.start_ms),
                plan(name, self.chance, self.start_ms, self.seconds, brisk=self.tight), self.budget,
            )
            for name in names
        ]  # fmt: skip
        self.collector = Collector("collector", self.disks, SimClock(self.start_ms), names)
        self.broken: list[str] = []
        self.restored: set[str] = set()
        self.first_epoch: dict[str, str] = {}
        self.deaths = 0
        self.network.on_publish = Watch(self).heard

    @property
    def machines(self) -> list[Machine]:
        return [*self.edges, self.collector]

    def death(self, process: Process, power: bool) -> None:
        """A process has died: its disk and its sockets know, and it comes back."""
        self.deaths += 1
        self.disks.death(process, power)
        self.network.lost(process, power)
        machine = next(m for m in self.machines if m.name == process.machine)
        self.scheduler.after(self.chance.uniform(0.2, 6.0), lambda: self.revive(machine))

    def revive(self, machine: Machine) -> None:
        """Start a machine's process again if it is down."""
        if machine.process.dead:
            machine.start()

    def run(self) -> None:
        """Play traffic and faults, mend everything, and wait until nothing is under way."""
        scheduler = self.scheduler
        scheduler.on_kill = self.death
        for machine in self.machines:
            machine.start()
        faults.schedule(self)
        scheduler.run(lambda: False, self.seconds + 1.0)
        faults.mend(self)
        end = scheduler.now + PATIENCE_S
        while scheduler.now < end and not scheduler.failures:
            if self._quiet():
                break
            scheduler.run(lambda: False, scheduler.now + _LOOK_S)
        else:
            if not scheduler.failures:
                self.broken.append(f"not drained {PATIENCE_S:.0f} s after all was mended")
        self.broken += [f"{name} ended: {text}" for name, text in scheduler.failures]

    def _quiet(self) -> bool:
        if any(machine.process.dead or not machine.up for machine in self.machines):
            return False
        return all(e.told and e.drained() for e in self.edges) and self.collector.settled()


@contextmanager
def _folder() -> Iterator[Path]:
    """Give one and the same empty folder for every run of a process."""
    global _ROOT
    if _ROOT is None:
        _ROOT = Path(tempfile.mkdtemp(prefix="simulation-"))
    try:
        yield _ROOT
    finally:
        for part in _ROOT.iterdir():
            shutil.rmtree(part)


_ROOT: Path | None = None


def simulate(seed: int, *, trace: bool = False) -> Outcome:
    """Run one seed and judge it."""
    with _folder() as root:
        scheduler = Here.scheduler = Scheduler(seed)
        scheduler.trace = [] if trace else None
        world = World(seed, root, scheduler)
        with substituted(random.Random(f"uuid {seed}"), world.disks, world.network, loud=trace):
            try:
                world.run()
                outcome = Outcome(seed, world.broken)
                if not world.broken:
                    law.judge(world, outcome)
                outcome.deaths, outcome.seconds = world.deaths, scheduler.now
            finally:
                hush()
                outcome_trace = scheduler.trace or []
                scheduler.close()
                world.disks.close()
        outcome.trace = outcome_trace
        return outcome
