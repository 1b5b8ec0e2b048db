"""The running peers of a community: built from a plan, started, found by their device ids."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.camera import CameraPeer
from simulators.devices.door import DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.elevator import ElevatorPeer
from simulators.devices.elevator_model import Counters, ElevatorModel
from simulators.devices.isapi import Identity
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import MeterModel
from simulators.devices.scene import Scene
from simulators.installation import CameraPlan, Community, ControllerPlan, GatewayPlan, LiftPlan
from simulators.lift_traffic import lift_traffic
from simulators.loads import LoadPlan
from simulators.network import TcpRelay
from simulators.rhythms import OFFICE, RESIDENTIAL, Arrivals

T = TypeVar("T")
#: A lift makes about so many runs an hour, over the years; counters start from its age.
_RUNS_PER_HOUR = 22
#: 2025-01-01T00:00Z: ages of lifts are given for that day.
_AGE_EPOCH_MS = 1_735_689_600_000


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


class Simulation:
    """Every peer and relay of one community.

    ``ports`` are the ports to use again where they are free, by the name of the peer.
    """

    def __init__(
        self,
        community: Community,
        clock: Clock,
        *,
        broker: tuple[str, int],
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self.community = community
        self._clock = clock
        self._wanted = dict(ports or {})
        self._meters: dict[str, MeterModel] = {}
        self._gateways: dict[str, MeterGateway] = {}
        self._lifts: dict[str, ElevatorPeer] = {}
        self._controllers: dict[str, DoorPeer] = {}
        self._doors: dict[str, tuple[DoorPeer, int]] = {}
        self._cameras: dict[str, CameraPeer] = {}
        self._relays: dict[str, TcpRelay] = {}
        self._started: list[Peer] = []
        self._broker = broker

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Build and start every peer; on a failure those already up are stopped again."""
        self._build()
        try:
            for peer in self.peers().values():
                await peer.start()
                self._started.append(peer)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop every peer."""
        started, self._started = self._started[::-1], []
        await asyncio.gather(*(peer.stop() for peer in started), return_exceptions=True)

    def peers(self) -> dict[str, Peer]:
        """Return every peer by its name; a relay's is ``relay/`` and its edge."""
        return {
            **self._gateways,
            **self._lifts,
            **self._controllers,
            **self._cameras,
            **{f"relay/{edge}": relay for edge, relay in self._relays.items()},
        }

    def ports(self) -> dict[str, int]:
        """Return the port of every peer."""
        return {name: peer.port for name, peer in self.peers().items()}

    def relay_ports(self) -> dict[str, int]:
        """Return for each edge the port at which it reaches the broker."""
        return {edge: relay.port for edge, relay in self._relays.items()}

    def meter_offsets(self) -> dict[str, float]:
        """Return by how much (Wh) each register is off its plan, where it is."""
        return {name: m.offset_wh for name, m in self._meters.items() if m.offset_wh}

    def carry_meters(self, offsets_wh: Mapping[str, float]) -> None:
        """Continue the registers of an earlier run."""
        for name, offset in offsets_wh.items():
            if name in self._meters:
                self._meters[name].carry(offset)

    def now_ms(self) -> int:
        """Return the run's time."""
        return self._clock.now_ms()

    # -- what a scenario reaches -------------------------------------------------------------

    def meter(self, device: str) -> MeterModel:
        """Return a meter; raise :class:`ContractError` when there is none of that id."""
        return _find("meter", self._meters, device)

    def lift(self, device: str) -> ElevatorPeer:
        """Return a lift; raise :class:`ContractError` when there is none of that id."""
        return _find("lift", self._lifts, device)

    def door(self, device: str) -> tuple[DoorController, int]:
        """Return a door's controller and number; raise :class:`ContractError` without one."""
        peer, number = _find("door", self._doors, device)
        return peer.controller, number

    def camera(self, device: str) -> CameraPeer:
        """Return a camera; raise :class:`ContractError` when there is none of that id."""
        return _find("camera", self._cameras, device)

    def relay(self, edge: str) -> TcpRelay:
        """Return an edge's relay; raise :class:`ContractError` when there is no such edge."""
        return _find("edge", self._relays, edge)

    async def silence(self, device: str) -> None:
        """Let a device answer no more; a door takes its whole controller with it."""
        if device in self._meters:
            self._meters[device].answers = False
        elif device in self._lifts:
            await self._lifts[device].suspend()
        else:
            await self._http(device).listener.suspend()

    async def resume(self, device: str) -> None:
        """Let a silenced device answer again."""
        if device in self._meters:
            self._meters[device].answers = True
        elif device in self._lifts:
            await self._lifts[device].start()
        else:
            await self._http(device).listener.start()

    async def drop_connections(self, device: str) -> None:
        """Drop the connections to a device; it accepts new ones at once."""
        gateway = next(
            (g for plan in self.community.gateways for g in (self._gateways[plan.id],)
             if any(meter.device == device for meter in plan.meters)), None,
        )  # fmt: skip
        if gateway is not None:
            await gateway.listener.drop()
        elif device in self._lifts:
            await self._lifts[device].suspend()
            await self._lifts[device].start()
        else:
            await self._http(device).listener.drop()

    def _http(self, device: str) -> DoorPeer | CameraPeer:
        if device in self._doors:
            return self._doors[device][0]
        return _find("device", self._cameras, device)

    # -- building ----------------------------------------------------------------------------

    def _build(self) -> None:
        self._each(self.community.gateways, self._gateway)
        self._each(self.community.lifts, self._lift)
        self._each(self.community.controllers, self._controller)
        self._each(self.community.cameras, self._camera)
        for edge in self.community.edges:
            port = self._wanted.get(f"relay/{edge}", 0)
            self._relays[edge] = TcpRelay(*self._broker, port=port)

    def _each(self, plans: tuple[T, ...], build: Callable[[T], None]) -> None:
        for plan in plans:
            build(plan)

    def _gateway(self, plan: GatewayPlan) -> None:
        line = {}
        for meter in plan.meters:
            load = LoadPlan(self.community.seed, meter.device, meter.load)
            model = MeterModel(self.community.seed, meter.device, load, phases=meter.phases)
            line[meter.address] = self._meters[meter.device] = model
        port = self._wanted.get(plan.id, 0)
        self._gateways[plan.id] = MeterGateway(self._clock, line, port=port)

    def _lift(self, plan: LiftPlan) -> None:
        now = self._clock.now_ms()
        rhythm = (OFFICE if plan.work else RESIDENTIAL).scaled(plan.busy)
        floors = list(plan.floors)
        traffic = lift_traffic(self.community.seed, plan.device, floors, rhythm, work=plan.work)
        hours = plan.age_h + max(now - _AGE_EPOCH_MS, 0) / 3_600_000
        counters = Counters(
            running_h=hours * 0.09,
            trips=int(hours * _RUNS_PER_HOUR),
            door_cycles=int(hours * _RUNS_PER_HOUR * 1.1),
        )
        model = ElevatorModel(floors, traffic, now, counters=counters)
        port = self._wanted.get(plan.device, 0)
        self._lifts[plan.device] = ElevatorPeer(self._clock, model, port=port)

    def _controller(self, plan: ControllerPlan) -> None:
        seed = self.community.seed
        doors = [
            Door(
                door.number,
                Arrivals(
                    seed, door.device, (OFFICE if door.work else RESIDENTIAL).scaled(door.busy)
                ),
            )
            for door in plan.doors
        ]
        controller = DoorController(seed, plan.id, self._clock, doors, list(self.community.holders))
        index = len(self._controllers) + 1
        identity = Identity(plan.id, f"192.0.2.{10 + index}", f"02:00:5e:10:00:{index:02x}")
        peer = DoorPeer(
            self._clock,
            controller,
            identity=identity,
            username=plan.username,
            password=plan.password,
            port=self._wanted.get(plan.id, 0),
        )
        self._controllers[plan.id] = peer
        for door in plan.doors:
            self._doors[door.device] = (peer, door.number)

    def _camera(self, plan: CameraPlan) -> None:
        scene = Scene(self.community.seed, plan.device, plan.kind, plan.label)
        port = self._wanted.get(plan.device, 0)
        self._cameras[plan.device] = CameraPeer(self._clock, scene, port=port)


def _find(what: str, known: Mapping[str, T], name: str) -> T:
    try:
        return known[name]
    except KeyError:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        raise ContractError(f"no {what} is called {name!r}", field="target", remedy=hint) from None
