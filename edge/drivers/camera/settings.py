"""Settings of the camera driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge.drivers.settings import DeviceId, DriverSettings, SecretSettings, Section

Share = Annotated[float, Field(ge=0, le=1)]


class ZoneSettings(Section):
    """A polygon in the picture and what to watch for in it."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["fire_lane", "motion", "intrusion"]
    polygon: Annotated[list[tuple[Share, Share]], Field(min_length=3, max_length=32)]
    """Corners as shares of width and height, from the top left."""
    dwell_s: Annotated[float, Field(ge=0, le=86_400)] = 20
    """fire_lane: run time that something must stand before the lane counts as occupied;
    intrusion: run time that something must move in it (default there: 1)."""
    clear_s: Annotated[float, Field(ge=0, le=86_400)] = 3
    """Run time that the zone must be free (or still) before its state ends."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Share of the zone's pixels from which on something is there."""

    @model_validator(mode="before")
    @classmethod
    def _short_intrusion(cls, raw: object) -> object:
        if isinstance(raw, dict) and raw.get("kind") == "intrusion" and "dwell_s" not in raw:
            return {**raw, "dwell_s": 1}
        return raw


class CameraSettings(DriverSettings, SecretSettings):
    """One camera."""

    driver: Literal["camera"]
    url: Annotated[str, Field(min_length=1, max_length=500)]
    """``http(s)://`` (MJPEG), ``rtsp(s)://``, or the path of a video file."""
    username: str | None = None
    """For HTTP or RTSP; the password comes from password, password_file or password_env."""
    device: DeviceId
    fps: Annotated[float, Field(gt=0, le=30)] = 5
    """Pictures a second (real time) that are looked at; others are skipped."""
    width: Annotated[int, Field(ge=64, le=4096)] | None = None
    """Width to which snapshots are reduced; none: 640."""
    zones: Annotated[list[ZoneSettings], Field(max_length=16)] = Field(default_factory=list)
    tamper: bool = True
    """Watch for a covered, blinded or defocused lens."""
    snapshots: bool = True
    """Send a blurred picture with what begins."""
    timeout_s: Annotated[float, Field(ge=0.5, le=60)] = 4
    """Real time without a picture after which the video counts as lost."""
    frozen_s: Annotated[float, Field(ge=1, le=86_400)] = 30
    """Run time of identical pictures after which the picture counts as frozen."""
    warm_up_s: Annotated[float, Field(ge=0, le=3600)] = 3
    """Real time in which the background is learned before zones are judged."""
    period_s: Annotated[float, Field(gt=0, le=86_400)] = 60
    """Run time after which the camera's health is reported again."""

    @field_validator("zones")
    @classmethod
    def _distinct(cls, zones: list[ZoneSettings]) -> list[ZoneSettings]:
        names = [zone.name for zone in zones]
        if len(set(names)) != len(names):
            raise ValueError("two zones have the same name")
        return zones

    @model_validator(mode="after")
    def _credentials(self) -> CameraSettings:
        given = [self.password, self.password_file, self.password_env]
        count = sum(item is not None for item in given)
        if count > 1 or (count == 1) != (self.username is not None):
            raise ValueError("give username and exactly one of password, password_file, _env")
        if "@" in self.url.split("://", 1)[-1].split("/", 1)[0]:
            raise ValueError("no credentials in the url; use username and password_file")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the camera's id."""
        return (self.device,)
