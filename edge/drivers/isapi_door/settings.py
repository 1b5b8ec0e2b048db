"""Settings of the door driver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, DriverSettings, SecretSettings

DoorNumber = Annotated[str, Field(pattern=r"^[0-9]{1,4}$")]


class IsapiDoorSettings(DriverSettings, SecretSettings):
    """One door controller and its doors."""

    driver: Literal["isapi_door"]
    base_url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$", max_length=300)]
    username: Annotated[str, Field(min_length=1, max_length=100)]
    doors: Annotated[dict[DoorNumber, DeviceId], Field(min_length=1, max_length=256)]
    """The controller's door number (``doorNo``) -> device id."""
    verify_tls: bool = True
    """Check the controller's certificate; ``ca_file`` names the one that signed it."""
    ca_file: Path | None = None
    connect_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5
    silence_s: Annotated[float, Field(ge=0.5, le=600)] = 30
    """Real time without a byte (controllers send heartbeats) after which the stream is dead."""
    forced_grace_s: Annotated[float, Field(ge=0, le=60)] = 0
    """Device time after an exit button, a grant, a remote opening or a fire release for which a
    "forced" of that door is counted instead of reported; 0 reports every one."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    @model_validator(mode="after")
    def _one_password(self) -> IsapiDoorSettings:
        given = [self.password, self.password_file, self.password_env]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give exactly one of password, password_file, password_env")
        if len(set(self.doors.values())) != len(self.doors):
            raise ValueError("two door numbers have the same device id")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the doors."""
        return tuple(self.doors.values())
