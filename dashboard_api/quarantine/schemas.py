"""Unknown devices and edges, and adoptions, over the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from core.contracts.events import ID_PATTERN
from core.contracts.topology import DeviceFamily
from dashboard_api.schemas import Body, Ms, Schema, example

_UNKNOWN: dict[str, Any] = {
    "id": "jinxiu-b1-new",
    "is_edge": False,
    "site": "jinxiu",
    "edge": "jinxiu-b1",
    "source": "estate/v1/jinxiu/jinxiu-b1/batch",
    "owner": None,
    "first_seen": 1_763_000_000_000,
    "last_seen": 1_763_000_060_000,
    "events": 2,
    "kinds": {"meter.reading": 2},
    "sample": {
        "kind": "meter.reading",
        "at": 1_763_000_060_000,
        "data": {"medium": "water", "volume_m3": 12.5},
    },
}
_ENTRY: dict[str, Any] = {
    "id": "jinxiu-b1-new",
    "family": "meter",
    "name": {"zh": "1号楼水表", "en": "Building 1 water meter"},
    "node": "jinxiu-b1",
    "edge": "jinxiu-b1-edge",
}
_ADOPTION: dict[str, Any] = {
    "id": "jinxiu-b1-new",
    "is_edge": False,
    "body": _ENTRY,
    "at": 1_763_000_100_000,
    "by": "admin",
    "reason": "put in on Monday",
    "superseded_at": None,
    "problem": None,
}


class Sample(Schema):
    """The last event of an unknown sender."""

    kind: str
    at: Ms
    data: dict[str, Any] | None
    """None where it is longer than 4 KiB; the series store has it."""


class Unknown(Schema):
    """A device or an edge that speaks and that the topology does not name, or not like this."""

    model_config = example(_UNKNOWN)

    id: str
    is_edge: bool
    site: str
    edge: str | None
    """The edge that brings it; none: it speaks for itself."""
    source: str
    """The topic on which it comes."""
    owner: str | None
    """The edge or site that the topology gives this device to: somebody else speaks for it here.
    No rule takes what he says."""
    first_seen: Ms
    last_seen: Ms
    events: int
    """How many events it has sent of itself; all of them are stored."""
    kinds: dict[str, int]
    sample: Sample | None


class UnknownPage(Schema):
    """One page of unknown senders in the order of their ids."""

    model_config = example({"items": [_UNKNOWN], "next": None, "total": 1, "unlisted_events": 0})

    items: list[Unknown]
    next: str | None
    total: int
    unlisted_events: int
    """Events of senders for whom the list had no room (10,000); they are stored all the same."""


class AdoptRequest(Body):
    """What an unknown sender is, and where."""

    model_config = Body.model_config | example(
        {
            "node": "jinxiu-b1",
            "family": "meter",
            "name": {"zh": "1号楼水表", "en": "Building 1 water meter"},
            "expect_s": 60,
            "reason": "put in on Monday",
        }
    )

    class Name(Body):
        """Its name in both languages."""

        zh: Annotated[str, Field(min_length=1, max_length=120)]
        en: Annotated[str, Field(min_length=1, max_length=120)]

    node: Annotated[str, Field(pattern=ID_PATTERN)]
    """Where it is; for an edge, its site."""
    family: DeviceFamily
    """`edge` for an edge, and only for one."""
    name: Name
    expect_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    """The interval (s) within which it should be heard."""
    model: Annotated[str, Field(max_length=120)] = ""
    reason: Annotated[str, Field(max_length=200)] = ""


class WithdrawRequest(Body):
    """Take an adoption back."""

    model_config = Body.model_config | example({"reason": "it was the neighbours'"})

    reason: Annotated[str, Field(max_length=200)] = ""


class AdoptionView(Schema):
    """A device or an edge beside what the topology file names."""

    model_config = example(_ADOPTION)

    id: str
    is_edge: bool
    body: dict[str, Any]
    """Its entry as it would stand in the topology file."""
    at: Ms
    by: str
    reason: str
    superseded_at: Ms | None
    """Since when the topology file names it itself: what stands there holds."""
    problem: str | None
    """Why it has no place now; none while it holds."""


class Adoptions(Schema):
    """Every adoption in the order of the ids."""

    model_config = example({"items": [_ADOPTION]})

    items: list[AdoptionView]
