"""Plays a scenario on the run's clock, round after round, and keeps what it did."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import structlog

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.actions import ACTIONS, Action, action, arguments
from simulators.scenario import Scenario, Selector, Step, candidates
from simulators.seeds import stream
from simulators.simulation import Simulation

#: Steps that are kept in memory; the file has all of a run.
KEPT_STEPS = 1_000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step that was run: when (run time, ms), what, on what, and how it went."""

    at: int
    action: str
    target: str
    arguments: dict[str, Any]
    round: int | None
    """None: asked for through the control interface."""
    outcome: Literal["done", "refused"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """One thing to do at a moment (run time, ms); ``ends`` undoes an earlier step."""

    at: int
    round: int
    action: Action
    step: Step
    target: str
    arguments: dict[str, Any]
    ends: bool = False


class Player:
    """Plays one scenario on one simulation."""

    def __init__(
        self,
        simulation: Simulation,
        scenario: Scenario,
        clock: Clock,
        *,
        seed: int,
        noted: Callable[[StepRun], None] | None = None,
    ) -> None:
        self.steps: deque[StepRun] = deque(maxlen=KEPT_STEPS)
        self._simulation = simulation
        self._scenario = scenario
        self._clock = clock
        self._seed = seed
        self._noted = noted
        self._disturbed: dict[str, int] = {}
        """Target -> until when a step of the timeline has it (run time, ms)."""
        self._running: set[asyncio.Task[StepRun]] = set()

    def plan(self, start_ms: int, number: int) -> list[Planned]:
        """Return a round's steps in order, with their ends; equal arguments, equal plans."""
        planned: list[Planned] = []
        taken = dict(self._disturbed)
        for index, step in enumerate(self._scenario.steps):
            random = stream(self._seed, self._scenario.name, number, index)
            wanted = step.rounds == "all" or (step.rounds == "first") == (number == 0)
            if random.random() > step.chance or not wanted:
                continue
            at = start_ms + round((step.at + random.uniform(0, step.jitter)) * 1000)
            chosen = action(step.do)
            target = self._target(step, at, taken, random.random())
            if target is None:
                _log.info("scenario step left out", step=index, round=number, reason="all busy")
                continue
            planned.append(Planned(at, number, chosen, step, target, step.arguments))
            if step.lasts is not None and chosen.undo is not None:
                until = at + round(step.lasts * 1000)
                taken[target] = until
                undo = ACTIONS[chosen.undo]
                planned.append(Planned(until, number, undo, step, target, {}, ends=True))
        self._disturbed = {name: until for name, until in taken.items() if until > start_ms}
        return sorted(planned, key=lambda item: item.at)

    async def run(self) -> None:
        """Play until the timeline is over, or for ever where it repeats."""
        try:
            await self._play(self._clock.now_ms())
        finally:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def perform(
        self, name: str, target: str, given: dict[str, Any], number: int | None = None
    ) -> StepRun:
        """Do one thing now; a refusal is returned as such, never raised."""
        at = self._clock.now_ms()
        outcome: Literal["done", "refused"] = "done"
        reason = ""
        try:
            chosen = action(name)
            await chosen.run(self._simulation, target, arguments(chosen, given))
        except (ContractError, OSError) as error:
            outcome, reason = "refused", str(error)
        step = StepRun(at, name, target, given, number, outcome, reason)
        self.steps.append(step)
        _log.info(
            "scenario step", action=name, target=target, round=number, outcome=outcome,
            reason=reason or None, at=at,
        )  # fmt: skip
        if self._noted is not None:
            self._noted(step)
        return step

    async def _play(self, start_ms: int) -> None:
        order = count()
        number = 0
        queue: list[tuple[int, int, Planned]] = []
        while True:
            for item in self.plan(start_ms, number):
                heapq.heappush(queue, (item.at, next(order), item))
            every = self._scenario.repeat_every
            next_round = None if every is None else start_ms + round(every * 1000)
            while queue and (next_round is None or queue[0][0] < next_round):
                item = heapq.heappop(queue)[2]
                await self._until(item.at)
                self._spawn(item)
            if next_round is None:
                await asyncio.gather(*self._running)
                return
            await self._until(next_round)
            start_ms, number = next_round, number + 1

    async def _until(self, at_ms: int) -> None:
        while (left := at_ms - self._clock.now_ms()) > 0:
            await self._clock.sleep(left / 1000)

    def _spawn(self, item: Planned) -> None:
        # A step may itself take time; the timeline goes on.
        work = self.perform(item.action.name, item.target, item.arguments, item.round)
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _target(self, step: Step, at: int, taken: dict[str, int], draw: float) -> str | None:
        if not isinstance(step.target, Selector):
            return step.target
        found = candidates(step, self._simulation.community)
        if step.target.pick == "first":
            return found[0]
        if isinstance(step.target.pick, int):
            return found[min(step.target.pick, len(found)) - 1]
        free = [name for name in found if taken.get(name, 0) < at]
        return free[int(draw * len(free))] if free else None
