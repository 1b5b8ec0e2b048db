"""Settings that all ISAPI drivers have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from edge.drivers.settings import DriverSettings, SecretSettings

#: Minutes east of UTC, written as ``+08:00``.
Offset = Annotated[str, Field(pattern=r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$")]


class IsapiSettings(DriverSettings, SecretSettings):
    """One ISAPI device: where it is, and how patient its driver is."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$", max_length=300)]
    username: Annotated[str, Field(min_length=1, max_length=100)]
    verify_tls: bool = True
    """Check the device's certificate; ``ca_file`` names the one that signed it."""
    ca_file: Path | None = None
    connect_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5
    request_timeout_s: Annotated[float, Field(ge=0.1, le=120)] = 10
    """Real time that one answer (a page of a search, a command) may take."""
    silence_s: Annotated[float, Field(ge=0.5, le=600)] = 30
    """Real time without a byte (devices send heartbeats) after which the stream is dead."""
    utc_offset: Offset = "+08:00"
    """The device's offset from UTC, for searches, until its own times have told it."""

    @model_validator(mode="after")
    def _one_password(self) -> IsapiSettings:
        given = [self.password, self.password_file, self.password_env]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give exactly one of password, password_file, password_env")
        return self

    @property
    def offset_min(self) -> int:
        """Return the configured offset in minutes."""
        hours, minutes = self.utc_offset[1:].split(":")
        amount = int(hours) * 60 + int(minutes)
        return -amount if self.utc_offset[0] == "-" else amount
