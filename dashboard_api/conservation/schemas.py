"""The conservation law over the wire; everything is counted in events but where it says batches."""

from __future__ import annotations

from datetime import date

from dashboard_api.schemas import Ms, Schema, example

_FLOW = {
    "journalled": 10_000,
    "stored": 9_950,
    "dead": 20,
    "dropped": 30,
    "on_its_way": 0,
    "missing": 0,
    "surplus": 0,
    "absent_batches": 0,
    "undeclared_batches": 0,
}


class FlowView(Schema):
    """What came in a period and what became of it.

    Where nothing was put back, `journalled` is the sum of `stored`, `dead`, `dropped`, `on_its_way`
    and `missing`, less `surplus`.
    """

    model_config = example(_FLOW)

    journalled: int
    """As far as it arrived, or an edge's note tells of it."""
    stored: int
    dead: int
    """Dead letters, replayed ones too: what a replay brings comes in as `put_back`."""
    dropped: int
    """Declared dropped by the edges."""
    on_its_way: int
    """Received, and not stored yet."""
    missing: int
    """Received long enough ago, and neither stored nor a dead letter."""
    surplus: int
    """Stored or refused more than once."""
    absent_batches: int
    """Batches between two that came, neither there nor declared."""
    undeclared_batches: int
    """Batches that an edge no longer had and that none of its notes counts."""


class EdgeFlow(FlowView):
    """What came from one edge."""

    model_config = example({"site": "jinxiu", "edge": "jinxiu-b1", **_FLOW})

    site: str
    edge: str | None
    """None for what came without an edge."""


class Difference(Schema):
    """A day (UTC, of the events' own time) of which the series store has another number."""

    day: date
    kind: str
    stored: int
    """How many it took."""
    held: int
    """How many it has."""


class Conservation(Schema):
    """The law of a period."""

    model_config = example(
        {
            "start": 1_763_000_000_000,
            "end": 1_763_003_600_000,
            "since": 1_762_000_000_000,
            "exact": True,
            "total": _FLOW,
            "put_back": 0,
            "unknown_losses": 0,
            "logs_cut_off": 0,
            "days": 1,
            "days_compared": 1,
            "differences": [],
            "unsettled": [],
            "edges": [{"site": "jinxiu", "edge": "jinxiu-b1", **_FLOW}],
        }
    )

    start: Ms
    end: Ms
    since: Ms | None
    """When the accounts begin; None while there are none."""
    exact: bool
    total: FlowView
    put_back: int
    """Events of dead letters that were replayed in the period."""
    unknown_losses: int
    """Declared losses that nobody can count: abandoned epochs, a restore."""
    logs_cut_off: int
    """Logs that ended with their collector in the period: of what came last and has no number there
    (plain events, collectors' notes) nobody knows."""
    days: int
    """Days of which the series store took events."""
    days_compared: int
    """Those whose content was compared since it last changed."""
    differences: list[Difference]
    unsettled: list[Difference]
    """Days of which the store holds more than is settled: what one of several collectors stored
    last, before it died or just now, is not counted. It is not known to be right or wrong."""
    edges: list[EdgeFlow]
