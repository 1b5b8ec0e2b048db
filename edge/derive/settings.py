"""Settings of the derivations that need some: the ``derive`` section of an edge's file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, Section

Label = Annotated[str, Field(min_length=1, max_length=64)]


class TailgatingSettings(Section):
    """One door, and the camera that sees who walks through it."""

    door: DeviceId
    camera: DeviceId
    line: Label | None = None
    """The camera's line (by its zone name) that everybody crosses who walks in; none: any."""
    zone: Label | None = None
    """The camera's zone behind the door in which it counts persons; none: any."""
    window_s: Annotated[float, Field(ge=1, le=120)] = 8
    """How long after a grant its holder may walk through."""
    lead_s: Annotated[float, Field(ge=0, le=30)] = 2
    """By how much the clocks of door and camera may differ."""
    late_s: Annotated[float, Field(ge=0, le=120)] = 5
    """How late the camera's events may come."""

    @model_validator(mode="after")
    def _one_place(self) -> TailgatingSettings:
        if self.line is not None and self.zone is not None:
            raise ValueError("give a line or a zone, not both")
        return self


class DeriveSettings(Section):
    """What the edge is to conclude that it cannot know by itself."""

    tailgating: Annotated[list[TailgatingSettings], Field(max_length=500)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _distinct(self) -> DeriveSettings:
        doors = [entry.door for entry in self.tailgating]
        if len(set(doors)) != len(doors):
            raise ValueError("tailgating: two entries have the same door")
        return self

    def device_ids(self) -> list[str]:
        """Return the devices that are named."""
        return [name for entry in self.tailgating for name in (entry.door, entry.camera)]
