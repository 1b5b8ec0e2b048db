"""The rule side of the alerts: newer revisions in, operators' columns untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.contracts.alerts import RuleSide
from core.contracts.outputs import AlertOutput
from core.storage.records.alerts import alert_view
from core.storage.records.changes import NewChange
from core.storage.records.models import AlertRow, AlertStep
from core.storage.records.sql import chunks, table, upsert
from core.storage.records.tree import paths_of


def apply_alerts(session: Session, outputs: Sequence[AlertOutput], now_ms: int) -> list[NewChange]:
    """Store each revision that is above the stored one; return one change an alert.

    Every accepted revision is a step of the timeline; the change shows the last.
    """
    if not outputs:
        return []
    revisions = _revisions(session, {output.alert.id for output in outputs})
    accepted: list[AlertOutput] = []
    newest: dict[str, RuleSide] = {}
    for output in outputs:
        alert = output.alert
        if alert.revision > revisions.get(alert.id, -1):
            revisions[alert.id] = alert.revision
            newest[alert.id] = alert
            accepted.append(output)
    paths = paths_of(session, (alert.node for alert in newest.values()))
    upsert(
        session,
        AlertRow,
        [_rule_columns(alert, paths.get(alert.node, [])) for alert in newest.values()],
        where=lambda stored, given: stored.revision < given.revision,
    )
    upsert(session, AlertStep, [_step(output) for output in accepted], update=())
    return _told(session, list(newest), now_ms)


def _revisions(session: Session, ids: set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in chunks(sorted(ids)):
        rows = session.execute(select(AlertRow.id, AlertRow.revision).where(AlertRow.id.in_(some)))
        found.update({row.id: row.revision for row in rows})
    return found


def _rule_columns(alert: RuleSide, path: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "key": alert.key,
        "site": alert.site,
        "node": alert.node,
        "device": alert.device,
        "colour": alert.colour.value,
        "rank": alert.colour.rank,
        "began_at": alert.began_at,
        "raised_at": alert.raised_at,
        "noticed_at": alert.noticed_at,
        "worsened_at": alert.worsened_at,
        "cleared_at": alert.cleared_at,
        "late": alert.late,
        "revision": alert.revision,
        "attention": alert.attention,
        "title_zh": alert.title_zh,
        "title_en": alert.title_en,
        "advice_zh": alert.advice_zh,
        "advice_en": alert.advice_en,
        "reason": alert.reason,
        "path": path,
    }


def _step(output: AlertOutput) -> dict[str, Any]:
    alert = output.alert
    return {
        "id": f"{alert.id}/{alert.revision}/{output.step.value}",
        "alert_id": alert.id,
        "at": output.at,
        "kind": output.step.value,
        "revision": alert.revision,
        "by": None,
        "text": None,
        "detail": output.detail,
    }


def _told(session: Session, ids: list[str], now_ms: int) -> list[NewChange]:
    views: dict[str, dict[str, Any]] = {}
    for some in chunks(ids):
        # Plain rows, which have the same attributes: the unit of work would cost a third more.
        for row in session.execute(select(table(AlertRow)).where(AlertRow.id.in_(some))):
            views[row.id] = alert_view(cast("AlertRow", row), now_ms)
    return [NewChange("alert", key, views[key]) for key in ids]
