"""Commands: what an edge is asked to do, until when, and what came of it.

A command is never retained and expires twice: by the MQTT message's expiry on its way, and by
``expires_at`` against the edge's clock before anything is switched. Its id makes it happen
once. The lasting audit is the event ``edge.command`` that the edge journals before it replies.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from core.contracts.codec import whole
from core.contracts.events import ID_PATTERN

_Id = Annotated[str, msgspec.Meta(pattern=whole(ID_PATTERN))]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]
#: Longest life of a command (s): what is to happen later is not a command.
LONGEST_LIFE_S = 300


class Action(StrEnum):
    """What an edge can be asked to do."""

    RELAY_OUTPUT = "relay_output"
    """Switch an output: ``{"on": true, "for_s": 30}``; ``for_s`` is left out for a lasting one."""
    UNLOCK = "unlock"
    """Release a door for its usual time; only where the site's configuration allows it."""
    SNAPSHOT = "snapshot"
    """Take a picture now; ``data.media`` of the reply is its id on the media lane."""
    REPORT = "report"
    """Read the device now and report everything, changed or not; without a device: all."""
    RELOAD = "reload"
    """Read the edge's configuration file again."""


class Outcome(StrEnum):
    """What came of a command."""

    DONE = "done"
    REFUSED = "refused"
    """Not allowed, or the device cannot do it."""
    FAILED = "failed"
    """Tried, without success; ``reason`` says why."""
    EXPIRED = "expired"
    """It came too late."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One command; ``by`` names the account or the machine that asks, ``reason`` why."""

    id: _Id
    action: Action
    issued_at: _Ms
    expires_at: _Ms
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    device: _Id | None = None
    params: dict[str, str | int | float | bool] = {}
    reason: _Text = ""


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What came of a command, at the edge's time ``at`` (ms)."""

    id: _Id
    edge: _Id
    outcome: Outcome
    at: _Ms
    reason: _Text = ""
    data: dict[str, str | int | float | bool] = {}


COMMAND = msgspec.json.Decoder(Command)
REPLY = msgspec.json.Decoder(Reply)
