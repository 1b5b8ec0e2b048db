"""A lift controller (智能梯控) on ISAPI: an access controller whose doors are floors.

A card or a face in the car opens floors. What opens several at once lists them in
``granted_field``; what opens one, or is refused one, names its number as ``doorNo``.
"""

from __future__ import annotations

from random import Random

from core.runtime.clock import Clock
from simulators.devices.door import DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.isapi import AccessRecord, Code, Holder, Identity
from simulators.rhythms import RESIDENTIAL, Arrivals


class LiftController:
    """The controller of one car; ``rights`` are the floor numbers that each holder may go to.

    Floor numbers are those of the controller's relays, from 1 on.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        floors: int,
        rights: dict[str, list[int]],
        holders: list[Holder],
        identity: Identity,
        username: str,
        password: str,
        granted_field: str = "floorNoList",
        seed: int = 1,
        heartbeat_s: float = 5.0,
        port: int = 0,
    ) -> None:
        nobody = RESIDENTIAL.scaled(0)
        doors = [Door(n, Arrivals(seed, f"floor-{n}", nobody)) for n in range(1, floors + 1)]
        self.model = DoorController(seed, identity.name, clock, doors, holders)
        self.peer = DoorPeer(
            clock,
            self.model,
            identity=identity,
            username=username,
            password=password,
            heartbeat_s=heartbeat_s,
            port=port,
        )
        self.floors = floors
        self.rights = rights
        self._holders = {holder.number: holder for holder in holders}
        self._granted_field = granted_field

    @property
    def port(self) -> int:
        """Return the port that the controller listens on."""
        return self.peer.port

    async def start(self) -> None:
        """Listen."""
        await self.peer.start()

    async def stop(self) -> None:
        """Drop every connection."""
        await self.peer.stop()

    def present(self, number: str, *, by_face: bool = True) -> AccessRecord:
        """Let somebody present a credential in the car; what they may open is opened."""
        holder = self._holders.get(number)
        allowed = self.rights.get(number, [])
        if holder is None:
            return self.model.record(0, Code.INVALID)
        if not allowed:
            return self.model.record(0, Code.NO_RIGHT, holder)
        code = Code.FACE_OK if by_face else Code.CARD_OK
        if len(allowed) == 1:
            return self.model.record(allowed[0], code, holder)
        return self.model.record(0, code, holder, **{self._granted_field: sorted(allowed)})

    def press(self, number: str, floor: int) -> AccessRecord:
        """Let somebody press a floor after presenting a credential."""
        holder = self._holders[number]
        allowed = floor in self.rights.get(number, [])
        return self.model.record(floor, Code.CARD_OK if allowed else Code.NO_RIGHT, holder)

    def somebody(self, random: Random) -> AccessRecord:
        """Let any holder present their credential."""
        return self.present(random.choice(sorted(self._holders)))
