"""The arguments of the actions that a scenario can ask for; unknown ones are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from simulators.durations import Duration

Share = Annotated[float, Field(ge=0, le=1)]
Times = Annotated[int, Field(ge=1, le=50)]
_DAY_S = 86_400


class Arguments(BaseModel):
    """An action's arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -- lines and devices ----------------------------------------------------------------------


class LineArguments(Arguments):
    """What goes wrong on a device's line; shares are per answer. ``delay_ms`` is real time."""

    delay_ms: Annotated[float, Field(ge=0, le=120_000)] = 0
    mute: bool = False
    garble: Share = 0
    truncate: Share = 0
    repeat: Share = 0
    noise: Annotated[int, Field(ge=0, le=64)] = 0
    """So many bytes of noise before each answer."""
    cut: bool = False
    """The connection is reset in the middle of the next answer."""


class RebootArguments(Arguments):
    """For how long it is away (real time)."""

    away: Duration = 3


class DriftArguments(Arguments):
    """By how much the device's clock is ahead (behind: negative)."""

    seconds: Annotated[float, Field(ge=-_DAY_S * 400, le=_DAY_S * 400)] = 120


class LoseArguments(Arguments):
    """How many events nobody hears of; ``kept``: the device remembers them all the same."""

    count: Annotated[int, Field(ge=1, le=1000)] = 3
    kept: bool = True


class RepeatArguments(Arguments):
    """How often each event is sent."""

    times: Annotated[int, Field(ge=2, le=10)] = 2


# -- lifts ------------------------------------------------------------------------------------


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


class PressArguments(Arguments):
    """For how long somebody presses the alarm button."""

    lasts: Duration = 10


class LiftAccessArguments(Arguments):
    """Whether a credential in the car opens floors, and how often in a row it is used."""

    outcome: Literal["granted", "refused", "unknown"] = "granted"
    times: Times = 1
    apart: Duration = 3


# -- doors and barriers -----------------------------------------------------------------------


class DenyArguments(Arguments):
    """Why and how often somebody is refused."""

    reason: Literal["no_right", "wrong_period", "expired", "invalid", "face_failed"] = "no_right"
    times: Times = 1


class GrantArguments(Arguments):
    """How many people come, each with a credential of their own, ``apart`` from each other."""

    people: Annotated[int, Field(ge=1, le=2000)] = 1
    apart: Duration = 3


class CrowdArguments(Arguments):
    """So many people come within so long, as at a change of shifts."""

    people: Annotated[int, Field(ge=1, le=5000)] = 300
    within: Duration = 300


class ShareArguments(Arguments):
    """How many people come, as a share of the usual (above 1: more)."""

    share: Annotated[float, Field(ge=0, le=20)] = 0.3


class WalkThroughArguments(Arguments):
    """Who walks through the door: those with a credential, and those who only follow."""

    granted: Annotated[int, Field(ge=1, le=6)] = 1
    persons: Annotated[int, Field(ge=1, le=6)] = 1


class ReportArguments(Arguments):
    """The event that the door controller reports."""

    event: Literal[
        "duress", "blacklisted", "controller_tamper", "remote_open", "exit_button",
        "fire_release_on", "fire_release_off", "tailgate",
    ]  # fmt: skip


class PressCodeArguments(Arguments):
    """The keys that somebody presses after a card."""

    code: Annotated[str, Field(pattern=r"^[0-9]{4,8}$")]


class VehicleArguments(Arguments):
    """Which vehicle comes: one on the list, a stranger, or one on the black list; or a plate."""

    who: Literal["resident", "visitor", "blacklisted"] = "resident"
    plate: Annotated[str, Field(min_length=5, max_length=10)] | None = None
    direction: Literal["forward", "reverse"] = "forward"


# -- meters, contacts, sensors ----------------------------------------------------------------


class OverloadArguments(Arguments):
    """The power drawn, as a multiple of the meter's limit."""

    factor: Annotated[float, Field(gt=0, le=5)] = 1.3


class DrawArguments(Arguments):
    """The power drawn (W), whatever is planned."""

    watts: Annotated[float, Field(ge=0, le=1e6)] = 45


class SagArguments(Arguments):
    """The supply voltage, as a share of the usual."""

    factor: Annotated[float, Field(ge=0, le=1.5)] = 0.8


class PhaseArguments(Arguments):
    """Which phase, from 1."""

    phase: Annotated[int, Field(ge=1, le=3)] = 1


class RegisterArguments(Arguments):
    """Where the register is put: so much lower (kWh, or m³)."""

    by: Annotated[float, Field(gt=0, le=100_000)] = 150


class MisreadArguments(Arguments):
    """How many readings are wrong."""

    reads: Annotated[int, Field(ge=1, le=20)] = 1


class RolloverArguments(Arguments):
    """How far below its capacity the register is put (kWh)."""

    below: Annotated[float, Field(gt=0, le=1000)] = 0.05


class CoverOpenArguments(Arguments):
    """Which cover of the meter is opened and shut again."""

    which: Literal["cover", "terminal"] = "cover"


class LeakArguments(Arguments):
    """How much runs away (m³ in an hour)."""

    flow: Annotated[float, Field(gt=0, le=100)] = 0.6


class FireArguments(Arguments):
    """Which contact of the fire panel closes, by its point."""

    point: Annotated[str, Field(min_length=1, max_length=64)] | None = None


# -- cameras ----------------------------------------------------------------------------------


class CoverArguments(Arguments):
    """What happens to the camera."""

    how: Literal["covered", "dark", "defocused", "turned", "frozen"] = "covered"


class WalkArguments(Arguments):
    """How many people walk in, one close behind the other."""

    people: Annotated[int, Field(ge=1, le=6)] = 1
    takes: Duration = 7


class SeenArguments(Arguments):
    """What the camera itself says that it saw."""

    event: Literal[
        "motion", "line", "field", "left_object", "person", "e_bike", "fire", "smoke", "tamper",
        "disk_full", "parking",
    ]  # fmt: skip
    zone: Annotated[int, Field(ge=1, le=8)] = 1
    """Number of the region or line in the camera."""


class ArmArguments(Arguments):
    """Which of the camera's detections."""

    event: Literal["line", "field", "left_object", "motion", "tamper"] = "field"
