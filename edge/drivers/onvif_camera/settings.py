"""Settings of the ONVIF camera driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge.drivers.settings import DeviceId, Section
from edge.onvif.notification import plain_topic
from edge.onvif.settings import OnvifSettings, Token

ZoneName = Annotated[str, Field(min_length=1, max_length=64)]
TargetName = Literal["person", "vehicle", "e_bike", "animal", "fire", "smoke", "other"]
Topic = Annotated[str, Field(min_length=1, max_length=300)]


class RuleSettings(Section):
    """What one rule of the camera stands for."""

    kind: (
        Literal[
            "camera.motion", "camera.intrusion", "camera.zone_occupied", "camera.left_object",
            "camera.object",
        ]
        | None
    ) = None  # fmt: skip
    """In place of what its topic would become."""
    zone: ZoneName | None = None
    """In place of the rule's own name."""
    target: TargetName | None = None


class TopicSettings(Section):
    """What a topic of the vendor's own becomes."""

    kind: Literal[
        "camera.motion", "camera.intrusion", "camera.zone_occupied", "camera.left_object",
        "camera.line_crossed", "camera.object", "camera.tamper", "camera.video_loss",
    ]  # fmt: skip
    target: TargetName | None = None
    cause: Literal["covered", "dark", "bright", "defocused", "turned", "unknown"] | None = None

    @model_validator(mode="after")
    def _complete(self) -> TopicSettings:
        if (self.target is not None) != (self.kind == "camera.object"):
            raise ValueError("target goes with camera.object, and with nothing else")
        if self.cause is not None and self.kind != "camera.tamper":
            raise ValueError("cause goes with camera.tamper")
        return self


class OnvifCameraSettings(OnvifSettings):
    """One camera and what its events mean."""

    driver: Literal["onvif_camera"]
    device: DeviceId
    rules: Annotated[dict[Token, RuleSettings], Field(max_length=64)] = Field(default_factory=dict)
    """Name of a rule in the camera -> what it stands for."""
    topics: Annotated[dict[Topic, TopicSettings], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Topics that are not among the known ones, with or without prefixes."""
    expect: Annotated[list[Topic], Field(max_length=32)] = Field(default_factory=list)
    """Topics that must be armed and must have come once; none: any that detects something."""
    seen_within_days: Annotated[float, Field(gt=0, le=3650)] | None = 30
    """Run time of watching without one of these events after which that is told; null: never."""
    check_s: Annotated[float, Field(ge=1, le=86_400)] = 3600
    """Real time after which it is looked anew whether the events are armed."""
    pulse_s: Annotated[float, Field(ge=0.1, le=600)] = 5
    """Run time after which what has no end of its own (a line crossed) is over."""
    profile: Token | None = None
    """Media profile for snapshots; none: the first."""
    width: Annotated[int, Field(ge=64, le=4096)] = 640
    """Width to which snapshots are reduced."""

    @field_validator("expect")
    @classmethod
    def _plain(cls, expect: list[str]) -> list[str]:
        return [plain_topic(topic) for topic in expect]

    @field_validator("topics")
    @classmethod
    def _plain_keys(cls, topics: dict[str, TopicSettings]) -> dict[str, TopicSettings]:
        return {plain_topic(topic): settings for topic, settings in topics.items()}

    def device_ids(self) -> tuple[str, ...]:
        """Return the id of the camera, and of what is wired to its inputs."""
        return (self.device, *self.wired_devices((self.device,)))
