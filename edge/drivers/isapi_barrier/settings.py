"""Settings of the driver of vehicle barriers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edge.drivers.settings import DeviceId
from edge.isapi.settings import IsapiSettings

#: What a list of plates means at this barrier: let through, or refused and why.
Verdict = Literal["passed", "blacklisted", "unknown", "expired", "full", "unpaid", "other"]
ListName = Annotated[str, Field(min_length=1, max_length=64)]
Way = Literal["in", "out"]


class IsapiBarrierSettings(IsapiSettings):
    """One barrier with the camera that reads its plates."""

    driver: Literal["isapi_barrier"]
    device: DeviceId
    channel: Annotated[int, Field(ge=1, le=64)] = 1
    forward: Way | None = "in"
    """Which way a vehicle goes that the camera calls ``forward``; none: not told."""
    decision: Literal["list", "gate"] = "list"
    """Who says whether the barrier opened: the list that the plate is on, or the camera's
    ``barrierGateCtrlType`` (0 opened, 1 not), which many cameras leave at 0."""
    lists: Annotated[dict[ListName, Verdict], Field(max_length=64)] = Field(default_factory=dict)
    """Name of a list as the camera tells it (any case) -> what it means, in place of the
    default: white and temporary lists pass, the black list does not."""
    others: Verdict = "passed"
    """What happens to plates on no list, or on one that is not named."""
    min_confidence: Annotated[int, Field(ge=0, le=100)] = 60
    """A plate that was read less surely is no identity: the passage is told without one."""
    backfill: bool = True
    """Ask the camera for the plates that it read while nobody listened."""
    backfill_first_s: Annotated[float, Field(ge=0, le=31 * 86_400)] = 3600
    """How far back the very first start looks."""
    time_format: Annotated[str, Field(pattern=r"^[%A-Za-z0-9:T+-]{2,40}$")] = "%Y%m%dT%H%M%S"
    """How the search wants its time (local time of the camera), as for ``strftime``."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""

    def device_ids(self) -> tuple[str, ...]:
        """Return the barrier's id."""
        return (self.device,)
