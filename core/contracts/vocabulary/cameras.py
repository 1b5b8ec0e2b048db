"""Cameras: what a picture shows, judged by the camera or at the edge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.contracts.vocabulary.base import (
    Count,
    Data,
    Direction,
    Name,
    Seconds,
    Share,
)

Target = Literal["person", "vehicle", "e_bike", "animal", "fire", "smoke", "other"]


class CameraEvent(Data):
    """What every camera event can carry."""

    active: bool
    zone: Name | None = None
    score: Share | None = None
    """Share of the zone's (or picture's) pixels, or a detector's confidence."""
    snapshot: Name | None = None
    """Id of a snapshot that follows on the media lane."""
    raw_code: Name | None = None


class CameraMotion(CameraEvent):
    """Something moves."""


class CameraIntrusion(CameraEvent):
    """Something is inside a forbidden polygon."""


class CameraLineCrossed(CameraEvent):
    """A track crossed a line."""

    direction: Direction | None = None


class CameraZoneOccupied(CameraEvent):
    """Something stands in a zone that must stay free, for example a fire lane."""

    dwell_s: Seconds | None = None


class CameraLeftObject(CameraEvent):
    """An object was left behind."""


class CameraTamper(CameraEvent):
    """The camera is covered, blinded, defocused or turned."""

    cause: Literal["covered", "dark", "bright", "defocused", "turned", "unknown"]


class CameraVideoLoss(CameraEvent):
    """No picture arrives."""


class CameraFrozen(CameraEvent):
    """The picture no longer changes."""


class CameraCount(Data):
    """People or vehicles in a zone."""

    count: Count
    zone: Name | None = None
    target: Target


class CameraObject(CameraEvent):
    """A detector recognised something where it matters: an e-bike in a car, a person in a shaft."""

    target: Target
    count: Count | None = None


class CameraUnarmed(Data):
    """A camera streams, but the events that it should raise are not armed or never came."""

    active: bool
    reason: Literal["not_armed", "never_seen"]
    events: Annotated[str, Field(max_length=200)] | None = None
    """Which events are missing, in the camera's own words."""
