"""The running peers of a community: built from a plan, started, found by their device ids."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.camera import CameraPeer
from simulators.devices.door import DoorPeer
from simulators.devices.door_model import Door, DoorController
from simulators.devices.elevator import ElevatorPeer
from simulators.devices.isapi import Identity
from simulators.devices.meter import MeterGateway
from simulators.devices.meter_model import MeterModel
from simulators.devices.scene import Scene
from simulators.handles.base import Handle
from simulators.handles.cameras import CameraHandle
from simulators.handles.doors import IsapiDoorHandle
from simulators.handles.lifts import LiftHandle, ModbusLiftHandle
from simulators.handles.meters import DltMeterHandle, MeterHandle
from simulators.installation import CameraPlan, Community, ControllerPlan, GatewayPlan, LiftPlan
from simulators.loads import LoadPlan
from simulators.network import TcpRelay
from simulators.plans.base import Fixture, Life, Peer, World
from simulators.rhythms import OFFICE, RESIDENTIAL, Arrivals

T = TypeVar("T")
H = TypeVar("H", bound=Handle)
_log = structlog.get_logger()


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
        self._handles: dict[str, Handle] = {}
        self._peers: dict[str, Peer] = {}
        self._relays: dict[str, TcpRelay] = {}
        self._lives: list[Life] = []
        self._living: list[asyncio.Task[None]] = []
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
        self._living = [asyncio.create_task(life()) for life in self._lives]
        for task in self._living:
            task.add_done_callback(_report_end)

    async def stop(self) -> None:
        """Stop every peer."""
        living, self._living = self._living, []
        for task in living:
            task.cancel()
        await asyncio.gather(*living, return_exceptions=True)
        started, self._started = self._started[::-1], []
        await asyncio.gather(*(peer.stop() for peer in started), return_exceptions=True)

    def peers(self) -> dict[str, Peer]:
        """Return every peer by its name; a relay's is ``relay/`` and its edge."""
        return {
            **self._peers,
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
        return {
            name: handle.model.offset_wh
            for name, handle in self._handles.items()
            if isinstance(handle, MeterHandle) and handle.model.offset_wh
        }

    def carry_meters(self, offsets_wh: Mapping[str, float]) -> None:
        """Continue the registers of an earlier run."""
        for name, offset in offsets_wh.items():
            handle = self._handles.get(name)
            if isinstance(handle, MeterHandle):
                handle.model.carry(offset)

    def now_ms(self) -> int:
        """Return the run's time."""
        return self._clock.now_ms()

    # -- what a scenario reaches -------------------------------------------------------------

    def handle(self, device: str) -> Handle:
        """Return what can be done to a device; raise :class:`ContractError` for an unknown id."""
        return _find("device", self._handles, device)

    def states(self) -> dict[str, dict[str, object]]:
        """Return what there is to see on the spot, of the devices that show something."""
        return {name: state for name, handle in self._handles.items() if (state := handle.state())}

    def meter(self, device: str) -> MeterModel:
        """Return a meter; raise :class:`ContractError` when there is none of that id."""
        return self._of("meter", device, MeterHandle).model

    def lift(self, device: str) -> LiftHandle:
        """Return a lift; raise :class:`ContractError` when there is none of that id."""
        return self._of("lift", device, LiftHandle)

    def camera(self, device: str) -> CameraHandle:
        """Return a camera with a scene; raise :class:`ContractError` for another id."""
        return self._of("camera", device, CameraHandle)

    def relay(self, edge: str) -> TcpRelay:
        """Return an edge's relay; raise :class:`ContractError` when there is no such edge."""
        return _find("edge", self._relays, edge)

    def _of(self, what: str, device: str, kind: type[H]) -> H:
        known = {n: handle for n, handle in self._handles.items() if isinstance(handle, kind)}
        return _find(what, known, device)

    # -- building ----------------------------------------------------------------------------

    def _build(self) -> None:
        community = self.community
        self._each(community.gateways, self._gateway)
        self._each(community.lifts, self._lift)
        self._each(community.controllers, self._controller)
        self._each(community.cameras, self._camera)
        world = World(community.seed, self._clock, community.holders, self.handle)
        for plan in community.more:
            self._add(plan.id, plan.build(world, self._wanted.get(plan.id, 0)))
        for edge in community.edges:
            port = self._wanted.get(f"relay/{edge}", 0)
            self._relays[edge] = TcpRelay(*self._broker, port=port)

    def _each(self, plans: tuple[T, ...], build: Callable[[T], None]) -> None:
        for plan in plans:
            build(plan)

    def _add(self, name: str, fixture: Fixture) -> None:
        self._peers[name] = fixture.peer
        self._handles.update(fixture.handles)
        self._lives += fixture.life

    def _gateway(self, plan: GatewayPlan) -> None:
        seed = self.community.seed
        models = {
            meter: MeterModel(seed, meter.device, LoadPlan(seed, meter.device, meter.load),
                              phases=meter.phases)
            for meter in plan.meters
        }  # fmt: skip
        line = {meter.address: model for meter, model in models.items()}
        peer = MeterGateway(self._clock, line, port=self._wanted.get(plan.id, 0))
        handles = {
            meter.device: DltMeterHandle(meter.device, self._clock, peer.listener, model)
            for meter, model in models.items()
        }
        self._add(plan.id, Fixture(peer, handles))

    def _lift(self, plan: LiftPlan) -> None:
        model = plan.model(self.community.seed, self._clock.now_ms())
        peer = ElevatorPeer(self._clock, model, port=self._wanted.get(plan.device, 0))
        handle = ModbusLiftHandle(plan.device, self._clock, peer)
        self._add(plan.device, Fixture(peer, {plan.device: handle}))

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
        index = self.community.controllers.index(plan) + 1
        identity = Identity(plan.id, f"192.0.2.{10 + index}", f"02:00:5e:10:00:{index:02x}")
        peer = DoorPeer(
            self._clock,
            controller,
            identity=identity,
            username=plan.username,
            password=plan.password,
            port=self._wanted.get(plan.id, 0),
        )
        handles = {
            door.device: IsapiDoorHandle(door.device, self._clock, peer, door.number)
            for door in plan.doors
        }
        self._add(plan.id, Fixture(peer, handles))

    def _camera(self, plan: CameraPlan) -> None:
        scene = Scene(self.community.seed, plan.device, plan.kind, plan.label)
        peer = CameraPeer(self._clock, scene, port=self._wanted.get(plan.device, 0))
        handle = CameraHandle(plan.device, self._clock, peer)
        self._add(plan.device, Fixture(peer, {plan.device: handle}))


def _find(what: str, known: Mapping[str, T], name: str) -> T:
    try:
        return known[name]
    except KeyError:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        raise ContractError(f"no {what} is called {name!r}", field="target", remedy=hint) from None


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a simulated life ended", error=repr(error))
