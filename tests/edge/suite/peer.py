"""What a protocol brings to the driver suite: a simulated peer, and the entry that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from core.runtime.clock import ScaledClock
from simulators.devices.faults import LineFaults
from simulators.devices.peer import SerialPeer, SocketPeer

D = TypeVar("D", bound=SocketPeer | SerialPeer)


class Peer(ABC):
    """One simulated device (or gateway) on a real socket.

    Its module is found by the suite when it defines ``PEER = ItsClass`` (or ``PEERS``). The
    entry's time-outs are short (at most a second), so that the suite is quick, and its device
    ids begin with the protocol's name: all peers meet in one configuration.
    """

    protocol: ClassVar[str]
    """The driver's name in the registry; ``variant`` tells several peers of one driver apart."""
    variant: ClassVar[str] = ""
    expects: ClassVar[frozenset[str]]
    """The kinds that come by themselves within a few seconds of the start."""
    #: Faults that this protocol cannot have or cannot notice: fault -> the reason.
    exempt: ClassVar[Mapping[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ScaledClock()

    @abstractmethod
    async def start(self) -> None:
        """Listen."""

    @abstractmethod
    async def stop(self) -> None:
        """Close everything."""

    @property
    @abstractmethod
    def entry(self) -> dict[str, Any]:
        """Return the entry of the edge's configuration that reads this peer."""

    @property
    @abstractmethod
    def faults(self) -> LineFaults:
        """Return what goes wrong on the peer's line."""

    @abstractmethod
    async def refuse(self) -> None:
        """Go away: connections are refused (or datagrams unanswered) until :meth:`accept`."""

    @abstractmethod
    async def accept(self) -> None:
        """Come back."""

    @abstractmethod
    async def stir(self) -> tuple[str, str]:
        """Make something happen that the driver must report once; return (kind, device)."""


class DevicePeer(Peer, Generic[D]):
    """A peer that is one simulated device or gateway: ``device``, set by the constructor."""

    device: D

    async def start(self) -> None:
        await self.device.start()

    async def stop(self) -> None:
        await self.device.stop()

    @property
    def faults(self) -> LineFaults:
        return self.device.listener.faults

    async def refuse(self) -> None:
        await self.device.suspend()

    async def accept(self) -> None:
        await self.device.start()
