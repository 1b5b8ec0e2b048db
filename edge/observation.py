"""One observation on its way through the edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Observation:
    """Something that a device told, or that follows from it; ``at`` is ms of the run's clock."""

    kind: str
    device: str
    data: dict[str, Any]
    at: int
    id: str | None = None
    """Its id where it has one already; None: it is given one when it is reported."""
