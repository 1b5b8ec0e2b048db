"""What a scenario can make happen: the actions, their arguments, and what undoes them.

An action on a device is a coroutine of its handle (``simulators.handles``) with the same name:
it can be done to every device whose handle has it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core.contracts.errors import ContractError
from simulators import arguments as given_as
from simulators.arguments import Arguments
from simulators.handles.base import Handle
from simulators.simulation import Simulation

#: The one target that is no device.
EDGE = "edge"


@dataclass(frozen=True, slots=True)
class Action:
    """One action; ``target`` says in a word what it is for, ``undo`` which action ends it."""

    name: str
    target: str
    arguments: type[Arguments] = Arguments
    undo: str | None = None

    def fits(self, handle: type[Handle]) -> bool:
        """Tell whether it can be done to devices of a kind."""
        return self.target != EDGE and hasattr(handle, self.name)

    async def run(self, simulation: Simulation, target: str, given: Arguments) -> None:
        """Do it; raise :class:`ContractError` when it cannot be done."""
        if self.target == EDGE:
            relay = simulation.relay(target)
            await (relay.cut() if self.name == "cut_edge_network" else relay.start())
            return
        handle = simulation.handle(target)
        if not self.fits(type(handle)):
            known = simulation.community.handles
            able = [name for name, kind in known.items() if self.fits(kind)]
            raise ContractError(
                f"no {self.target} is called {target!r}", field="target",
                remedy=nearest(target, sorted(able)),
            )  # fmt: skip
        await getattr(handle, self.name)(given)


def _table() -> dict[str, Action]:
    def pair(
        target: str, name: str, undo: str, arguments: type[Arguments] = Arguments
    ) -> tuple[Action, Action]:
        return Action(name, target, arguments, undo), Action(undo, target)

    device, lift, door, camera, meter = "device", "elevator", "door", "camera", "meter"
    actions = (
        *pair(device, "silence", "resume"),
        *pair(device, "cut_gateway", "restore_gateway"),
        *pair(device, "fault_line", "clear_line", given_as.LineArguments),
        *pair(device, "drift_clock", "correct_clock", given_as.DriftArguments),
        *pair(device, "stick_register", "unstick_register"),
        *pair(device, "repeat_serials", "tell_once", given_as.RepeatArguments),
        *pair(device, "tamper_device", "end_tamper"),
        *pair(device, "fail_supply", "restore_supply"),
        *pair(device, "weaken_battery", "change_battery"),
        Action("drop_connections", device),
        Action("reboot", device, given_as.RebootArguments),
        *pair(lift, "trap", "free", given_as.TrapArguments),
        *pair(lift, "lift_fault", "clear_lift_fault", given_as.FaultArguments),
        *pair(lift, "lift_out_of_service", "lift_in_service", given_as.ModeArguments),
        Action("press_alarm", lift, given_as.PressArguments),
        Action("lift_access", "lift access", given_as.LiftAccessArguments),
        Action("force_door", door, undo="close_door"),
        Action("hold_door", door, undo="close_door"),
        Action("close_door", door),
        Action("deny_access", door, given_as.DenyArguments),
        Action("grant_access", door, given_as.GrantArguments),
        *pair(door, "fewer_people", "usual_people", given_as.ShareArguments),
        Action("crowd", door, given_as.CrowdArguments),
        Action("report_door", door, given_as.ReportArguments),
        *pair(door, "fail_door", "mend_door"),
        Action("lose_serials", door, given_as.LoseArguments),
        Action("reset_serials", door),
        Action("vehicle", "barrier", given_as.VehicleArguments),
        *pair(camera, "block_lane", "clear_lane"),
        *pair(camera, "cover_camera", "uncover_camera", given_as.CoverArguments),
        *pair(camera, "freeze_picture", "thaw_picture"),
        *pair(camera, "stall_video", "resume_video"),
        *pair(camera, "bring_e_bike", "take_away"),
        Action("leave_bag", camera, undo="take_away"),
        Action("walk_in", camera, given_as.WalkArguments),
        Action("walk_out", camera, given_as.WalkArguments),
        Action("walk_through", camera, given_as.WalkThroughArguments),
        *pair(camera, "camera_event", "end_camera_event", given_as.SeenArguments),
        *pair(camera, "disarm_camera", "arm_camera", given_as.ArmArguments),
        *pair(meter, "overload_meter", "normal_load", given_as.OverloadArguments),
        *pair(meter, "nobody_home", "somebody_home", given_as.DrawArguments),
        *pair(meter, "open_relay", "close_relay"),
        *pair(meter, "sag_voltage", "restore_voltage", given_as.SagArguments),
        *pair(meter, "lose_phase", "restore_phase", given_as.PhaseArguments),
        *pair(meter, "reverse_current", "straighten_current", given_as.PhaseArguments),
        *pair(meter, "lose_current", "restore_current", given_as.PhaseArguments),
        Action("misread_register", meter, given_as.MisreadArguments),
        Action("open_cover", meter, given_as.CoverOpenArguments),
        Action("replace_meter", meter),
        Action("turn_register_back", meter, given_as.RegisterArguments),
        Action("roll_over_register", meter, given_as.RolloverArguments),
        *pair(meter, "leak", "stop_leak", given_as.LeakArguments),
        *pair(meter, "close_valve", "open_valve"),
        *pair("sensor", "break_probe", "mend_probe"),
        *pair("fire panel", "fire_alarm", "end_fire_alarm", given_as.FireArguments),
        *pair("fire panel", "fire_fault", "end_fire_fault"),
        *pair(EDGE, "cut_edge_network", "restore_edge_network"),
    )
    return {action.name: action for action in actions}


ACTIONS: dict[str, Action] = _table()


def action(name: str) -> Action:
    """Return an action; raise :class:`ContractError` that names the nearest known one."""
    try:
        return ACTIONS[name]
    except KeyError:
        raise ContractError(
            f"unknown action {name!r}", field="do", remedy=nearest(name, list(ACTIONS))
        ) from None


def arguments(chosen: Action, raw: dict[str, Any]) -> Arguments:
    """Check an action's arguments; raise :class:`ContractError` that names the bad one."""
    try:
        return chosen.arguments.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = list(chosen.arguments.model_fields)
            remedy = nearest(name, known) if known else f"{chosen.name} has no arguments"
            raise ContractError("unknown argument", field=f"with.{name}", remedy=remedy) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise ContractError(reason, field=f"with.{name}") from None


def nearest(name: str, known: list[str]) -> str:
    """Return a hint at the nearest known name, or at all of them."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
