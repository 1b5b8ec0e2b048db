"""Settings of the ONVIF door driver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, Section
from edge.onvif.settings import OnvifSettings, Token


class AccessPointSettings(Section):
    """One access point: which door it opens, and which way."""

    door: Token
    """Token of the door, a key of ``doors``."""
    direction: Literal["in", "out"] | None = None
    exit_button: bool = False
    """Anonymous grants here are presses of the exit button."""


class OnvifDoorSettings(OnvifSettings):
    """One door controller and its doors."""

    driver: Literal["onvif_door"]
    doors: Annotated[dict[Token, DeviceId], Field(min_length=1, max_length=256)]
    """The controller's door token -> device id."""
    access_points: Annotated[dict[Token, AccessPointSettings], Field(max_length=512)] = Field(
        default_factory=dict
    )
    """Token of an access point -> its door; what is not here is asked of the controller."""
    forced_grace_s: Annotated[float, Field(ge=0, le=60)] = 0
    """Device time after a grant, an exit button, a release by command or by fire for which a
    "forced" of that door is counted instead of reported; 0 reports every one."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    @model_validator(mode="after")
    def _known_doors(self) -> OnvifDoorSettings:
        if len(set(self.doors.values())) != len(self.doors):
            raise ValueError("two door tokens have the same device id")
        for token, point in self.access_points.items():
            if point.door not in self.doors:
                raise ValueError(f"access_points.{token}: {point.door} is none of the doors")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the doors, and of what is wired to inputs."""
        own = tuple(self.doors.values())
        return own + self.wired_devices(own)
