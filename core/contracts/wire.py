"""What the system says on the wire to whoever listens: one alert, and a site's colours.

The collector publishes both retained, as the records have them; the models here state the
shape for readers outside (``docs/asyncapi.yaml``) and for the tests.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from core.contracts.alerts import AlertState
from core.contracts.colours import Colour
from core.contracts.topology import Level, Text
from core.contracts.vocabulary import EpochMs


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Words(_Said):
    """A text in both languages; empty where the rule gives none."""

    zh: str
    en: str


class PathPart(_Said):
    """One node on the way from the street down to where an alert is."""

    id: str
    name: Text
    level: Level


class AlertMessage(_Said):
    """One alert as it stands; all times in milliseconds since the Unix epoch (UTC)."""

    id: str
    """UUID5 of the rule, its key and the event that opened the alert; frozen."""
    rule: str
    key: str
    site: str
    node: str
    device: str | None
    colour: Colour
    state: AlertState
    """State after ISA-18.2 when it was published; shelving ends by time, so look at the times."""
    began_at: EpochMs
    """When the condition began (event time)."""
    raised_at: EpochMs
    """When the rule fired: later than ``began_at`` by its ``for``."""
    noticed_at: EpochMs
    """When the collector could know of it."""
    worsened_at: EpochMs | None
    cleared_at: EpochMs | None
    late: bool
    """Began and ended before it could be known: silent history."""
    revision: Annotated[int, Field(ge=1)]
    attention: Annotated[int, Field(ge=1)]
    """The revision that last asked for somebody's attention."""
    title: Words
    advice: Words
    reason: dict[str, Any]
    """Why it fired: the condition, and the values and times that made it true."""
    acknowledged_at: EpochMs | None
    acknowledged_by: str | None
    acknowledged_revision: Annotated[int, Field(ge=0)]
    path: list[PathPart]


class SiteColours(RootModel[dict[str, Colour]]):
    """The colour of every node of a site, by the node's id."""
