"""Alerts: lists, one alert as the interface shows it, and what operators do to it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_
from sqlalchemy.orm import Session

from core.contracts.alerts import OperatorSide, RuleSide, state_at
from core.contracts.colours import Colour
from core.contracts.errors import ContractError
from core.storage.records import changes
from core.storage.records.errors import NotFoundError, RevisionConflictError
from core.storage.records.models import AlertRow, AlertStep
from core.storage.records.paging import decode_key, encode_key
from core.storage.records.tree import in_nodes

Filter = Literal["open", "standing", "unacknowledged", "all", "history"]
Order = Literal["noticed", "urgency"]

ACKNOWLEDGED = "acknowledged"
COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class AlertPage:
    """One page of a list; ``next`` is the ``before`` of the next page (None: the last)."""

    items: list[AlertRow]
    next: str | None


@dataclass(frozen=True, slots=True)
class AlertCounts:
    """Open alerts by colour, and how many alerts wait for an acknowledgement."""

    by_colour: dict[str, int]
    unacknowledged: int


def get_alert(session: Session, alert_id: str) -> AlertRow:
    """Return an alert's row; raise :class:`NotFoundError`."""
    row = session.get(AlertRow, alert_id)
    if row is None:
        raise NotFoundError("alert", alert_id)
    return row


def list_alerts(
    session: Session,
    *,
    state: Filter = "open",
    now: int,
    colour: Colour | None = None,
    node: str | None = None,
    nodes: AbstractSet[str] | None = None,
    device: str | None = None,
    order: Order = "noticed",
    limit: int = 100,
    before: str | None = None,
) -> AlertPage:
    """Return a page of alerts, the last noticed first.

    Args:
        session: a reading or a writing one.
        state: ``standing`` (not cleared), ``unacknowledged`` (asks for attention at ``now``:
            not shelved, suppressed or out of service), ``open`` (standing, or over and not
            yet acknowledged), ``history`` (not open) or ``all``.
        now: ms (UTC); shelving ends by it.
        colour: only alerts of this colour.
        node: only alerts at this node or below it.
        nodes: only alerts at exactly these nodes.
        device: only alerts of this device.
        order: ``urgency`` puts red first, and within a colour the last noticed.
        limit: the page's size.
        before: the ``next`` of the page before; of the same order.

    Raises:
        ContractError: ``before`` is not such a key.
    """
    query = select(AlertRow).where(*_where(state, now, colour, node, nodes, device))
    if order == "urgency":
        keys = (AlertRow.rank, AlertRow.noticed_at, AlertRow.id)
        query = query.order_by(*(key.desc() for key in keys))
        if before is not None:
            query = query.where(tuple_(*keys) < tuple_(*decode_key(before, int, int, str)))
    else:
        query = query.order_by(AlertRow.noticed_at.desc(), AlertRow.id.desc())
        if before is not None:
            key = decode_key(before, int, str)
            query = query.where(tuple_(AlertRow.noticed_at, AlertRow.id) < tuple_(*key))
    rows = list(session.scalars(query.limit(limit + 1)))
    items = rows[:limit]
    following = None
    if len(rows) > limit:
        last = items[-1]
        following = (
            encode_key(last.rank, last.noticed_at, last.id)
            if order == "urgency"
            else encode_key(last.noticed_at, last.id)
        )
    return AlertPage(items, following)


def count_alerts(session: Session, *, now: int, node: str | None = None) -> AlertCounts:
    """Count the open alerts by colour, and those unacknowledged at ``now`` (ms)."""
    by_colour = {colour.value: 0 for colour in Colour if colour.is_alert}
    counted: Select[str, int] = (
        select(AlertRow.colour, func.count())
        .where(*_where("open", now, None, node, None, None))
        .group_by(AlertRow.colour)
    )
    by_colour |= dict(session.execute(counted).all())
    waiting = session.scalar(
        select(func.count())
        .select_from(AlertRow)
        .where(*_where("unacknowledged", now, None, node, None, None))
    )
    return AlertCounts(by_colour, waiting or 0)


def _where(
    state: Filter,
    now: int,
    colour: Colour | None,
    node: str | None,
    nodes: AbstractSet[str] | None,
    device: str | None,
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if state == "open":
        conditions.append(AlertRow.is_open == 1)
    elif state == "history":
        conditions.append(AlertRow.is_open == 0)
    elif state == "standing":
        conditions.append(AlertRow.cleared_at.is_(None))
    elif state == "unacknowledged":
        conditions += [
            AlertRow.is_unseen == 1,
            AlertRow.suppressed.is_(False),
            AlertRow.out_of_service.is_(False),
            or_(AlertRow.shelved_until.is_(None), AlertRow.shelved_until <= now),
        ]
    if colour is not None:
        conditions.append(AlertRow.colour == colour.value)
    if node is not None:
        conditions.append(in_nodes(AlertRow.node, node))
    if nodes is not None:
        conditions.append(AlertRow.node.in_(sorted(nodes)))
    if device is not None:
        conditions.append(AlertRow.device == device)
    return conditions


def sides(row: AlertRow) -> tuple[RuleSide, OperatorSide]:
    """Return what the rules know of an alert and what people decided about it."""
    rule = RuleSide(
        id=row.id,
        rule=row.rule,
        key=row.key,
        site=row.site,
        node=row.node,
        device=row.device,
        colour=Colour(row.colour),
        began_at=row.began_at,
        raised_at=row.raised_at,
        noticed_at=row.noticed_at,
        revision=row.revision,
        attention=row.attention,
        worsened_at=row.worsened_at,
        cleared_at=row.cleared_at,
        late=row.late,
        title_en=row.title_en,
        title_zh=row.title_zh,
        advice_en=row.advice_en,
        advice_zh=row.advice_zh,
        reason=row.reason,
    )
    operator = OperatorSide(
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_revision=row.acknowledged_revision,
        shelved_until=row.shelved_until,
        suppressed=row.suppressed,
        out_of_service=row.out_of_service,
        resolved_at=row.resolved_at,
    )
    return rule, operator


def alert_view(row: AlertRow, now: int) -> dict[str, Any]:
    """Return an alert as the interface and the live sequence show it, at ``now`` (ms)."""
    return {
        "id": row.id,
        "rule": row.rule,
        "key": row.key,
        "site": row.site,
        "node": row.node,
        "device": row.device,
        "colour": row.colour,
        "state": state_at(*sides(row), now).value,
        "began_at": row.began_at,
        "raised_at": row.raised_at,
        "noticed_at": row.noticed_at,
        "worsened_at": row.worsened_at,
        "cleared_at": row.cleared_at,
        "late": row.late,
        "revision": row.revision,
        "attention": row.attention,
        "title": {"zh": row.title_zh, "en": row.title_en},
        "advice": {"zh": row.advice_zh, "en": row.advice_en},
        "reason": row.reason,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_revision": row.acknowledged_revision,
        "path": row.path,
    }


def steps_of(session: Session, alert_id: str) -> list[AlertStep]:
    """Return an alert's timeline, oldest first."""
    return list(
        session.scalars(
            select(AlertStep)
            .where(AlertStep.alert_id == alert_id)
            .order_by(AlertStep.at, AlertStep.revision, AlertStep.id)
        )
    )


def step_view(step: AlertStep) -> dict[str, Any]:
    """Return one step of a timeline as the interface shows it."""
    return {
        "at": step.at,
        "kind": step.kind,
        "revision": step.revision,
        "by": step.by,
        "text": step.text,
        "detail": step.detail,
    }


def acknowledge(
    session: Session, alert_id: str, revision: int, user: str, comment: str | None, now: int
) -> AlertRow:
    """Acknowledge the revision that ``user`` saw; again is harmless. Appends step and change.

    Raises:
        NotFoundError: there is no such alert.
        RevisionConflictError: it asked for attention again after that revision.
        ContractError: the alert has no such revision yet.
    """
    changes.lock(session)
    row = get_alert(session, alert_id)
    if revision > row.revision:
        raise ContractError(f"the alert is at revision {row.revision}", field="revision")
    if revision < row.attention:
        raise RevisionConflictError(alert_id, seen=revision, attention=row.attention)
    if row.acknowledged_at is None or row.acknowledged_revision < row.attention:
        row.acknowledged_at = now
        row.acknowledged_by = user
        row.acknowledged_revision = revision
        _step(session, row, ACKNOWLEDGED, user, comment, now, revision)
    elif comment:
        _step(session, row, COMMENT, user, comment, now, revision)
    else:
        return row
    session.flush()
    changes.append_change(session, "alert", row.id, alert_view(row, now), now)
    return row


def add_comment(session: Session, alert_id: str, text: str, user: str, now: int) -> AlertRow:
    """Add a comment to an alert's timeline, with a change; raise :class:`NotFoundError`."""
    changes.lock(session)
    row = get_alert(session, alert_id)
    _step(session, row, COMMENT, user, text, now, row.revision)
    session.flush()
    changes.append_change(session, "alert", row.id, alert_view(row, now), now)
    return row


def _step(
    session: Session,
    row: AlertRow,
    kind: str,
    user: str,
    text: str | None,
    now: int,
    revision: int,
) -> None:
    # Under the sequence's lock nobody else counts; the number keeps steps of one ms in order.
    number = session.scalar(
        select(func.count())
        .select_from(AlertStep)
        .where(AlertStep.alert_id == row.id, AlertStep.by.is_not(None))
    )
    session.add(
        AlertStep(
            id=f"{row.id}/step/{number or 0:06d}",
            alert_id=row.id,
            at=now,
            kind=kind,
            revision=revision,
            by=user,
            text=text or None,
            detail={},
        )
    )
