"""Edges and losses over the wire."""

from __future__ import annotations

from dashboard_api.schemas import Ms, Names, Schema, example

_LOSS = {
    "pos": 4712,
    "index": 0,
    "at": 1_763_000_000_000,
    "site": "jinxiu",
    "edge": "jinxiu-b1",
    "epoch": "7d4a1d5e-0b1f-4c1e-9f0e-7f0f4b0c2a11",
    "lane": "reading",
    "first_seq": 120,
    "last_seq": 130,
    "events": 1100,
    "reason": "budget",
}


class Edge(Schema):
    """An edge agent now."""

    model_config = example(
        {
            "id": "jinxiu-b1",
            "site": "jinxiu",
            "name": {"zh": "1号楼边缘", "en": "Building 1 edge"},
            "online": True,
            "known": True,
            "drained": True,
            "epoch": "7d4a1d5e-0b1f-4c1e-9f0e-7f0f4b0c2a11",
            "since": 1_763_000_000_000,
            "devices": 14,
            "backlog": 0,
        }
    )

    id: str
    site: str
    name: Names
    online: bool
    known: bool
    """False while its site's collector stands still: what is said of it is from before."""
    drained: bool
    """Its backlog has arrived: what is known of its devices is up to date."""
    epoch: str | None
    """None for an edge that was never heard."""
    since: Ms | None
    """Since when it is online or offline."""
    devices: int
    backlog: int | None
    """Batches that waited in its outbox when it last came online; 0 once drained."""


class Loss(Schema):
    """A loss that was declared."""

    model_config = example(_LOSS)

    pos: int
    index: int
    at: Ms
    site: str
    edge: str
    epoch: str
    lane: str
    first_seq: int
    last_seq: int
    events: int | None
    """None where nobody knows how many."""
    reason: str


class LossPage(Schema):
    """One page of declared losses, newest first."""

    model_config = example({"items": [_LOSS], "next": None})

    items: list[Loss]
    next: str | None
