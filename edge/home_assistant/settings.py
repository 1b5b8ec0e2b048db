"""The ``home_assistant`` section of an edge's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, Host, Port, Section

_TOPIC = r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+)*$"


class HouseBroker(Section):
    """The broker that Home Assistant listens on."""

    host: Host
    port: Port = 1883
    username: Annotated[str, Field(max_length=200)] | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> HouseBroker:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        return self


class HomeAssistantSettings(Section):
    """What is shown to a Home Assistant on the same network."""

    broker: HouseBroker
    prefix: Annotated[str, Field(pattern=_TOPIC, max_length=100)] = "homeassistant"
    """Home Assistant's discovery prefix."""
    state_prefix: Annotated[str, Field(pattern=_TOPIC, max_length=100)] = "smart-estate"
    """Under this the states are published."""
    devices: list[DeviceId] | None = None
    """Only these devices; none given: all of the edge."""
