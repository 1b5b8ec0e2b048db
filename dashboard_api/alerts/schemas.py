"""Alerts over the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from core.contracts.alerts import AlertState
from core.contracts.colours import Colour
from dashboard_api.schemas import Body, Ms, Names, PathPart, Schema, example

_ALERT: dict[str, Any] = {
    "id": "0b6f6c1e-6f0e-5c8a-9a53-0d6f8d0f7a11",
    "rule": "elevator.entrapment",
    "key": "jinxiu-b1-lift-1",
    "site": "jinxiu",
    "node": "jinxiu-b1",
    "device": "jinxiu-b1-lift-1",
    "colour": "red",
    "state": "unacknowledged",
    "began_at": 1_763_000_000_000,
    "raised_at": 1_763_000_120_000,
    "noticed_at": 1_763_000_120_900,
    "worsened_at": None,
    "cleared_at": None,
    "late": False,
    "revision": 1,
    "attention": 1,
    "title": {"zh": "电梯困人", "en": "People trapped in a lift"},
    "advice": {"zh": "立即联系轿厢并通知维保。", "en": "Speak to the car and call the maintainer."},
    "reason": {"condition": "occupied and not moving", "values": {"floor": 7}},
    "acknowledged_at": None,
    "acknowledged_by": None,
    "acknowledged_revision": 0,
    "path": [
        {"id": "street", "name": {"zh": "锦绣街道", "en": "Jinxiu Street"}, "level": "street"}
    ],
}
_STEP: dict[str, Any] = {
    "at": 1_763_000_120_000,
    "kind": "raised",
    "revision": 1,
    "by": None,
    "text": None,
    "detail": {},
}


class AlertFilter(StrEnum):
    """Which alerts a list shows."""

    OPEN = "open"
    STANDING = "standing"
    UNACKNOWLEDGED = "unacknowledged"
    ALL = "all"
    HISTORY = "history"


class AlertOrder(StrEnum):
    """How a list of alerts is sorted."""

    NOTICED = "noticed"
    URGENCY = "urgency"


class AlertColour(StrEnum):
    """The colours that an alert can have."""

    BLUE = "blue"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"


class Alert(Schema):
    """An alert: what the rules know of it and what people decided about it."""

    model_config = example(_ALERT)

    id: str
    rule: str
    key: str
    """What the rule is about, for example the device."""
    site: str
    node: str
    device: str | None
    colour: Colour
    state: AlertState
    """After ISA-18.2, derived from the times below."""
    began_at: Ms
    """When the condition began."""
    raised_at: Ms
    """When the rule fired: later by its duration."""
    noticed_at: Ms
    """When the collector could know it."""
    worsened_at: Ms | None
    cleared_at: Ms | None
    late: bool
    """It began and ended before it could be known: silent history."""
    revision: int
    attention: int
    """The revision that last asked for attention; an acknowledgement must have seen it."""
    title: Names
    advice: Names
    reason: dict[str, Any]
    """Why it fired: the condition, and the values and times that made it true."""
    acknowledged_at: Ms | None
    acknowledged_by: str | None
    acknowledged_revision: int
    path: list[PathPart]
    """From the street down to the node."""


class AlertStep(Schema):
    """One step of an alert's timeline."""

    model_config = example(_STEP)

    at: Ms
    kind: str
    """``raised``, ``worsened``, ``eased``, ``corrected``, ``cleared``, ``history``,
    ``acknowledged`` or ``comment``."""
    revision: int
    by: str | None
    """Who did it; none for the rules."""
    text: str | None
    detail: dict[str, Any]


class AlertWithSteps(Alert):
    """An alert with its timeline, oldest step first."""

    model_config = example({**_ALERT, "steps": [_STEP]})

    steps: list[AlertStep]


class ColourCounts(Schema):
    """Open alerts by colour."""

    red: int
    orange: int
    yellow: int
    blue: int


class AlertPage(Schema):
    """One page of a list of alerts."""

    model_config = example(
        {
            "items": [_ALERT],
            "next": None,
            "counts": {"red": 1, "orange": 0, "yellow": 0, "blue": 0},
            "unacknowledged": 1,
        }
    )

    items: list[Alert]
    next: str | None
    """The ``before`` of the next page; none on the last."""
    counts: ColourCounts
    """All open alerts, whatever the page shows (of the node that was asked for)."""
    unacknowledged: int


class Acknowledgement(Body):
    """Who acknowledges says which revision they saw."""

    model_config = Body.model_config | example({"revision": 1, "comment": "On my way."})

    revision: Annotated[int, Field(ge=1, le=2**31 - 1)]
    comment: Annotated[str, Field(max_length=2_000)] | None = None


class Comment(Body):
    """A comment on an alert."""

    model_config = Body.model_config | example({"text": "The maintainer is on site."})

    text: Annotated[str, Field(min_length=1, max_length=2_000)]
