"""Settings of whatever reports access events: door controllers and lift controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from edge.isapi.settings import IsapiSettings


class AccessSettings(IsapiSettings):
    """What a controller's back-fill and its pseudonyms need."""

    backfill: bool = True
    """Ask the controller for what happened while nobody listened."""
    backfill_first_s: Annotated[float, Field(ge=0, le=31 * 86_400)] = 3600
    """How far back the very first start looks; older events of the controller are not taken."""
    pseudonym_key_file: Path | None = None
    """32 bytes or more; none: the edge's own key in its data folder, made at the first start."""
