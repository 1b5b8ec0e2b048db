"""What every plan is, and what it builds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.runtime.clock import Clock
from simulators.devices.isapi import Holder
from simulators.handles.base import Handle
from simulators.rhythms import Arrivals, Rhythm

HOST = "127.0.0.1"
Entries = list[dict[str, Any]]
#: Something that goes on at a peer while it runs (people who come and go).
Life = Callable[[], Coroutine[Any, Any, None]]


class Peer(Protocol):
    """Something that listens on a port."""

    @property
    def port(self) -> int:
        """Return the port."""
        ...

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """Stop listening."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What a plan may use when it builds its peer."""

    seed: int
    clock: Clock
    holders: tuple[Holder, ...]
    handle: Callable[[str], Handle]
    """Finds what was built before, by device."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """A built peer, what a scenario reaches of it, and its life."""

    peer: Peer
    handles: Mapping[str, Handle]
    life: tuple[Life, ...] = ()


class Plan(Protocol):
    """One peer to be installed."""

    @property
    def id(self) -> str:
        """Return the name under which its port is remembered."""
        ...

    @property
    def edge(self) -> str:
        """Return who reads it."""
        ...

    def handles(self) -> dict[str, type[Handle]]:
        """Return device -> what a scenario will be able to do to it."""
        ...

    def build(self, world: World, port: int) -> Fixture:
        """Build the peer; nothing is opened."""
        ...

    def entries(self, port: int) -> Entries:
        """Return the entries under ``drivers`` of the edge's file."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return further files that the entries name, relative to the edge's file."""
        ...


class Simple:
    """A plan without further files."""

    def files(self) -> dict[str, bytes]:
        """Return none."""
        return {}


async def come_and_go(
    clock: Clock, arrivals: Arrivals, act: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Let somebody do something at each arrival; who comes while it lasts passes by."""
    at = clock.now_ms()
    while True:
        at = arrivals.after(at)
        await clock.sleep((at - clock.now_ms()) / 1000)
        await act()
        at = max(at, clock.now_ms())


def arrivals(world: World, name: str, rhythm: Rhythm) -> Arrivals:
    """Return when somebody comes."""
    return Arrivals(world.seed, name, rhythm)
