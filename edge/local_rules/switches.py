"""The outputs of local rules: what is switched on while an alert asks for it, and off after.

Each output has one task that brings the device to where the alerts want it, and tries again
while the device does not do it. What was done is remembered, so that a restart neither forgets
a siren that has to be switched off nor sounds it again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import structlog

from core.contracts.colours import Colour
from core.contracts.commands import Action, Outcome
from core.contracts.errors import DeviceError
from edge.backoff import Backoff
from edge.desk import describe
from edge.driver import CommandRefusedError, Params
from edge.local_rules.settings import OutputSettings
from edge.local_rules.state import Held, SwitchState

log = structlog.get_logger(__name__)

Act = Callable[[str, Action, Params], Awaitable[Params]]
#: Takes the data of an ``edge.command``, to be journalled.
Audit = Callable[[dict[str, Any]], None]
_ACT_S = 10.0
_CAP_S = 30.0
_LEAST_S = 0.1


def name_of(settings: OutputSettings) -> str:
    """Return the name under which an output is remembered."""
    return f"{settings.do} {settings.device} {sorted(settings.params.items())}"


class Switch:
    """One output; used from one event loop."""

    def __init__(
        self, settings: OutputSettings, state: SwitchState, act: Act, audit: Audit,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.settings = settings
        self.state = state
        self._act = act
        self._audit = audit
        self._on_change = on_change
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    def start(self) -> None:
        """Begin to bring the device to where the alerts want it."""
        self._news.set()
        self._task = asyncio.create_task(self._run(), name=f"output {self.settings.device}")

    async def stop(self) -> None:
        """Stop; what is not done is remembered."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def began(self, alert: str, held: Held) -> bool:
        """An alert asks for it, if it is meant; return whether it is."""
        if not self.settings.when.fits(held.rule, Colour(held.colour), held.subject):
            return False
        if alert not in self.state.holders:
            self.state.holders.append(alert)
            self.state.asked += 1
            self.state.rule = held.rule
            self._news.set()
        return True

    def over(self, alert: str) -> bool:
        """An alert is over; return whether it had asked."""
        if alert not in self.state.holders:
            return False
        self.state.holders.remove(alert)
        self._news.set()
        return True

    async def release(self) -> None:
        """Let go of every alert and switch off once; for an output that is taken out."""
        await self.stop()
        self.state.holders.clear()
        if (task := self._next()) is not None:
            await self._try(*task)

    # -- the task -------------------------------------------------------------------------

    def _next(self) -> tuple[Action, Params, SwitchState] | None:
        """Return what is to be done now, and the state after it."""
        state, settings = self.state, self.settings
        action = Action(settings.do)
        if action is not Action.RELAY_OUTPUT:
            if state.asked > state.done:
                return action, settings.params, SwitchState(done=state.asked, on=False)
            return None
        wanted = bool(state.holders)
        # One that ends by itself is sounded again for each new alert.
        again = "for_s" in settings.params and state.asked > state.done
        if wanted and (not state.on or again):
            return action, {"on": True, **settings.params}, SwitchState(done=state.asked, on=True)
        if not wanted and state.on:
            off = {name: value for name, value in settings.params.items() if name != "for_s"}
            return action, {**off, "on": False}, SwitchState(done=state.asked, on=False)
        return None

    async def _run(self) -> None:
        backoff = Backoff(Random(), cap_s=_CAP_S)  # noqa: S311 (jitter, not a secret)
        while True:
            await self._news.wait()
            self._news.clear()
            while (task := self._next()) is not None:
                if await self._try(*task):
                    backoff.reset()
                    continue
                # Not before a moment has passed, but at once when another alert asks then.
                await asyncio.sleep(_LEAST_S)
                try:
                    async with asyncio.timeout(backoff.next()):
                        await self._news.wait()
                except TimeoutError:
                    continue
                self._news.clear()

    async def _try(self, action: Action, params: Params, after: SwitchState) -> bool:
        once = action is not Action.RELAY_OUTPUT
        if once:
            # Not switched twice, whatever happens in between: noted before it is done.
            self.state.done = after.done
            await self._on_change()
        outcome, why = await self._do(action, params)
        good = outcome is Outcome.DONE
        if good:
            self.state.done, self.state.on = after.done, after.on
            await self._on_change()
        if good or once or self.failures == 0:
            self._tell(action, outcome, why)
        self.failures = 0 if good else self.failures + 1
        return good or once

    async def _do(self, action: Action, params: Params) -> tuple[Outcome, str]:
        try:
            async with asyncio.timeout(_ACT_S):
                await self._act(self.settings.device, action, params)
        except CommandRefusedError as error:
            return Outcome.REFUSED, str(error)
        except (DeviceError, OSError) as error:
            return Outcome.FAILED, describe(error)
        except Exception as error:
            log.exception("a driver crashed at a local rule's output", output=self.settings.device)
            return Outcome.FAILED, f"an error of the driver: {error!r}"
        return Outcome.DONE, ""

    def _tell(self, action: Action, outcome: Outcome, why: str) -> None:
        data: dict[str, Any] = {
            "command": str(uuid.uuid4()), "action": action.value, "outcome": outcome.value,
            "target": self.settings.device, "by": f"rule {self.state.rule}", "local": True,
        }  # fmt: skip
        self._audit(data | ({"reason": why[:200]} if why else {}))
