"""Unknown devices and edges: who they are, and giving them a place."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from core.storage.records import accounts, adoptions, counters, quarantine
from core.storage.records.adoptions import Place
from dashboard_api.access import Administrator, Viewer, who
from dashboard_api.context import ServicesDep
from dashboard_api.problems import DECIDES, READS, responses
from dashboard_api.quarantine.schemas import (
    Adoptions,
    AdoptionView,
    AdoptRequest,
    UnknownPage,
    WithdrawRequest,
)
from dashboard_api.schemas import IdPath, IdQuery, LimitQuery

router = APIRouter(prefix="/api/v1", tags=["quarantine"])


@router.get("/quarantine", summary="Unknown devices and edges", responses=responses(*READS))
def list_unknown(
    services: ServicesDep,
    _: Viewer,
    limit: LimitQuery = 200,
    after: IdQuery | None = None,
    *,
    edges: bool | None = None,
) -> UnknownPage:
    """Return a page of those that speak and that the topology does not name.

    All that they say is stored; once they are adopted it is there to be seen.
    """
    with services.records.reading() as session:
        items, following = quarantine.list_unknown(session, edges=edges, limit=limit, after=after)
        return UnknownPage.model_validate(
            {
                "items": items,
                "next": following,
                "total": quarantine.count(session),
                "unlisted_events": counters.read(session, counters.UNKNOWN_UNLISTED),
            }
        )


@router.post(
    "/quarantine/{id}/adopt",
    summary="Adopt an unknown device or edge",
    responses=responses(*DECIDES),
)
def adopt(
    services: ServicesDep, principal: Administrator, id: IdPath, body: AdoptRequest
) -> AdoptionView:
    """Give an unknown device or edge its place; again for an adopted one: correct it.

    The collector activates it within a second; the rules, presence and charts then know it. A
    topology file that names it itself wins.
    """
    place = Place(
        node=body.node, family=body.family, name_zh=body.name.zh, name_en=body.name.en,
        expect_s=body.expect_s, model=body.model, reason=body.reason,
    )  # fmt: skip
    with services.records.session() as session:
        now = services.clock.now_ms()
        found = adoptions.adopt(session, id, place, who(services, principal), now)
    return AdoptionView.model_validate(found)


@router.post(
    "/quarantine/{id}/forget",
    summary="Take an unknown sender off the list",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(*DECIDES),
)
def forget(services: ServicesDep, principal: Administrator, id: IdPath) -> None:
    """Make room in the list; what it said stays stored, and it is listed when it speaks again."""
    with services.records.session() as session:
        quarantine.forget(session, id)
        accounts.audit_by(session, who(services, principal), "device.forget", f"device/{id}")


@router.get("/adoptions", summary="Adopted devices and edges", responses=responses(*READS))
def list_adoptions(services: ServicesDep, _: Viewer) -> Adoptions:
    """Return what was adopted, by whom, and whether it holds."""
    with services.records.reading() as session:
        return Adoptions.model_validate({"items": adoptions.list_adoptions(session)})


@router.post(
    "/adoptions/{id}/withdraw",
    summary="Take an adoption back",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(*DECIDES),
)
def withdraw(
    services: ServicesDep, principal: Administrator, id: IdPath, body: WithdrawRequest
) -> None:
    """Take an adoption back; whoever speaks again is unknown again."""
    with services.records.session() as session:
        adoptions.withdraw(session, id, who(services, principal), reason=body.reason)
