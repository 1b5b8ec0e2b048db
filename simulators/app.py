"""The composition root of the simulators: a community, its peers, and a scenario played on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import structlog

from core.contracts.errors import ContractError, SettingsError
from core.runtime.clock import Clock
from core.runtime.metrics import Source
from core.runtime.settings import Settings
from simulators import files, metrics, scenario
from simulators.actions import action, arguments
from simulators.community import generate
from simulators.control import ControlPeer
from simulators.player import Player, StepRun
from simulators.scenario import Scenario
from simulators.simulation import Simulation

SIMULATION_FILE = "simulation.json"
TOPOLOGY_FILE = "topology.yaml"
STEPS_FILE = "steps.jsonl"
MEMORY_FILE = "memory.json"
_log = structlog.get_logger()


class SimulatorsApp:
    """Starts everything and writes what the other processes need into one folder.

    ``topology.yaml``, ``edges/<edge>.yaml``, ``steps.jsonl`` (what the scenario did) and, last,
    ``simulation.json``: its presence says that every peer listens; a stop removes it. The
    default folder is ``simulation`` in the data folder. ``memory.json`` keeps what the next run
    goes on from: the ports, where they are free then, and the meters' registers.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        scenario: str | Path | None = None,
        seed: int | None = None,
        broker_host: str | None = None,
        broker_port: int | None = None,
        folder: Path | None = None,
        meter_period_s: float = 10,
    ) -> None:
        self.folder = folder or settings.data / "simulation"
        self._clock = clock
        self._scenario_name = settings.run.scenario if scenario is None else scenario
        self._seed = settings.run.seed if seed is None else seed
        self._broker = (broker_host or settings.broker.host, broker_port or settings.broker.port)
        self._meter_period_s = meter_period_s
        self._simulation: Simulation | None = None
        self._player: Player | None = None
        self._playing: asyncio.Task[None] | None = None
        self._stack = contextlib.AsyncExitStack()
        self._steps_file: TextIO | None = None
        self._control: ControlPeer | None = None
        self._started_ms = 0
        self._outcomes: Counter[str] = Counter()

    @property
    def simulation(self) -> Simulation:
        """Return the running peers."""
        if self._simulation is None:
            raise RuntimeError("the simulators are not started")
        return self._simulation

    @property
    def steps(self) -> list[StepRun]:
        """Return the latest steps that were run."""
        return [] if self._player is None else list(self._player.steps)

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the simulators run."""
        devices = len(self.simulation.community.topology["devices"])
        return (lambda: metrics.collect(devices, self._outcomes),)

    @property
    def path(self) -> Path:
        """Return the path of simulation.json."""
        return self.folder / SIMULATION_FILE

    async def start(self) -> None:
        """Check the scenario, start every peer, write the files, and play.

        Raises :class:`SettingsError` for a scenario that cannot be played.
        """
        chosen = scenario.load(self._scenario_name)
        community = generate(self._seed, meter_period_s=self._meter_period_s)
        scenario.check_targets(chosen, community)
        earlier = await asyncio.to_thread(self._remember)
        ports = {k: v for k, v in earlier.get("ports", {}).items() if isinstance(v, int)}
        async with contextlib.AsyncExitStack() as stack:
            simulation = Simulation(community, self._clock, broker=self._broker, ports=ports)
            await simulation.start()
            stack.push_async_callback(simulation.stop)
            if earlier.get("seed") == self._seed:
                simulation.carry_meters(earlier.get("meter_offsets_wh", {}))
            self._simulation = simulation
            self._control = await self._start_control(stack, ports.get("control", 0))
            self._started_ms = self._clock.now_ms()
            await asyncio.to_thread(self._write_files, chosen)
            self._steps_file = (self.folder / STEPS_FILE).open("w", encoding="utf-8")
            stack.callback(self._steps_file.close)
            self._start_playing(chosen, simulation)
            stack.push_async_callback(self._stop_playing)
            await asyncio.to_thread(self._write_simulation)
            self._stack = stack.pop_all()
        _log.info("simulators started", scenario=chosen.name, seed=self._seed,
                  devices=len(community.topology["devices"]), folder=str(self.folder))  # fmt: skip

    async def stop(self) -> None:
        """Stop playing and drop every connection."""
        if self._simulation is not None:
            await asyncio.to_thread(self._withdraw)
        await self._stack.aclose()
        self._player = self._simulation = None

    async def perform(self, name: str, target: str, **given: Any) -> StepRun:
        """Do one action now; raise :class:`ContractError` when it cannot be done."""
        if self._player is None:
            raise RuntimeError("the simulators are not started")
        arguments(action(name), given)
        step = await self._player.perform(name, target, given)
        if step.outcome == "refused":
            raise ContractError(step.reason, field=name)
        return step

    # -- parts -------------------------------------------------------------------------------

    async def _start_control(self, stack: contextlib.AsyncExitStack, port: int) -> ControlPeer:
        perform: Callable[..., Awaitable[StepRun]] = self.perform
        control = ControlPeer(
            perform,
            lambda: self.steps,
            self.simulation.states,
            token=secrets.token_urlsafe(24),
            port=port,
        )
        await control.start()
        stack.push_async_callback(control.stop)
        return control

    def _start_playing(self, chosen: Scenario, simulation: Simulation) -> None:
        player = Player(simulation, chosen, self._clock, seed=self._seed, noted=self._note)
        self._player = player
        self._playing = asyncio.get_running_loop().create_task(player.run())
        self._playing.add_done_callback(_report_end)

    async def _stop_playing(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)

    def _note(self, step: StepRun) -> None:
        self._outcomes[step.outcome] += 1
        if self._steps_file is not None and not self._steps_file.closed:
            self._steps_file.write(json.dumps(asdict(step), ensure_ascii=False) + "\n")
            self._steps_file.flush()
        if step.action in ("normal_load", "somebody_home", "close_relay"):
            # The registers are off their plan from here on; a crash must not set them back.
            self._write_memory()

    # -- files -------------------------------------------------------------------------------

    def _remember(self) -> dict[str, Any]:
        """Read what the folder's last run left, and take back its sign that all is ready."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.folder}: {error.strerror}") from None
        return files.read_json(self.folder / MEMORY_FILE)

    def _withdraw(self) -> None:
        self._write_memory()
        self.path.unlink(missing_ok=True)

    def _write_files(self, chosen: Scenario) -> None:
        community = self.simulation.community
        files.write_yaml(self.folder / TOPOLOGY_FILE, community.topology)
        ports = self.simulation.ports()
        folder = self.folder / "edges"
        for edge in community.edges:
            # An edge's file holds the passwords of its devices.
            files.write_yaml(
                folder / f"{edge}.yaml", community.edge_file(edge, ports), private=True
            )
        for name, content in community.files().items():
            files.write_text(folder / name, content, private=True)
        for stale in folder.glob("*.yaml"):
            if stale.stem not in community.edges:
                stale.unlink()
        self._scenario_name = chosen.name

    def _ports(self) -> dict[str, int]:
        ports = self.simulation.ports()
        if self._control is not None:
            ports["control"] = self._control.port
        return ports

    def _write_memory(self) -> None:
        memory = {
            "seed": self._seed,
            "ports": self._ports(),
            "meter_offsets_wh": self.simulation.meter_offsets(),
        }
        files.write_json(self.folder / MEMORY_FILE, memory)

    def _write_simulation(self) -> None:
        simulation, control = self.simulation, self._control
        self._write_memory()
        host, port = self._broker
        files.write_json(
            self.path,
            {
                "version": 1,
                "scenario": str(self._scenario_name),
                "seed": self._seed,
                "started_at": self._started_ms,
                "topology": TOPOLOGY_FILE,
                "edges": {edge: f"edges/{edge}.yaml" for edge in simulation.community.edges},
                "broker": {"host": host, "port": port},
                "relays": simulation.relay_ports(),
                "control": {
                    "port": control.port if control else None,
                    "token": control.token if control else None,
                },
                "ports": self._ports(),
            },
            private=True,
        )


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the scenario stopped", error=repr(error))
