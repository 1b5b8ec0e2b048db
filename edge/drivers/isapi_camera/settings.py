"""Settings of the driver for events that cameras raise themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge.drivers.settings import DeviceId, Period
from edge.isapi.settings import IsapiSettings

Channel = Annotated[str, Field(pattern=r"^[0-9]{1,3}$")]
EventType = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{1,63}$")]
Label = Annotated[str, Field(min_length=1, max_length=64)]
Target = Literal["person", "vehicle", "e_bike", "animal", "fire", "smoke", "other"]


class IsapiCameraSettings(IsapiSettings):
    """One camera, or a recorder with several."""

    driver: Literal["isapi_camera"]
    cameras: Annotated[dict[Channel, DeviceId], Field(min_length=1, max_length=128)]
    """Channel of the alerts -> device id; a camera of its own is channel 1."""
    expect: Annotated[list[EventType], Field(max_length=32)] = Field(default_factory=list)
    """Event types that each camera is to raise: one that is not armed is told."""
    seen_within_days: Annotated[float, Field(gt=0, le=3650)] | None = 30
    """An expected type that never came for so long is told, too; none: not judged."""
    check_period_s: Period = 3600
    """Run time between two looks at what is armed."""
    hold_s: Annotated[float, Field(ge=1, le=86_400)] = 15
    """Run time without a repetition after which a state ends by itself: many cameras repeat
    what lasts each second and never say that it is over."""
    fault_hold_s: Annotated[float, Field(ge=1, le=86_400)] = 600
    """The same for what cameras say of themselves (disks, network), which is repeated rarely."""
    zones: Annotated[dict[str, Label], Field(max_length=64)] = Field(default_factory=dict)
    """Number of a region or line, as ``1`` or with its channel as ``2/1`` -> name of the zone."""
    objects: Annotated[dict[EventType, Target], Field(max_length=64)] = Field(default_factory=dict)
    """Further event types by which a camera says what it recognised, for example e-bikes."""
    snapshot_width: Annotated[int, Field(ge=64, le=4096)] = 640

    @field_validator("expect")
    @classmethod
    def _lower(cls, expect: list[str]) -> list[str]:
        return [name.lower() for name in expect]

    @model_validator(mode="after")
    def _distinct(self) -> IsapiCameraSettings:
        if len(set(self.cameras.values())) != len(self.cameras):
            raise ValueError("two channels have the same device id")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the cameras."""
        return tuple(self.cameras.values())
