"""What a scenario can make happen: the actions, their arguments, and what undoes them."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.contracts.errors import ContractError
from simulators.devices.elevator_model import ServiceMode
from simulators.devices.isapi import Code
from simulators.devices.scene import Disturbance
from simulators.durations import Duration
from simulators.simulation import Simulation


class Target(StrEnum):
    """What an action can be done to."""

    ELEVATOR = "elevator"
    DOOR = "door"
    CAMERA = "camera"
    METER = "meter"
    DEVICE = "device"
    """A device of any family."""
    EDGE = "edge"


class Arguments(BaseModel):
    """An action's arguments; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrapArguments(Arguments):
    """``code`` is the fault that the lift reports, 0 for none."""

    alarm_after: Duration = 8
    code: Annotated[int, Field(ge=0, le=99)] = 4


class FaultArguments(Arguments):
    """``code`` is the lift's fault code, after GB/T 24476 as implementations number it."""

    code: Annotated[int, Field(ge=1, le=99)] = 2


class ModeArguments(Arguments):
    """The service mode that the lift goes into."""

    mode: Literal[
        "stopped", "inspection", "fire_return", "firefighter", "emergency_power", "earthquake"
    ] = "inspection"


class DenyArguments(Arguments):
    """Why and how often somebody is refused."""

    reason: Literal["no_right", "wrong_period", "expired", "invalid", "face_failed"] = "no_right"
    times: Annotated[int, Field(ge=1, le=50)] = 1


class ReportArguments(Arguments):
    """The event that the door controller reports."""

    event: Literal[
        "duress", "blacklisted", "controller_tamper", "remote_open", "exit_button",
        "fire_release_on", "fire_release_off",
    ]  # fmt: skip


class CoverArguments(Arguments):
    """What happens to the camera."""

    how: Literal["covered", "dark", "defocused", "turned", "frozen"] = "covered"


class OverloadArguments(Arguments):
    """The power drawn, as a multiple of the meter's limit."""

    factor: Annotated[float, Field(gt=1, le=5)] = 1.3


class SagArguments(Arguments):
    """The supply voltage, as a share of the usual."""

    factor: Annotated[float, Field(ge=0, le=1.5)] = 0.8


Run = Callable[[Simulation, str, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Action:
    """One action; ``undo`` names the action that ends it, where there is one."""

    name: str
    target: Target
    run: Run
    arguments: type[Arguments] = Arguments
    undo: str | None = None


async def _trap(sim: Simulation, target: str, given: TrapArguments) -> None:
    model = sim.lift(target).model
    model.trap(sim.now_ms(), alarm_after_s=given.alarm_after, code=given.code)


async def _free(sim: Simulation, target: str, _: Arguments) -> None:
    sim.lift(target).model.free(sim.now_ms())


async def _lift_fault(sim: Simulation, target: str, given: FaultArguments) -> None:
    sim.lift(target).model.fault(sim.now_ms(), given.code)


async def _clear_lift_fault(sim: Simulation, target: str, _: Arguments) -> None:
    sim.lift(target).model.clear_faults(sim.now_ms())


async def _lift_out_of_service(sim: Simulation, target: str, given: ModeArguments) -> None:
    sim.lift(target).model.set_mode(sim.now_ms(), ServiceMode[given.mode.upper()])


async def _lift_in_service(sim: Simulation, target: str, _: Arguments) -> None:
    sim.lift(target).model.set_mode(sim.now_ms(), ServiceMode.NORMAL)


async def _force_door(sim: Simulation, target: str, _: Arguments) -> None:
    controller, number = sim.door(target)
    await controller.force(number)


async def _hold_door(sim: Simulation, target: str, _: Arguments) -> None:
    controller, number = sim.door(target)
    await controller.hold(number)


async def _close_door(sim: Simulation, target: str, _: Arguments) -> None:
    controller, number = sim.door(target)
    await controller.close(number)


async def _deny_access(sim: Simulation, target: str, given: DenyArguments) -> None:
    controller, number = sim.door(target)
    await controller.deny(number, Code[given.reason.upper()], times=given.times)


async def _report_door(sim: Simulation, target: str, given: ReportArguments) -> None:
    controller, number = sim.door(target)
    await controller.report(number, Code[given.event.upper()])


async def _block_lane(sim: Simulation, target: str, _: Arguments) -> None:
    sim.camera(target).scene.blocked_since_ms = sim.now_ms()


async def _clear_lane(sim: Simulation, target: str, _: Arguments) -> None:
    sim.camera(target).scene.blocked_since_ms = None


async def _cover_camera(sim: Simulation, target: str, given: CoverArguments) -> None:
    sim.camera(target).scene.disturbance = Disturbance(given.how)


async def _uncover_camera(sim: Simulation, target: str, _: Arguments) -> None:
    sim.camera(target).scene.disturbance = Disturbance.NONE


async def _overload_meter(sim: Simulation, target: str, given: OverloadArguments) -> None:
    meter = sim.meter(target)
    meter.set_overload(sim.now_ms(), meter.limit_w * given.factor)


async def _normal_load(sim: Simulation, target: str, _: Arguments) -> None:
    sim.meter(target).set_overload(sim.now_ms(), None)


async def _open_relay(sim: Simulation, target: str, _: Arguments) -> None:
    sim.meter(target).set_relay(sim.now_ms(), opened=True)


async def _close_relay(sim: Simulation, target: str, _: Arguments) -> None:
    sim.meter(target).set_relay(sim.now_ms(), opened=False)


async def _sag_voltage(sim: Simulation, target: str, given: SagArguments) -> None:
    sim.meter(target).set_voltage_factor(given.factor)


async def _restore_voltage(sim: Simulation, target: str, _: Arguments) -> None:
    sim.meter(target).set_voltage_factor(1)


async def _silence(sim: Simulation, target: str, _: Arguments) -> None:
    await sim.silence(target)


async def _resume(sim: Simulation, target: str, _: Arguments) -> None:
    await sim.resume(target)


async def _reconnect(sim: Simulation, target: str, _: Arguments) -> None:
    await sim.drop_connections(target)


async def _cut_edge_network(sim: Simulation, target: str, _: Arguments) -> None:
    await sim.relay(target).cut()


async def _restore_edge_network(sim: Simulation, target: str, _: Arguments) -> None:
    await sim.relay(target).start()


def _table() -> dict[str, Action]:
    lift, door, camera, meter = Target.ELEVATOR, Target.DOOR, Target.CAMERA, Target.METER
    return {
        action.name: action
        for action in (
            Action("trap", lift, _trap, TrapArguments, "free"),
            Action("free", lift, _free),
            Action("lift_fault", lift, _lift_fault, FaultArguments, "clear_lift_fault"),
            Action("clear_lift_fault", lift, _clear_lift_fault),
            Action(
                "lift_out_of_service", lift, _lift_out_of_service, ModeArguments, "lift_in_service"
            ),
            Action("lift_in_service", lift, _lift_in_service),
            Action("force_door", door, _force_door, undo="close_door"),
            Action("hold_door", door, _hold_door, undo="close_door"),
            Action("close_door", door, _close_door),
            Action("deny_access", door, _deny_access, DenyArguments),
            Action("report_door", door, _report_door, ReportArguments),
            Action("block_lane", camera, _block_lane, undo="clear_lane"),
            Action("clear_lane", camera, _clear_lane),
            Action("cover_camera", camera, _cover_camera, CoverArguments, "uncover_camera"),
            Action("uncover_camera", camera, _uncover_camera),
            Action("overload_meter", meter, _overload_meter, OverloadArguments, "normal_load"),
            Action("normal_load", meter, _normal_load),
            Action("open_relay", meter, _open_relay, undo="close_relay"),
            Action("close_relay", meter, _close_relay),
            Action("sag_voltage", meter, _sag_voltage, SagArguments, "restore_voltage"),
            Action("restore_voltage", meter, _restore_voltage),
            Action("silence", Target.DEVICE, _silence, undo="resume"),
            Action("resume", Target.DEVICE, _resume),
            Action("drop_connections", Target.DEVICE, _reconnect),
            Action("cut_edge_network", Target.EDGE, _cut_edge_network, undo="restore_edge_network"),
            Action("restore_edge_network", Target.EDGE, _restore_edge_network),
        )
    }


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
