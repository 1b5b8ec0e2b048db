"""Reading alerts, and acknowledging and commenting on them; blocking, called in threads."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core.contracts.colours import Colour
from core.runtime.trail import opening
from core.storage.records import accounts, alerts, changes
from core.storage.records.errors import RevisionConflictError
from dashboard_api.access import Principal, who
from dashboard_api.alerts.schemas import (
    Acknowledgement,
    Alert,
    AlertColour,
    AlertFilter,
    AlertOrder,
    AlertPage,
    AlertWithSteps,
    ColourCounts,
)
from dashboard_api.context import Services
from dashboard_api.problems import Kind, Problem

log = structlog.get_logger(__name__)


def page(
    services: Services,
    *,
    state: AlertFilter,
    colour: AlertColour | None,
    node: str | None,
    device: str | None,
    order: AlertOrder,
    limit: int,
    before: str | None,
) -> tuple[AlertPage, int]:
    """Return a page of alerts with the counts, and its place in the live sequence."""
    now = services.clock.now_ms()
    with services.records.reading() as session:
        found = alerts.list_alerts(
            session,
            state=state.value,
            now=now,
            colour=Colour(colour.value) if colour else None,
            node=node,
            device=device,
            order=order.value,
            limit=limit,
            before=before,
        )
        counts = alerts.count_alerts(session, now=now, node=node)
        sequence = changes.last_seq(session)
    items = [Alert.model_validate(alerts.alert_view(row, now)) for row in found.items]
    return (
        AlertPage(
            items=items,
            next=found.next,
            counts=ColourCounts.model_validate(counts.by_colour),
            unacknowledged=counts.unacknowledged,
        ),
        sequence,
    )


def one(services: Services, alert: str) -> AlertWithSteps:
    """Return one alert with its timeline."""
    with services.records.reading() as session:
        return AlertWithSteps.model_validate(_whole(session, alert, services.clock.now_ms()))


def acknowledge(
    services: Services, principal: Principal, alert: str, body: Acknowledgement
) -> Alert:
    """Acknowledge the revision that somebody saw.

    Raises:
        Problem: 409 when the alert asked for attention again after that revision.
    """
    now = services.clock.now_ms()
    try:
        with services.records.session() as session:
            row = alerts.acknowledge(
                session, alert, body.revision, principal.name, body.comment, now
            )
            view = alerts.alert_view(row, now)
            detail: dict[str, Any] = {"revision": body.revision}
            _audit(session, services, principal, "alert.acknowledged", alert, detail)
    except RevisionConflictError as conflict:
        raise Problem(
            HTTPStatus.CONFLICT,
            Kind.WORSENED,
            f"the alert worsened meanwhile: look at revision {conflict.attention} and "
            "acknowledge that one",
            field="revision",
        ) from None
    services.hub.wake()
    # Who it was stands in the audit.
    log.info("alert acknowledged", alert=alert, revision=body.revision, **opening(view["reason"]))
    return Alert.model_validate(view)


def comment(services: Services, principal: Principal, alert: str, text: str) -> AlertWithSteps:
    """Add a comment to an alert's timeline."""
    now = services.clock.now_ms()
    with services.records.session() as session:
        alerts.add_comment(session, alert, text, principal.name, now)
        _audit(session, services, principal, "alert.commented", alert, {})
        whole = _whole(session, alert, now)
    services.hub.wake()
    return AlertWithSteps.model_validate(whole)


def _whole(session: Session, alert: str, now: int) -> dict[str, Any]:
    row = alerts.get_alert(session, alert)
    steps = [alerts.step_view(step) for step in alerts.steps_of(session, alert)]
    return {**alerts.alert_view(row, now), "steps": steps}


def _audit(
    session: Session,
    services: Services,
    principal: Principal,
    action: str,
    alert: str,
    detail: dict[str, Any],
) -> None:
    accounts.audit_by(session, who(services, principal), action, f"alert/{alert}", detail)
