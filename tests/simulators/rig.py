"""A whole community in one process: real peers, real drivers, derivations, the rule engine.

The edges' runners write straight into a log (no broker, no journal between), which the engine
folds as it grows, with a tick for each second of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from core.contracts.alerts import RuleSide
from core.contracts.batch import Batch
from core.contracts.codec import make_event
from core.contracts.events import KINDS, Lane
from core.contracts.log import Activation, ActivationEntry, BatchEntry, EventEntry, TickEntry
from core.contracts.outputs import AlertOutput
from core.runtime.clock import ScaledClock
from edge import config, reload
from edge.driver import Driver
from edge.drivers.camera.driver import CameraDriver
from edge.drivers.camera.settings import CameraSettings
from edge.runner import Runner
from rules.builtin import builtin
from rules.engine import Engine
from simulators.community import generate
from simulators.devices.onvif import OnvifDevice
from simulators.installation import Community
from simulators.player import Player
from simulators.scenario import Scenario, check_targets
from simulators.simulation import Simulation
from tests.simulators.helpers import at_hour

EPOCH = "0d7e6c9e-epoch-1"
#: Flats with a meter on each line.
_FLATS = 2
#: Within so many real seconds every device must have answered.
_READY_S = 25
#: How long (real) a camera learns its empty scene, in which a car that comes is a part of it, and
#: so many pictures more: the first of two may have been on its way before.
_LEARN_S = CameraSettings.model_fields["warm_up_s"].default
_PICTURES_MORE = 2


def fewer_meters(community: Community) -> Community:
    """Return a community with a few flats only: at speed a line carries few meters."""
    gateways = tuple(
        replace(plan, meters=tuple(
            [m for m in plan.meters if m.phases == 1][:_FLATS]
            + [m for m in plan.meters if m.phases == 3]
        ))
        for plan in community.gateways
    )  # fmt: skip
    gone = {meter.device for plan in community.gateways for meter in plan.meters}
    gone -= {meter.device for plan in gateways for meter in plan.meters}
    devices = [d for d in community.topology["devices"] if d["id"] not in gone]
    return replace(
        community, gateways=gateways, topology={**community.topology, "devices": devices}
    )


class Log:
    """The log and its fold."""

    def __init__(self, topology: dict[str, Any], clock: ScaledClock) -> None:
        self.clock = clock
        self.engine = Engine()
        self.alerts: dict[str, RuleSide] = {}
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.times: list[int] = []
        self._pos = 0
        self._at = 0
        self._seqs: dict[tuple[str, str], int] = {}
        self._sites = {edge["id"]: edge["site"] for edge in topology["edges"]}
        self._fold(lambda pos, at: ActivationEntry(pos, at, Activation(topology, builtin())))

    def _fold(self, make: Callable[[int, int], Any]) -> None:
        self._pos += 1
        self._at = max(self._at, self.clock.now_ms())
        for output in self.engine.apply(make(self._pos, self._at)):
            if isinstance(output, AlertOutput):
                self.alerts[output.alert.id] = output.alert

    def tick(self) -> None:
        self._fold(TickEntry)

    def control(self, edge: str, kind: str, **data: Any) -> None:
        """Write what a collector notes about an edge."""
        now = self.clock.now_ms()
        event = make_event(kind, device=edge, at=now, seen=now, data=data)
        self._fold(lambda pos, at: EventEntry(pos, at, self._sites[edge], edge, pos, event))

    def plain(self, site: str, device: str, kind: str, **data: Any) -> None:
        """Write what a device without an edge says."""
        now = self.clock.now_ms()
        event = make_event(kind, device=device, at=now, seen=now, data=data)
        self._fold(lambda pos, at: EventEntry(pos, at, site, None, pos, event))

    def batch(self, edge: str, kind: str, device: str, data: dict[str, Any], at: int) -> None:
        """Write one event of an edge in a batch of its own."""
        event = make_event(kind, device=device, at=at, seen=self.clock.now_ms(), data=data)
        self.events.append((kind, device, data))
        self.times.append(at)
        lane = KINDS[kind].lane
        seq = self._seqs[edge, lane] = self._seqs.get((edge, lane), 0) + 1
        self._fold(
            lambda pos, now: BatchEntry(
                pos, now, self._sites[edge],
                Batch(edge, EPOCH, Lane(lane), seq, 1, now, [(0, event)], []),
            )
        )  # fmt: skip


class EdgeSink:
    """Where the runner of one edge puts what it has to tell."""

    def __init__(self, edge: str, log: Log) -> None:
        self._edge = edge
        self._log = log

    async def emit(
        self, kind: str, device: str, data: dict[str, Any], at: int | None = None,
        id: str | None = None,
    ) -> None:  # fmt: skip
        del id
        moment = self._log.clock.now_ms() if at is None else at
        self._log.batch(self._edge, kind, device, data, moment)

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Take a picture, which no rule looks at."""


class Rig:
    """The community with its four edges; ``play`` plays a scenario on it."""

    def __init__(
        self, folder: Path, *, speed: float, seed: int = 1, hour: float = 10,
        edges: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """``edges`` are those that run (default: all)."""
        self.community = fewer_meters(generate(seed))
        # What speaks for itself, beside the simulated devices, for rules about such devices.
        topology = {**self.community.topology}
        name = {"zh": "独立设备", "en": "speaks for itself"}
        topology["devices"] = [
            *topology["devices"],
            {"id": "plain-lift", "family": "elevator", "name": name, "node": "jinxiu-b1-u1"},
            {"id": "plain-near", "family": "elevator", "name": name, "node": "jinxiu-b1-u2"},
            *(
                {"id": f"plain-sensor-{n}", "family": "sensor", "name": name, "node": "jinxiu",
                 "expect_s": 30}
                for n in (1, 2)
            ),
        ]  # fmt: skip
        self.clock = ScaledClock.starting_now(speed, at_hour(hour))
        self.log = Log(topology, self.clock)
        self.simulation = Simulation(self.community, self.clock, broker=("127.0.0.1", 1))
        self.runners: dict[str, Runner] = {}
        self._drivers: list[Sequence[Driver]] = []
        self._edges = edges or tuple(self.community.edges)
        self._folder = folder
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Rig:
        await self.simulation.start()
        for name, content in self.community.files().items():
            (self._folder / name).write_bytes(content)
        for index, edge in enumerate(self._edges):
            raw = self.community.edge_file(edge, self.simulation.ports())
            data = self._folder / edge
            data.mkdir()
            checked = config.from_raw(raw, edge, self._folder)
            built = reload.build(checked, self.clock, data)
            self._drivers.append(built.drivers)
            self.runners[edge] = Runner(
                built.drivers, EdgeSink(edge, self.log), self.clock, edge=edge,
                random=Random(index), derivations=built.derivations,
            )  # fmt: skip
            self.log.control(edge, "edge.online", epoch=EPOCH, backlog=0, through={})
        self._ticking = asyncio.create_task(self._tick())
        await asyncio.gather(*(runner.start() for runner in self.runners.values()))
        await self._ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(runner.stop() for runner in self.runners.values()))
        if self._ticking is not None:
            self._ticking.cancel()
        await self.simulation.stop()

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(1)
            self.log.tick()

    async def _ready(self) -> None:
        """Wait until every device has answered, and every alert stream is listened to."""
        deadline = asyncio.get_running_loop().time() + _READY_S
        while late := self._not_heard():
            assert asyncio.get_running_loop().time() < deadline, late
            await asyncio.sleep(0.1)
        await self._scenes_known(deadline)

    async def _scenes_known(self, deadline: float) -> None:
        """Wait until every camera has learned what its scene looks like when empty."""
        cameras = [d for drivers in self._drivers for d in drivers if isinstance(d, CameraDriver)]
        if not cameras:
            return
        await asyncio.sleep(_LEARN_S)
        enough = [driver.health()["frames"] + _PICTURES_MORE for driver in cameras]
        while any(d.health()["frames"] < n for d, n in zip(cameras, enough, strict=True)):
            assert asyncio.get_running_loop().time() < deadline, "pictures do not come"
            await asyncio.sleep(0.1)

    def _not_heard(self) -> list[str]:
        late = [
            device
            for runner in self.runners.values()
            for device, condition in runner.health().items()
            if not condition.online
        ]
        community = self.community
        plans = (*community.controllers, *community.more)
        read = {plan.id for plan in plans if plan.edge in self._edges}
        for name, peer in self.simulation.peers().items():
            if name not in read:
                continue
            streams = getattr(getattr(peer, "peer", peer), "streams", None)
            deaf = streams == 0 or (isinstance(peer, OnvifDevice) and not peer.board.points)
            late += [name] if deaf else []
        return late

    async def play(self, scenario: Scenario, beside: Callable[[Rig], Awaitable[None]]) -> Player:
        """Play a scenario to its end, and do something else beside it."""
        check_targets(scenario, self.community)
        player = Player(self.simulation, scenario, self.clock, seed=1)
        await asyncio.gather(player.run(), beside(self))
        return player

    async def until(self, true: Callable[[], bool], within_s: float) -> None:
        """Wait for an outcome for so many real seconds."""
        deadline = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < deadline:
            if true():
                return
            await asyncio.sleep(0.1)

    def raised(self, rule: str, about: str | None = None) -> list[RuleSide]:
        """Return the alerts of a rule (about a device or edge), whether they stand or not."""
        return [
            alert
            for alert in self.log.alerts.values()
            if alert.rule == rule and about in (None, alert.key.split("/")[0])
        ]
