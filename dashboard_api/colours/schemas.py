"""The past of the colours over the wire."""

from __future__ import annotations

from core.contracts.colours import Colour
from dashboard_api.schemas import Ms, Schema, example

_CHANGE = {
    "at": 1_763_000_000_000,
    "colour": "orange",
    "alert_colour": "orange",
    "heard": 12,
    "total": 12,
}


class ColourChange(Schema):
    """The node's colour and coverage from ``at`` on."""

    model_config = example(_CHANGE)

    at: Ms
    colour: Colour
    alert_colour: Colour
    heard: int
    total: int


class ColourHistory(Schema):
    """A node's colours in a window; the first change may lie before its start."""

    model_config = example({"node": "jinxiu-b1", "changes": [_CHANGE], "complete": True})

    node: str
    changes: list[ColourChange]
    complete: bool
    """False where there are more changes than one answer holds: ask for a shorter window."""
