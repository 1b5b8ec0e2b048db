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


class EntrapmentSettings(Section):
    """When a lift that does not say so itself is taken to hold somebody."""

    enabled: bool = True
    after_s: Annotated[float, Field(ge=5, le=600)] = 30
    """How long somebody must be in a stopped, shut car that is out of its zone or rings."""
    fresh_s: Annotated[float, Field(ge=1, le=300)] = 20
    """Greatest age of the last status: of a lift that fell silent nothing is concluded."""
    empty_s: Annotated[float, Field(ge=0, le=300)] = 10
    """How long a car must be empty to hold nobody: sensors miss somebody who stands still."""


class DeriveSettings(Section):
    """What the edge is to conclude that it cannot know by itself."""

    entrapment: EntrapmentSettings = EntrapmentSettings()
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
