"""Counting what the records hold: for metrics, and for whoever looks after the system."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.contracts.outputs import Presence
from core.storage.records import alerts, changes, counters, refusals
from core.storage.records.ledger_models import LedgerLine
from core.storage.records.models import (
    DeclaredLoss,
    DeviceRow,
    EdgeRow,
    EdgeState,
    NodeRow,
    PresenceRow,
    UnknownSender,
)


@dataclass(frozen=True, slots=True)
class Census:
    """How many there are of what; ``lost_events`` as far as their number is known."""

    dead_letters: int
    dead_letters_kept: int
    dead_letters_trimmed: int
    lost_events: int
    losses_unknown: int
    """Declared losses of which nobody knows how many events they were."""
    presence: dict[str, int]
    edges: dict[str, int]
    """Edges by state: drained, behind (online with a backlog), offline."""
    alerts: dict[str, int]
    unacknowledged: int
    sequence: int


class Names(NamedTuple):
    """Who is known: by the topology, as unknown senders, or by what once came from them."""

    sites: frozenset[str]
    devices: frozenset[str]
    """Edges among them."""


def names(session: Session) -> Names:
    """Return the sites and devices that anything here names."""
    row = UnknownSender
    sites = (
        session.scalars(select(site).distinct())
        for site in (NodeRow.site, row.site, LedgerLine.site)
    )
    devices = (session.scalars(select(name)) for name in (DeviceRow.id, EdgeRow.id, row.id))
    return Names(
        # Above the sites there is none, and what cannot be read may be of none.
        frozenset(site for site in chain.from_iterable(sites) if site),
        frozenset(chain.from_iterable(devices)),
    )


def census(session: Session, now: int) -> Census:
    """Count, as of ``now`` (ms); a few milliseconds for a street."""
    numbers = counters.read_all(session)
    presence = {name.value: 0 for name in Presence}
    heard = select(PresenceRow.presence, func.count()).select_from(DeviceRow)
    for state, count in session.execute(
        heard.outerjoin(PresenceRow, PresenceRow.device == DeviceRow.id).group_by(
            PresenceRow.presence
        )
    ):
        presence[state or Presence.UNKNOWN.value] += count
    edges = {"drained": 0, "behind": 0, "offline": 0}
    states = select(EdgeState.online, EdgeState.drained, func.count())
    for online, drained, count in session.execute(
        states.group_by(EdgeState.online, EdgeState.drained)
    ):
        edges[("drained" if drained else "behind") if online else "offline"] += count
    unknown = select(func.count()).select_from(DeclaredLoss).where(DeclaredLoss.events.is_(None))
    open_alerts = alerts.count_alerts(session, now=now)
    return Census(
        dead_letters=numbers.get(counters.DEAD_LETTERS, 0),
        dead_letters_kept=refusals.count_dead_letters(session),
        dead_letters_trimmed=numbers.get(counters.DEAD_LETTERS_TRIMMED, 0),
        lost_events=refusals.total_losses(session),
        losses_unknown=session.scalar(unknown) or 0,
        presence=presence,
        edges=edges,
        alerts=dict(open_alerts.by_colour),
        unacknowledged=open_alerts.unacknowledged,
        sequence=changes.last_seq(session),
    )
