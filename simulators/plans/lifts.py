"""Lifts of a BACnet device, lifts behind a vendor's JSON gateway, access control in a car."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.devices.bacnet_lift import BacnetLiftPeer, SimulatedLift
from simulators.devices.elevator_model import Counters, ElevatorModel
from simulators.devices.isapi import Identity
from simulators.devices.json_gateway import JsonHttpPeer, JsonState
from simulators.devices.lift_controller import LiftController
from simulators.handles.base import Handle
from simulators.handles.lifts import BacnetLiftHandle, JsonLiftHandle, LiftAccessHandle
from simulators.lift_traffic import lift_traffic
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

#: A lift makes about so many runs an hour, over the years.
_RUNS_PER_HOUR = 22
#: 2025-01-01T00:00Z: ages of lifts are given for that day.
_AGE_EPOCH_MS = 1_735_689_600_000
_INSTANCE = 4_001


@dataclass(frozen=True, slots=True)
class LiftPlan:
    """One lift; ``work`` marks the traffic of an office building, ``busy`` scales it."""

    device: str
    edge: str
    floors: tuple[int, ...]
    busy: float
    work: bool
    age_h: int

    def model(self, seed: int, now_ms: int) -> ElevatorModel:
        """Return the lift with its traffic and the counters of its age."""
        rhythm = (OFFICE if self.work else RESIDENTIAL).scaled(self.busy)
        floors = list(self.floors)
        traffic = lift_traffic(seed, self.device, floors, rhythm, work=self.work)
        hours = self.age_h + max(now_ms - _AGE_EPOCH_MS, 0) / 3_600_000
        counters = Counters(
            running_h=hours * 0.09,
            trips=int(hours * _RUNS_PER_HOUR),
            door_cycles=int(hours * _RUNS_PER_HOUR * 1.1),
        )
        return ElevatorModel(floors, traffic, now_ms, counters=counters)


@dataclass(frozen=True, slots=True)
class BacnetPlan(Simple):
    """One BACnet device with its lifts."""

    id: str
    edge: str
    lifts: tuple[LiftPlan, ...]

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {lift.device: BacnetLiftHandle for lift in self.lifts}

    def build(self, world: World, port: int) -> Fixture:
        """Build the device."""
        now = world.clock.now_ms()
        lifts = {
            number: SimulatedLift(lift.model(world.seed, now))
            for number, lift in enumerate(self.lifts, 1)
        }
        peer = BacnetLiftPeer(world.clock, lifts, instance=_INSTANCE, port=port)
        return Fixture(
            peer,
            {
                lift.device: BacnetLiftHandle(lift.device, world.clock, peer, number)
                for number, lift in enumerate(self.lifts, 1)
            },
        )

    def entries(self, port: int) -> Entries:
        """Return the device's entry."""
        return [{
            "driver": "bacnet", "host": HOST, "port": port, "instance": _INSTANCE, "period_s": 2,
            "lifts": [
                {"device": lift.device, "object": number, "floors": list(lift.floors)}
                for number, lift in enumerate(self.lifts, 1)
            ],
        }]  # fmt: skip


@dataclass(frozen=True, slots=True)
class JsonLiftPlan(Simple):
    """A vendor's gateway that is asked for all of its lifts."""

    id: str
    edge: str
    lifts: tuple[LiftPlan, ...]
    token: str

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {lift.device: JsonLiftHandle for lift in self.lifts}

    def build(self, world: World, port: int) -> Fixture:
        """Build the gateway."""
        now = world.clock.now_ms()
        names = {f"L{number}": lift for number, lift in enumerate(self.lifts, 1)}
        state = JsonState(
            world.clock, {name: lift.model(world.seed, now) for name, lift in names.items()}
        )
        peer = JsonHttpPeer(state, token=self.token, port=port)
        return Fixture(
            peer,
            {
                lift.device: JsonLiftHandle(lift.device, world.clock, peer, name)
                for name, lift in names.items()
            },
        )

    def entries(self, port: int) -> Entries:
        """Return the gateway's entry."""
        return [{
            "driver": "json_http", "url": f"http://{HOST}:{port}/api/lifts", "map": "lift_http",
            "auth": "bearer", "password": self.token, "period_s": 2,
            "devices": {f"L{number}": lift.device for number, lift in enumerate(self.lifts, 1)},
        }]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LiftAccessPlan(Simple):
    """The access control (梯控) of one car; ``floors`` in the order of its relays, from 1."""

    device: str
    edge: str
    floors: tuple[int, ...]
    password: str
    busy: float = 0.6
    username: str = "edge"

    @property
    def id(self) -> str:
        """Return the name of the peer."""
        return self.device

    def handles(self) -> dict[str, type[Handle]]:
        """Return what the device is."""
        return {self.device: LiftAccessHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the controller: most holders have one floor, some have none any more."""
        random = stream(world.seed, self.device, "rights")
        holders = random.sample(list(world.holders), 60)
        upper = range(2, len(self.floors) + 1)
        rights = {
            holder.number: [] if index < 4 else sorted({1, random.choice(upper)})
            for index, holder in enumerate(holders)
        }
        controller = LiftController(
            world.clock, floors=len(self.floors), rights=rights, holders=holders,
            identity=Identity(self.device, "192.0.2.70", "02:00:5e:10:00:70"),
            username=self.username, password=self.password, seed=world.seed, port=port,
        )  # fmt: skip
        who = sorted(number for number, floors in rights.items() if floors)

        async def present() -> None:
            controller.present(who[world.clock.now_ms() % len(who)])

        calls = arrivals(world, self.device, RESIDENTIAL.scaled(self.busy))

        async def life() -> None:
            await come_and_go(world.clock, calls, present)

        handle = LiftAccessHandle(self.device, world.clock, controller)
        return Fixture(controller, {self.device: handle}, (life,))

    def entries(self, port: int) -> Entries:
        """Return the controller's entry."""
        return [{
            "driver": "isapi_elevator", "base_url": f"http://{HOST}:{port}",
            "username": self.username, "password": self.password, "device": self.device,
            "floors": {str(number): floor for number, floor in enumerate(self.floors, 1)},
        }]  # fmt: skip
