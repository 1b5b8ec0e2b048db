"""Settings of the MQTT JSON driver."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, DriverSettings, Host, Port, Section, Timeout

VendorId = Annotated[str, Field(min_length=1, max_length=200)]
Topic = Annotated[str, Field(min_length=1, max_length=200)]


class BrokerSection(Section):
    """The gateway's broker; it is not the one that the edge sends to."""

    host: Host
    port: Port = 1883
    username: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    password_file: Path | None = None
    """Read anew at each connection."""
    ca_file: Path | None = None
    """Given, the connection is TLS."""
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> BrokerSection:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("give username and password_file together")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("give cert_file and key_file together")
        return self


class JsonMqttSettings(DriverSettings):
    """What one broker tells of some devices."""

    driver: Literal["json_mqtt"]
    broker: BrokerSection
    root: Annotated[str, Field(pattern=r"^[^+#\s]*[^+#/\s]$", max_length=200)] | None = None
    """What stands before the topics of the mapping, for example ``vendor/lifts``."""
    topics: Annotated[list[Topic], Field(max_length=50)] = Field(default_factory=list)
    """Topic filters below the root, where the mapping names none."""
    map: str
    """A mapping that comes with the system, or the path of a file of one's own."""
    devices: Annotated[dict[VendorId, DeviceId], Field(min_length=1, max_length=2_000)]
    """The vendor's id -> device id."""
    timeout_s: Timeout = 10
    """For the connection to the broker."""
    silence_s: Annotated[float, Field(ge=0.5, le=86_400)] = 120
    """Real time without a message after which a device counts as offline."""
    session_s: Annotated[int, Field(ge=0, le=604_800)] = 3_600
    """So long the broker keeps messages for an edge that is away (0: not at all)."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids, each once."""
        return tuple(dict.fromkeys(self.devices.values()))
