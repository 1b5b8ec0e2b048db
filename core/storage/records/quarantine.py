"""Devices and edges that speak and that the topology does not name, or by whom they may not.

All that they say is stored under their ids like everything else; here stands who they are, so
that somebody can adopt them (:mod:`core.storage.records.adoptions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.orm import Session

from core.contracts import topics
from core.contracts.codec import Event, encode
from core.contracts.outputs import UnknownOutput
from core.storage.records import counters
from core.storage.records.errors import NotFoundError
from core.storage.records.models import DeviceRow, EdgeRow, UnknownSender
from core.storage.records.sql import chunks, upsert

#: So many are listed; the events of others are stored, and counted in ``unknown_events_unlisted``.
MOST = 10_000
#: A longer sample is left out.
_SAMPLE_BYTES = 4_096


@dataclass(slots=True)
class _Heard:
    """What some outputs say of one sender; ``events`` counts its own words."""

    is_edge: bool
    site: str
    edge: str | None
    first: int
    last: int
    events: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    newest: Event | None = None


def tally(session: Session, outputs: Sequence[UnknownOutput], *, most: int = MOST) -> None:
    """Add what unknown senders have said; each output must come here once only."""
    if not outputs:
        return
    heard = _by_sender(outputs)
    rows = {
        row.id: row
        for ids in chunks(sorted(heard))
        for row in session.scalars(select(UnknownSender).where(UnknownSender.id.in_(ids)))
    }
    fresh = [name for name in heard if name not in rows]
    room = most - count(session) if fresh else 0
    unlisted = sum(heard[name].events for name in fresh[max(room, 0) :])
    if unlisted:
        counters.add(session, counters.UNKNOWN_UNLISTED, unlisted)
    kept = [*rows, *fresh[: max(room, 0)]]
    upsert(session, UnknownSender, [_row(name, heard[name], rows.get(name)) for name in kept])


def _by_sender(outputs: Sequence[UnknownOutput]) -> dict[str, _Heard]:
    found: dict[str, _Heard] = {}
    for output in outputs:
        edge, at = output.edge, output.at
        if edge is not None and not output.edge_known and edge not in found:
            found[edge] = _Heard(is_edge=True, site=output.site, edge=edge, first=at, last=at)
        sender = found.get(output.id)
        if sender is None:
            sender = found[output.id] = _Heard(
                is_edge=output.is_edge, site=output.site, edge=edge, first=at, last=at
            )
        sender.site, sender.edge = output.site, edge
        sender.events += 1
        kind = output.event.kind
        sender.kinds[kind] = sender.kinds.get(kind, 0) + 1
        sender.newest = output.event
        for name in (output.id, edge):
            if name in found:
                found[name].last = at
    return found


def _row(name: str, heard: _Heard, known: UnknownSender | None) -> dict[str, Any]:
    kinds = dict(known.kinds) if known else {}
    for kind, number in heard.kinds.items():
        kinds[kind] = kinds.get(kind, 0) + number
    return {
        "id": name,
        "is_edge": heard.is_edge,
        "site": heard.site,
        "edge": heard.edge,
        "source": _source(name, heard),
        "first_seen": known.first_seen if known else heard.first,
        "last_seen": heard.last,
        "events": heard.events + (known.events if known else 0),
        "kinds": kinds,
        "sample": _sample(heard.newest) or (known.sample if known else None),
    }


def _source(name: str, heard: _Heard) -> str:
    if heard.edge is None:
        return topics.plain_event(heard.site, name)
    return topics.batch(heard.site, heard.edge)


def _sample(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    body = encode(event.data)
    data = msgspec.json.decode(body) if len(body) <= _SAMPLE_BYTES else None
    return {"kind": event.kind, "at": event.at, "data": data}


def count(session: Session) -> int:
    """Return how many unknown senders are listed."""
    return session.scalar(select(func.count()).select_from(UnknownSender)) or 0


def list_unknown(
    session: Session, *, edges: bool | None = None, limit: int = 200, after: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page in the order of the ids, and the next page's ``after``."""
    query = _listed().order_by(UnknownSender.id)
    if edges is not None:
        query = query.where(UnknownSender.is_edge.is_(edges))
    if after is not None:
        query = query.where(UnknownSender.id > after)
    rows = session.execute(query.limit(limit + 1)).all()
    items = [unknown_view(row, owner) for row, owner in rows[:limit]]
    return items, items[-1]["id"] if len(rows) > limit else None


def _listed() -> Select[UnknownSender, str | None]:
    return select(UnknownSender, func.coalesce(DeviceRow.edge, DeviceRow.site)).outerjoin(
        DeviceRow, DeviceRow.id == UnknownSender.id
    )


def get_unknown(session: Session, name: str) -> UnknownSender:
    """Return one unknown sender; raise :class:`NotFoundError`."""
    row = session.get(UnknownSender, name)
    if row is None:
        raise NotFoundError("unknown device or edge", name)
    return row


def unknown_view(row: UnknownSender, owner: str | None) -> dict[str, Any]:
    """Return one unknown sender as the interface shows it.

    ``owner`` is the edge or the site that the topology gives the device to: somebody else speaks
    for it.
    """
    view = {column.name: getattr(row, column.name) for column in UnknownSender.__table__.columns}
    return {**view, "owner": owner}


def forget_known(session: Session) -> None:
    """Take those off the list that the topology names now."""
    known = or_(
        UnknownSender.id.in_(select(DeviceRow.id)), UnknownSender.id.in_(select(EdgeRow.id))
    )
    session.execute(
        delete(UnknownSender).where(known), execution_options={"synchronize_session": False}
    )


def forget(session: Session, name: str) -> None:
    """Take one off the list, to make room; raise :class:`NotFoundError`.

    What it said stays stored, and it is listed again when it speaks again.
    """
    session.delete(get_unknown(session, name))
    session.flush()
