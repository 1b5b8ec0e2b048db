"""Dead letters: a list, one of them, and what is to become of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query

from core.contracts.letters import LetterState
from core.storage.records import letters, refusals
from core.storage.records.errors import DecidedError
from dashboard_api.access import Administrator, Viewer, who
from dashboard_api.context import Services, ServicesDep
from dashboard_api.letters.schemas import (
    DeadLetter,
    DeadLetterPage,
    DiscardRequest,
    ReplayRequest,
)
from dashboard_api.problems import DECIDES, READS, Kind, Problem, responses
from dashboard_api.schemas import BeforeQuery, LimitQuery

router = APIRouter(prefix="/api/v1", tags=["letters"])
LetterPath = Annotated[str, Path(max_length=120, examples=["4711-0"])]


@router.get("/deadletters", summary="What was refused, and why", responses=responses(*READS))
def list_dead_letters(
    services: ServicesDep,
    _: Viewer,
    state: LetterState | None = None,
    field: Annotated[str | None, Query(max_length=200, examples=["data.value"])] = None,
    limit: LimitQuery = 100,
    before: BeforeQuery = None,
) -> DeadLetterPage:
    """Return a page of dead letters, newest first."""
    with services.records.reading() as session:
        page = refusals.list_dead_letters(
            session, state=state, field=field, limit=limit, before=before
        )
    return DeadLetterPage.model_validate({"items": page.items, "next": page.next})


@router.get(
    "/deadletters/{letter}",
    summary="One dead letter",
    responses=responses(*READS, HTTPStatus.NOT_FOUND),
)
def read_dead_letter(services: ServicesDep, _: Viewer, letter: LetterPath) -> DeadLetter:
    """Return one dead letter."""
    return _letter(services, letter)


@router.post(
    "/deadletters/{letter}/replay",
    summary="Put a dead letter back",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(*DECIDES, HTTPStatus.CONFLICT),
)
def replay_dead_letter(
    services: ServicesDep, principal: Administrator, letter: LetterPath, body: ReplayRequest
) -> DeadLetter:
    """Ask the collector to put a letter back into its log; `state` says when it has done so.

    What is in it is checked now as what arrives is; 422 names the field that is still at fault.
    409 when it was replayed, or is about to be: it is stored once.
    """
    try:
        with services.records.session() as session:
            letters.ask_replay(
                session, letter, who(services, principal), services.clock.now_ms(),
                reason=body.reason, mended=None if body.raw is None else _bytes(body.raw),
            )  # fmt: skip
    except DecidedError as error:
        raise _conflict(error) from None
    return _letter(services, letter)


@router.post(
    "/deadletters/{letter}/discard",
    summary="Set a dead letter aside",
    responses=responses(*DECIDES, HTTPStatus.CONFLICT),
)
def discard_dead_letter(
    services: ServicesDep, principal: Administrator, letter: LetterPath, body: DiscardRequest
) -> DeadLetter:
    """Note that a letter is of no use. It is kept, still counts, and can be replayed after all."""
    try:
        with services.records.session() as session:
            now = services.clock.now_ms()
            letters.discard(session, letter, who(services, principal), now, reason=body.reason)
    except DecidedError as error:
        raise _conflict(error) from None
    return _letter(services, letter)


def _letter(services: Services, letter: str) -> DeadLetter:
    with services.records.reading() as session:
        row = letters.get_letter(session, letter)
        return DeadLetter.model_validate(refusals.dead_letter_view(row))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _conflict(error: DecidedError) -> Problem:
    return Problem(HTTPStatus.CONFLICT, Kind.CONFLICT, str(error))
