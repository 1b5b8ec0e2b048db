"""Dead letters over the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.contracts.batch import MAX_RAW_BYTES
from core.contracts.letters import LetterState
from dashboard_api.schemas import Body, Ms, Schema, example

_LETTER: dict[str, Any] = {
    "id": "4711-0",
    "pos": 4711,
    "index": 0,
    "at": 1_763_000_000_000,
    "site": "jinxiu",
    "source": "plain/jinxiu/jinxiu-probe",
    "reason": "data.value: Input should be a valid number (got 'warm')",
    "field": "data.value",
    "size": 92,
    "raw": '{"kind":"sensor.reading"}',
    "state": "dead",
    "replayable": True,
    "asked_at": None,
    "asked_by": None,
    "why": None,
    "problem": None,
    "replayed_at": None,
    "replayed_by": None,
    "replayed_as": None,
    "discarded_at": None,
    "discarded_by": None,
}


class DeadLetter(Schema):
    """Something that was refused, why, and what became of it."""

    model_config = example(_LETTER)

    id: str
    pos: int
    """Where it stands in the collector's log."""
    index: int
    at: Ms
    site: str | None
    source: str
    """The lane or topic on which it came."""
    reason: str
    field: str
    """Dotted path of the field at fault; empty when the whole cannot be read."""
    size: int
    """Bytes that are kept."""
    raw: str
    """What came (the first 64 KiB), as text; U+FFFD where it is not UTF-8."""
    state: LetterState
    replayable: bool
    """False for pictures, and for letters that an older version has kept."""
    asked_at: Ms | None
    """When a replay was asked for that is not carried out yet."""
    asked_by: str | None
    why: str | None
    """The reason that was given for the replay, or for discarding it."""
    problem: str | None
    """Why the last replay was not carried out; it may be asked for again."""
    replayed_at: Ms | None
    replayed_by: str | None
    replayed_as: str | None
    """The place in the log at which it stands now."""
    discarded_at: Ms | None
    discarded_by: str | None


class DeadLetterPage(Schema):
    """One page of dead letters, newest first."""

    model_config = example({"items": [_LETTER], "next": None})

    items: list[DeadLetter]
    next: str | None


Reason = Annotated[str, Field(min_length=1, max_length=200)]


class ReplayRequest(Body):
    """Put a letter back into the log, as it is or mended."""

    model_config = Body.model_config | example(
        {
            "reason": "the probe sent a word for a number",
            "raw": '{"kind":"sensor.reading","data":{"quantity":"level","value":1.5,"unit":"m"}}',
        }
    )

    reason: Reason
    """Why; stands in the audit."""
    raw: Annotated[str, Field(max_length=MAX_RAW_BYTES)] | None = None
    """What is to be in it instead; left out: what came, for example after an upgrade."""


class DiscardRequest(Body):
    """Say that a letter is of no use; it is kept all the same."""

    model_config = Body.model_config | example({"reason": "a test on the bench"})

    reason: Reason
