"""Devices and edges as they are now, and the past of the colours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, case, delete, func, not_, or_, select
from sqlalchemy.orm import Session, aliased

from core.contracts.outputs import Presence
from core.storage.records.errors import NotFoundError
from core.storage.records.models import ColourChange, DeviceRow, EdgeRow, EdgeState, PresenceRow
from core.storage.records.tree import in_nodes


@dataclass(frozen=True, slots=True)
class DevicePage:
    """One page of devices as the interface shows them; ``next`` is the next page's ``after``."""

    items: list[dict[str, Any]]
    next: str | None


def list_devices(
    session: Session,
    *,
    node: str | None = None,
    family: str | None = None,
    presence: str | None = None,
    q: str | None = None,
    limit: int = 200,
    after: str | None = None,
    silent: Collection[str] = (),
) -> DevicePage:
    """Return a page of devices in the order of their ids.

    Args:
        session: a reading or a writing one.
        node: only devices at this node or below it.
        family: only devices of this family.
        presence: only devices of this presence.
        q: only devices whose id, name or model contains this text, whatever the case.
        limit: the page's size.
        after: the last id of the page before.
        silent: sites whose devices are offline, whatever was said of them last.
    """
    query = _devices().order_by(DeviceRow.id)
    if node is not None:
        query = query.where(in_nodes(DeviceRow.node, node))
    if family is not None:
        query = query.where(DeviceRow.family == family)
    if presence is not None:
        told = func.coalesce(PresenceRow.presence, Presence.UNKNOWN.value) == presence
        is_silent = DeviceRow.site.in_(silent)
        if presence == Presence.OFFLINE:
            query = query.where(or_(told, is_silent))
        else:
            query = query.where(told, not_(is_silent))
    if q:
        columns = (DeviceRow.id, DeviceRow.name_zh, DeviceRow.name_en, DeviceRow.model)
        query = query.where(or_(*(column.icontains(q, autoescape=True) for column in columns)))
    if after is not None:
        query = query.where(DeviceRow.id > after)
    rows = session.execute(query.limit(limit + 1)).all()
    items = [device_view(device, state) for device, state in rows[:limit]]
    return DevicePage(items, items[-1]["id"] if len(rows) > limit else None)


def get_device(session: Session, device: str) -> tuple[DeviceRow, PresenceRow | None]:
    """Return a device and its presence; raise :class:`NotFoundError`."""
    row = session.execute(_devices().where(DeviceRow.id == device)).one_or_none()
    if row is None:
        raise NotFoundError("device", device)
    return row[0], row[1]


def _devices() -> Select[DeviceRow, PresenceRow | None]:
    return select(DeviceRow, PresenceRow).outerjoin(PresenceRow, PresenceRow.device == DeviceRow.id)


def device_view(device: DeviceRow, state: PresenceRow | None) -> dict[str, Any]:
    """Return one device as the interface shows it.

    When one that is online was heard last is not in the records: ``last_heard`` is None then.
    """
    is_online = state is not None and state.presence == Presence.ONLINE
    return {
        "id": device.id,
        "family": device.family,
        "name": {"zh": device.name_zh, "en": device.name_en},
        "node": device.node,
        "site": device.site,
        "edge": device.edge,
        "model": device.model,
        "position": device.position,
        "expect_s": device.expect_s,
        "limits": device.limits,
        "presence": state.presence if state else Presence.UNKNOWN.value,
        "presence_since": state.at if state else None,
        "last_heard": state.last_heard if state and not is_online else None,
        "cause": state.cause if state else None,
        "learned_s": state.learned_ms / 1000 if state and state.learned_ms is not None else None,
    }


def count_presence(session: Session, silent: Collection[str] = ()) -> dict[str, int]:
    """Return how many devices there are of each presence; ``silent`` as for the list."""
    counts = {presence.value: 0 for presence in Presence}
    told = case((DeviceRow.site.in_(silent), Presence.OFFLINE.value), else_=PresenceRow.presence)
    rows = session.execute(
        select(told, func.count())
        .select_from(DeviceRow)
        .outerjoin(PresenceRow, PresenceRow.device == DeviceRow.id)
        .group_by(told)
    )
    for presence, count in rows:
        counts[presence or Presence.UNKNOWN.value] += count
    return counts


def list_edges(session: Session) -> list[dict[str, Any]]:
    """Return every edge of the topology as the interface shows it, in the order of the ids.

    An edge that was never heard is offline with ``epoch``, ``since`` and ``backlog`` None.
    ``backlog`` is the batches that waited in its outbox when it last came online; 0 once it
    has drained.
    """
    devices = dict(
        session.execute(
            select(DeviceRow.edge, func.count())
            .where(DeviceRow.edge.is_not(None))
            .group_by(DeviceRow.edge)
        ).all()
    )
    rows = session.execute(
        select(EdgeRow, EdgeState)
        .outerjoin(EdgeState, EdgeState.edge == EdgeRow.id)
        .order_by(EdgeRow.id)
    )
    return [
        {
            "id": edge.id,
            "site": edge.site,
            "name": {"zh": edge.name_zh, "en": edge.name_en},
            "online": state.online if state else False,
            "drained": state.drained if state else False,
            "epoch": state.epoch if state else None,
            "since": state.since if state else None,
            "devices": devices.get(edge.id, 0),
            "backlog": state.backlog if state else None,
        }
        for edge, state in rows
    ]


def edge_site(session: Session, edge: str) -> str:
    """Return the site that an edge serves; raise :class:`NotFoundError`."""
    site = session.execute(select(EdgeRow.site).where(EdgeRow.id == edge)).scalar_one_or_none()
    if site is None:
        raise NotFoundError("edge", edge)
    return site


def colour_history(
    session: Session, node: str, start: int, end: int, *, limit: int = 10_000
) -> list[dict[str, Any]]:
    """Return a node's colours in ``[start, end)`` (ms), oldest first, at most ``limit``.

    The first may lie before ``start``: it is the colour that held then.
    """
    columns = (
        ColourChange.at,
        ColourChange.colour,
        ColourChange.alert_colour,
        ColourChange.heard,
        ColourChange.total,
    )
    of_node = select(*columns).where(ColourChange.node == node)
    held = session.execute(
        of_node.where(ColourChange.at < start).order_by(ColourChange.at.desc()).limit(1)
    ).all()
    within = session.execute(
        of_node.where(ColourChange.at >= start, ColourChange.at < end)
        .order_by(ColourChange.at)
        .limit(limit)
    ).all()
    return [dict(row._mapping) for row in (*held, *within)]  # noqa: SLF001  # public by its docs


def trim_colour_history(session: Session, before_ms: int) -> int:
    """Remove colours that were replaced by ``before_ms``; return how many.

    Each node keeps the one that held then, so that the past after it stays whole.
    """
    newer = aliased(ColourChange)
    replaced = (
        select(newer.node)
        .where(newer.node == ColourChange.node, newer.at > ColourChange.at, newer.at <= before_ms)
        .exists()
    )
    removed = session.execute(
        delete(ColourChange).where(ColourChange.at < before_ms, replaced),
        execution_options={"synchronize_session": False},
    )
    return int(getattr(removed, "rowcount", 0))
