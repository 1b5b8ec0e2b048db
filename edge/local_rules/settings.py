"""The ``local_rules`` section of an edge's file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from core.contracts.colours import Colour
from edge.drivers.settings import DeviceId, Section, Timeout

AlertColour = Literal["blue", "yellow", "orange", "red"]


class When(Section):
    """Which alerts are meant: all of what is given must fit, and nothing given means every one."""

    colour_at_least: AlertColour | None = None
    rules: list[str] = Field(default_factory=list)
    devices: list[DeviceId] = Field(default_factory=list)
    """Only alerts about these devices."""

    def fits(self, rule: str, colour: Colour, subject: str | None) -> bool:
        """Tell whether an alert is meant; ``subject`` is the device it is about."""
        if self.colour_at_least is not None and colour.rank < Colour(self.colour_at_least).rank:
            return False
        if self.rules and rule not in self.rules:
            return False
        return not self.devices or subject in self.devices


class OutputSettings(Section):
    """What is switched while such an alert stands."""

    when: When = When()
    do: Literal["relay_output", "unlock", "snapshot"] = "relay_output"
    device: DeviceId
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Parameters of the action beside ``on``, such as ``for_s: 60``."""


class NoticeSettings(Section):
    """Where alerts are posted on the local network, without the centre."""

    url: Annotated[str, Field(max_length=500)]
    when: When = When()
    allow: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = Field(default_factory=list)
    """Loopback, link-local and metadata networks that may be posted to all the same."""
    timeout_s: Timeout = 5.0
    ca_file: Path | None = None
    keep_h: Annotated[float, Field(gt=0, le=24 * 14)] = 24.0
    """A notice that could not be delivered for so long (run time) is given up."""

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address begins with http:// or https:// and a host")
        if parts.username or parts.password:
            raise ValueError("no credentials in an address: they would stand in logs")
        return url


class LocalRulesSettings(Section):
    """Rules that this edge works by itself, and what they switch."""

    files: list[Path] = Field(default_factory=list)
    """Rule files (docs/rules.md), relative to the edge's file."""
    builtin: list[str] = Field(default_factory=list)
    """Ids of built-in rules that this edge works, too."""
    outputs: Annotated[list[OutputSettings], Field(max_length=200)] = Field(default_factory=list)
    notices: Annotated[list[NoticeSettings], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> LocalRulesSettings:
        if not self.files and not self.builtin:
            raise ValueError("name rule files, or ids of built-in rules")
        return self
