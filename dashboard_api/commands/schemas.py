"""Commands over HTTP."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dashboard_api.schemas import Body, Ms, Schema, example

Value = Annotated[str, Field(max_length=200)] | bool | int | float
_RESULT = {
    "id": "0f6f3f0a-6e0e-4c52-9a1f-8e4f7c1d2a33",
    "edge": "jinxiu-b1",
    "outcome": "done",
    "reason": "",
    "at": 1_763_000_000_000,
    "data": {"switched": True},
}
_TOLD = {
    "at": 1_763_000_000_000,
    "command": "0f6f3f0a-6e0e-4c52-9a1f-8e4f7c1d2a33",
    "action": "unlock",
    "target": "jinxiu-b1-lobby",
    "outcome": "done",
    "by": "admin",
    "reason": "a resident has no card",
    "local": False,
}


class _Asked(Body):
    reason: Annotated[str, Field(max_length=200)] = ""
    """Why it is asked; stands in the audit."""
    ttl_s: Annotated[float, Field(ge=1, le=60)] = 15
    """It is not done later than so many seconds from now."""


class DeviceCommand(_Asked):
    """What a device is to do now."""

    model_config = Body.model_config | example(
        {"action": "unlock", "params": {}, "reason": "a resident has no card", "ttl_s": 15}
    )

    action: Literal["relay_output", "unlock", "snapshot", "report"]
    """`unlock` and `relay_output` only where the edge's own file allows them; they need a
    reason."""
    params: Annotated[dict[Annotated[str, Field(max_length=40)], Value], Field(max_length=16)] = (
        Field(default_factory=dict)
    )
    """For `relay_output`: `{"on": true, "for_s": 30}`."""


class EdgeCommand(_Asked):
    """What an edge is to do now: report everything, or read its configuration again."""

    model_config = Body.model_config | example(
        {"action": "report", "reason": "after the power cut", "ttl_s": 30}
    )

    action: Literal["report", "reload"]


class CommandOutcome(StrEnum):
    """What became of a command."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    UNANSWERED = "unanswered"


class CommandResult(Schema):
    """What became of a command."""

    model_config = example(_RESULT)

    id: str
    edge: str
    outcome: CommandOutcome
    """`unanswered`: no reply came in time, and whether it was done is not known."""
    reason: str
    """Why it was not done; empty where it was."""
    at: Ms | None
    """By the edge's clock; none without a reply."""
    data: dict[str, str | bool | int | float]
    """What the device or the edge told of it."""


class ToldCommand(Schema):
    """One command as the edge journalled it: the lasting audit."""

    model_config = example(_TOLD)

    at: Ms
    command: str
    action: str
    target: str | None
    """The device; none: the edge itself."""
    outcome: str
    by: str
    reason: str | None
    local: bool
    """A local rule of the edge asked for it."""


class ToldCommands(Schema):
    """An edge's commands, newest first."""

    model_config = example({"items": [_TOLD], "complete": True})

    items: list[ToldCommand]
    complete: bool
    """False where older ones of the window were left out: ask again with an earlier end."""
