"""What goes wrong in a run, planned from the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.parts import Edge, Machine
    from tests.simulation.world import World

Fault = Callable[["World"], None]


def schedule(world: World) -> None:
    """Plan the run's faults: none in some runs, many in others."""
    chance = world.chance
    world.network.wildness = chance.choice([0.0, 0.0, 0.05, 0.3])
    for _ in range(chance.choice([0, 1, 2, 4, 8])):
        fault = chance.choice(_FAULTS)
        when = chance.uniform(0.0, world.seconds)
        world.scheduler.at(when, lambda fault=fault: fault(world))
    if world.tight:
        world.scheduler.at(chance.uniform(0.5, 2.0), lambda: _outage(world))
    if chance.random() < 0.12:
        _plan_restore(world)


def _outage(world: World) -> None:
    """Let nothing through for a while, so that small outboxes have to evict.

    Where only the receipts are cut off, what is evicted may have arrived.
    """
    if world.chance.random() < 0.5:
        world.network.crash(wipe=True, seconds=6.0)
        return
    for edge in world.edges:
        world.network.cut(edge.name, up=False, down=True, seconds=8.0)


def mend(world: World) -> None:
    """Take every fault away and bring up what is down."""
    world.network.wildness = 0.0
    world.network.restart()
    for machine in world.machines:
        world.network.heal(machine.name)
        machine.disk.capacity = None
        for file in machine.disk.files.values():
            file.broken = False
        machine.clock.skew_ms = 0
        machine.process.fuse = None
        world.revive(machine)


def _any(world: World) -> Machine:
    return world.chance.choice(world.machines)


def _kill(world: World) -> None:
    """Kill a process between two steps of it."""
    world.scheduler.kill(_any(world).process, power=world.chance.random() < 0.5)


def _fuse(world: World) -> None:
    """Kill a process at one of its next commits or publications, before it or after it."""
    process = _any(world).process
    process.power = world.chance.random() < 0.5
    process.fuse = world.chance.randint(1, 30)


def _cut(world: World) -> None:
    """Cut a machine off, in one direction or in both."""
    up, down = world.chance.choice([(True, True), (True, False), (False, True)])
    seconds = world.chance.choice([1.0, 5.0, 30.0])
    world.network.cut(_any(world).name, up, down, seconds)


def _broker(world: World) -> None:
    """Kill the broker; it may come back without its memory."""
    if world.network.up:
        wipe = world.chance.random() < 0.7
        world.network.crash(wipe=wipe, seconds=world.chance.uniform(0.1, 10.0))


def _full(world: World) -> None:
    """Let a disk run full, and have room again later."""
    machine = _any(world)
    if machine.disk.capacity is None:
        machine.disk.capacity = machine.disk.used() + world.chance.randint(0, 2)
        world.scheduler.say("disk full", machine.name)
        world.scheduler.after(
            world.chance.uniform(1.0, 10.0), lambda: setattr(machine.disk, "capacity", None)
        )


def _store_down(world: World) -> None:
    """Let the records or the series store take nothing for a while."""
    folder = world.collector.disk.folder
    found = [*sorted(folder.glob("series/*.sqlite")), folder / "records.sqlite"]
    file = world.collector.disk.file(world.chance.choice(found))
    file.broken = True
    world.scheduler.say("store down", file.number)
    world.scheduler.after(world.chance.uniform(0.2, 3.0), lambda: setattr(file, "broken", False))


def _skew(world: World) -> None:
    """Put a clock wrong by up to an hour."""
    _any(world).clock.skew_ms = world.chance.randint(-3_600_000, 3_600_000)


def _plan_restore(world: World) -> None:
    """Copy an edge's disk, and put the copy back later: a restored backup."""
    edge = world.chance.choice(world.edges)
    first, second = sorted(world.chance.uniform(1.0, world.seconds) for _ in range(2))
    world.scheduler.at(first, lambda: _copy(world, edge, second))


def _copy(world: World, edge: Edge, when: float) -> None:
    if not edge.path.exists():
        return
    kept = edge.disk.file(edge.path).copy()
    world.scheduler.at(when, lambda: _restore(world, edge, kept))


def _restore(world: World, edge: Edge, kept: object) -> None:
    world.scheduler.kill(edge.process)
    world.scheduler.say("restored", edge.name)
    world.restored.add(edge.name)
    edge.unsafe |= edge.kept.keys() | edge.doubtful.keys() | edge.underway.keys()
    edge.disk.file(edge.path).replace(kept)


_FAULTS: list[Fault] = [
    _kill,
    _fuse,
    _fuse,
    _fuse,
    _cut,
    _cut,
    _broker,
    _full,
    _store_down,
    _store_down,
    _skew,
]
