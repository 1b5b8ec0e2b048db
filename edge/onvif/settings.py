"""What the settings of door controllers and cameras that speak ONVIF have in common."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, DriverSettings, SecretSettings, Section, Timeout

Token = Annotated[str, Field(min_length=1, max_length=100)]


class InputSettings(Section):
    """What is wired to one digital input."""

    kind: Literal[
        "fire.alarm", "fire.fault", "access.exit_button", "access.fire_release", "device.tamper"
    ]
    device: DeviceId | None = None
    """The device that it tells of; none: the camera, the first door, and for a fire release
    every door."""
    inverted: bool = False
    """The contact is closed at rest."""


class OnvifSettings(DriverSettings, SecretSettings):
    """One ONVIF device."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$", max_length=300)]
    """``http://`` or ``https://`` and host; every request goes to this host."""
    path: Annotated[str, Field(pattern=r"^/[^\s]*$", max_length=200)] = "/onvif/device_service"
    username: Annotated[str, Field(min_length=1, max_length=100)]
    auth: Literal["auto", "token", "digest"] = "auto"
    """WS-Security tokens, HTTP Digest, or (auto) whichever the device asks for."""
    verify_tls: bool = True
    """Check the device's certificate; ``ca_file`` names the one that signed it."""
    ca_file: Path | None = None
    timeout_s: Timeout = 5
    """Real time for one answer, beyond what a pull may wait."""
    pull_s: Annotated[float, Field(ge=0.1, le=300)] = 20
    """Real time for which the device holds a pull back when nothing happens."""
    lifetime_s: Annotated[float, Field(ge=2, le=86_400)] = 120
    """How long a subscription lives without being renewed; it is renewed at 60 % of it."""
    sync_s: Annotated[float, Field(ge=1, le=86_400)] = 600
    """Real time after which every state is asked for anew."""
    clock_limit_s: Annotated[float, Field(ge=2, le=86_400)] = 10
    """By how much the device's clock may be wrong before that is a fault of the device."""
    inputs: Annotated[dict[Token, InputSettings], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Token of a digital input -> what is wired to it."""

    @model_validator(mode="after")
    def _one_password(self) -> OnvifSettings:
        given = [self.password, self.password_file, self.password_env]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give exactly one of password, password_file, password_env")
        return self

    def wired_devices(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ids of the inputs' devices that are not among ``own``."""
        named = [item.device for item in self.inputs.values() if item.device is not None]
        return tuple(dict.fromkeys(device for device in named if device not in own))

    def tls(self, base: Path) -> ssl.SSLContext | bool:
        """Return how the device's certificate is checked; raises OSError for a bad file."""
        if not self.verify_tls or not self.base_url.startswith("https:"):
            return False
        return ssl.create_default_context(cafile=self.ca_file and base / self.ca_file)
