"""ISAPI door controllers: one that remembers its events, and one that cannot be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.door import DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.faults import LineFaults
from simulators.devices.isapi import Holder, Identity
from simulators.rhythms import RESIDENTIAL, Arrivals

from .peer import Peer

#: TCP keeps wrong bytes out; one in a text mostly goes unseen, and one in the sign-in is a
#: refused password, which is not tried again for a minute.
GARBLE = {"garble": "a wrong byte in a Digest sign-in is a refused password, by design"}
TIMES = {"silence_s": 1.0, "request_timeout_s": 1.0, "connect_timeout_s": 1.0}


class IsapiDoorPeer(Peer):
    """A controller with two doors and a search."""

    protocol = "isapi_door"
    expects = frozenset({"device.health"})
    exempt = GARBLE
    prefix: ClassVar[str] = "isapi_door"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        nobody = RESIDENTIAL.scaled(0)
        doors = [Door(number, Arrivals(7, f"d{number}", nobody)) for number in (1, 2)]
        self.model = DoorController(7, self.prefix, self.clock, doors, [Holder("1", "张三", "9")])
        self.peer = DoorPeer(
            self.clock, self.model,
            identity=Identity(self.prefix, "192.0.2.9", "02:00:5e:10:00:09"),
            username="edge", password="secret", heartbeat_s=0.2,
        )  # fmt: skip

    async def start(self) -> None:
        await self.peer.start()

    async def stop(self) -> None:
        await self.peer.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "isapi_door", "base_url": f"http://127.0.0.1:{self.peer.port}",
            "username": "edge", "password": "secret", **TIMES,
            "doors": {"1": f"{self.prefix}-1", "2": f"{self.prefix}-2"},
            "controller": f"{self.prefix}-c",
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.peer.listener.faults

    async def refuse(self) -> None:
        await self.peer.listener.suspend()

    async def accept(self) -> None:
        await self.peer.listener.start()

    async def stir(self) -> tuple[str, str]:
        await self.model.force(2)
        return "access.forced", f"{self.prefix}-2"


class IsapiDoorStreamOnlyPeer(IsapiDoorPeer):
    """A controller that answers a search with "not supported", and repeats its last events."""

    variant = "stream_only"
    prefix = "isapi_door-so"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.peer.searchable = False


PEERS = (IsapiDoorPeer, IsapiDoorStreamOnlyPeer)
