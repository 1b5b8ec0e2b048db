"""The conservation law: what was journalled is stored, a dead letter, declared, or on its way."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter

from core.storage.records import conservation
from core.storage.records.conservation import Flow, Law, Taken
from core.storage.records.ledger import DAY_MS
from dashboard_api.access import Viewer
from dashboard_api.conservation.schemas import Conservation, Difference, EdgeFlow, FlowView
from dashboard_api.context import ServicesDep
from dashboard_api.problems import READS, invalid, responses
from dashboard_api.schemas import MsQuery

router = APIRouter(prefix="/api/v1", tags=["system"])


@router.get(
    "/conservation",
    summary="Journalled = stored + dead letters + declared dropped + on its way",
    responses=responses(*READS),
)
def read_conservation(
    services: ServicesDep, _: Viewer, start: MsQuery, end: MsQuery | None = None
) -> Conservation:
    """Return the accounts of `[start, end)`, by default up to now, in the collector's time.

    They are kept by the hour, and by the day (UTC) when they are a few days old: the answer says
    which time it covers. `exact` is false when anything that came is unaccounted for, or the series
    store holds another number than it took.
    """
    until = services.clock.now_ms() if end is None else end
    if start > until:
        raise invalid("start", "is later than the end")
    with services.records.reading() as session:
        found = conservation.law(session, start, until)
    return _view(found)


def _view(law: Law) -> Conservation:
    return Conservation(
        start=law.start,
        end=law.end,
        since=law.since,
        exact=law.exact,
        total=FlowView(**_flow(law.total)),
        put_back=law.put_back,
        unknown_losses=law.unknown,
        logs_cut_off=law.cut_off,
        days=law.days,
        days_compared=law.compared,
        differences=_differences(law.differences),
        unsettled=_differences(law.unsettled),
        edges=[
            EdgeFlow(site=site, edge=edge or None, **_flow(flow))
            for (site, edge), flow in sorted(law.edges.items())
        ],
    )


def _differences(rows: list[Taken]) -> list[Difference]:
    return [
        Difference(
            day=datetime.fromtimestamp(row.day * DAY_MS / 1000, UTC).date(),
            kind=row.kind,
            stored=row.stored,
            held=row.found or 0,
        )
        for row in rows
    ]


def _flow(flow: Flow) -> dict[str, int]:
    return {
        "journalled": flow.journalled,
        "stored": flow.stored,
        "dead": flow.dead,
        "dropped": flow.dropped,
        "on_its_way": flow.on_its_way,
        "missing": flow.missing,
        "surplus": flow.surplus,
        "absent_batches": flow.absent,
        "undeclared_batches": flow.undeclared,
    }
