"""What a scan finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """One device that answered; ``entry`` is what a configuration could begin with."""

    protocol: str
    """The driver's name in the registry."""
    address: str
    """Where it answered: ``192.168.10.20:502 unit 3``, ``000012345678 at /dev/ttyS1``."""
    what: str
    """What it says about itself, in the protocol's own words."""
    entry: Mapping[str, Any] = field(default_factory=dict)
