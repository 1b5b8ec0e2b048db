"""Doors of ONVIF controllers and of OSDP readers, and vehicle barriers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

from simulators.arguments import VehicleArguments
from simulators.devices.barrier import BarrierPeer, resident_plate
from simulators.devices.isapi import Identity
from simulators.devices.onvif import OnvifDoors
from simulators.devices.osdp_reader import OsdpConverter, OsdpReader
from simulators.handles.base import Handle
from simulators.handles.doors import OnvifDoorHandle, OsdpDoorHandle
from simulators.handles.things import BarrierHandle
from simulators.osdp_cards import Cards
from simulators.plans.base import (
    HOST,
    Entries,
    Fixture,
    Simple,
    World,
    arrivals,
    come_and_go,
)
from simulators.rhythms import OFFICE, RESIDENTIAL
from simulators.seeds import stream

#: Share of vehicles that are no residents'.
_VISITORS = 0.18
_RESIDENTS = 60


@dataclass(frozen=True, slots=True)
class OnvifDoorPlan(Simple):
    """A controller with doors: token -> device."""

    id: str
    edge: str
    doors: tuple[tuple[str, str], ...]
    password: str
    busy: float = 0.5
    username: str = "edge"

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {device: OnvifDoorHandle for _, device in self.doors}

    def build(self, world: World, port: int) -> Fixture:
        """Build the controller."""
        peer = OnvifDoors(
            world.clock, self.id, [token for token, _ in self.doors],
            username=self.username, password=self.password, port=port,
        )  # fmt: skip
        handles = {
            device: OnvifDoorHandle(device, world.clock, peer, token)
            for token, device in self.doors
        }
        rhythm = RESIDENTIAL.scaled(self.busy)
        life = tuple(
            partial(come_and_go, world.clock, arrivals(world, device, rhythm), handle.pass_by)
            for device, handle in handles.items()
        )
        return Fixture(peer, handles, life)

    def entries(self, port: int) -> Entries:
        """Return the controller's entry."""
        return [{
            "driver": "onvif_door", "base_url": f"http://{HOST}:{port}",
            "username": self.username, "password": self.password, "doors": dict(self.doors),
        }]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OsdpDoorPlan:
    """A door with a reader on either side, on one bus behind a converter.

    The edge decides by an access list; keys and the list stand beside the edge's file.
    """

    device: str
    """The reader outside, which has lock and contacts; the one inside is ``-out``."""
    edge: str
    key: str
    """The secure channel's key, 32 hex digits."""
    cards: Cards
    busy: float = 0.25

    @property
    def id(self) -> str:
        """Return the name of the converter."""
        return f"{self.device}-bus"

    @property
    def inside(self) -> str:
        """Return the reader inside."""
        return f"{self.device}-out"

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {self.device: OsdpDoorHandle, self.inside: OsdpDoorHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the readers and their converter."""
        secret = bytes.fromhex(self.key)
        readers = {
            device: OsdpReader(address, key=secret, enforce=True)
            for address, device in enumerate(self.handles())
        }
        peer = OsdpConverter(readers.values(), port=port)
        handles = {
            device: OsdpDoorHandle(device, world.clock, peer.listener, reader, self.cards)
            for device, reader in readers.items()
        }
        calls = arrivals(world, self.device, OFFICE.scaled(self.busy))
        outside = handles[self.device]
        life = partial(come_and_go, world.clock, calls, outside.pass_by)
        return Fixture(peer, handles, (life,))

    def entries(self, port: int) -> Entries:
        """Return the bus's entry."""
        return [{
            "driver": "osdp", "host": HOST, "port": port,
            "access": {"file": self._name("cards.json")},
            "pseudonym_key_file": self._name("pseudonym.key"),
            "readers": [
                {
                    "device": self.device, "address": 0, "key": self.key,
                    "lock": {"output": 0, "seconds": 5},
                    "inputs": [
                        {"number": OsdpDoorHandle.CONTACT, "role": "contact"},
                        {"number": OsdpDoorHandle.EXIT_BUTTON, "role": "exit_button"},
                        {"number": OsdpDoorHandle.FIRE_RELEASE, "role": "fire_release"},
                    ],
                },
                {
                    "device": self.inside, "address": 1, "key": self.key, "direction": "out",
                    "door": self.device,
                },
            ],
        }]  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Return the key of the pseudonyms and the access list."""
        listed = json.dumps(self.cards.access_list(), indent=1) + "\n"
        return {
            self._name("pseudonym.key"): self.cards.key,
            self._name("cards.json"): listed.encode(),
        }

    def _name(self, what: str) -> str:
        return f"{self.device}.{what}"


@dataclass(frozen=True, slots=True)
class BarrierPlan(Simple):
    """A vehicle barrier whose camera reads plates."""

    device: str
    edge: str
    password: str
    busy: float = 1.2
    username: str = "edge"

    @property
    def id(self) -> str:
        """Return the name of the peer."""
        return self.device

    def handles(self) -> dict[str, type[Handle]]:
        """Return what the device is."""
        return {self.device: BarrierHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the barrier, with a list of residents and two cars that are not to come in."""
        peer = BarrierPeer(
            world.clock, identity=Identity(self.device, "192.0.2.60", "02:00:5e:10:00:60"),
            username=self.username, password=self.password,
            allowed=frozenset(resident_plate(world.seed, n) for n in range(_RESIDENTS)),
            blocked=frozenset(resident_plate(world.seed, _RESIDENTS + n) for n in range(2)),
            port=port,
        )  # fmt: skip
        handle = BarrierHandle(self.device, world.clock, peer, world.seed)

        async def arrive() -> None:
            random = stream(world.seed, self.device, world.clock.now_ms())
            who = "visitor" if random.random() < _VISITORS else "resident"
            direction = "reverse" if random.random() < 0.5 else "forward"
            await handle.vehicle(VehicleArguments(who=who, direction=direction))

        calls = arrivals(world, self.device, RESIDENTIAL.scaled(self.busy))
        return Fixture(
            peer, {self.device: handle}, (partial(come_and_go, world.clock, calls, arrive),)
        )

    def entries(self, port: int) -> Entries:
        """Return the barrier's entry."""
        return [{
            "driver": "isapi_barrier", "base_url": f"http://{HOST}:{port}",
            "username": self.username, "password": self.password, "device": self.device,
        }]  # fmt: skip
