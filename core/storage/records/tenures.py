"""Several collectors over one database: who lives, and whose each site is (ADR 0026).

A collector lives by a lease that it renews, on the database's own clock. A site belongs to one
of them for a *term*; whoever takes it raises the term, and from then on nothing that the former
owner still wants to write goes in (:func:`check`). All changes of ownership are in one order:
each first takes one row's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from core.contracts.errors import InUseError
from core.storage.records import cautions, counters, projection
from core.storage.records.errors import LostSiteError, NotFoundError
from core.storage.records.models import CursorRow, NodeRow
from core.storage.records.sql import upsert
from core.storage.records.tenure_models import CollectorRow, TenureRow

Lanes = dict[str, list[tuple[str, dict[str, int]]]]
"""What is stored: ``{edge: [(epoch, {lane: seq})]}``, the newest epoch last."""

_ORDER = "tenures"
_CLOCKS = {
    "sqlite": "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}


@dataclass(frozen=True, slots=True)
class Orders:
    """What a collector is to do: sites to take, and sites that are wanted elsewhere."""

    take: list[str]
    give: list[str]
    held: dict[str, int]
    """Its sites, with the terms since which they are its own."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A site as its last owner left it; ``snapshot`` is its rules' state, None: there is none.

    ``log`` is its last log, empty where it had none.
    """

    term: int
    lanes: Lanes
    snapshot: bytes | None
    former: str | None
    log: str


def now_ms(session: Session) -> int:
    """Return the database's time (ms since the epoch): the one clock of all collectors."""
    dialect = session.get_bind().dialect.name
    return int(session.execute(text(_CLOCKS[dialect])).scalar_one())


def claim(
    session: Session, name: str, instance: str, lease_ms: int, *, own: Collection[str] = ()
) -> int:
    """Renew a collector's lease, or begin it, and return the time (ms).

    ``own`` are the sites that its settings give it; of those that no topology names only what has
    been spoken for counts, as long as there is a topology. Raises :class:`InUseError` while another
    process lives under the name.
    """
    counters.add(session, _ORDER, 0)
    now = now_ms(session)
    known = session.get(CollectorRow, name)
    if known is not None and known.instance != instance and known.lease_until > now:
        raise InUseError(
            f"a collector {name!r} lives already; give this one another collector.name, or wait "
            f"{(known.lease_until - now) / 1000:.0f} s if it was killed"
        )
    joins = known is None or known.instance != instance
    upsert(
        session,
        CollectorRow,
        [{"name": name, "instance": instance, "lease_until": now + lease_ms}],
    )
    _list_sites(session, own)
    wanted = update(TenureRow).where(TenureRow.site.in_(own)).values(wanted=name)
    if not joins:  # what was spoken for only since
        wanted = wanted.where(TenureRow.term == 0, TenureRow.wanted.is_(None))
    if own:
        session.execute(wanted)
    return now


def beat(
    session: Session, name: str, instance: str, lease_ms: int, *, own: Collection[str] = ()
) -> Orders:
    """Renew a lease as :func:`claim` does, and return what the collector is to do.

    Free sites go to whoever is to have them, else to the one with the fewest.
    """
    now = claim(session, name, instance, lease_ms, own=own)
    living = set(
        session.scalars(select(CollectorRow.name).where(CollectorRow.lease_until > now))
    ) | {name}
    rows = session.execute(
        select(TenureRow.site, TenureRow.collector, TenureRow.wanted, TenureRow.term).order_by(
            TenureRow.site
        )
    ).all()
    held = {row.site: row.term for row in rows if row.collector == name}
    give = [r.site for r in rows if r.site in held and r.wanted != name and r.wanted in living]
    free = [row for row in rows if row.collector is None or row.collector not in living]
    take = [row.site for row in free if row.wanted == name]
    loads = dict.fromkeys(living, 0)
    for row in rows:
        owner = row.collector if row.collector in living else row.wanted
        if owner in loads:
            loads[owner] += 1
    for row in free:
        if row.wanted in living:
            continue
        idlest = min(loads, key=lambda each: (loads[each], each))
        loads[idlest] += 1
        if idlest == name:
            take.append(row.site)
    return Orders(take, give, held)


def _list_sites(session: Session, more: Iterable[str]) -> None:
    """Give each site of the topology a row, or, without one, each that somebody names."""
    sites = topology_sites(session) or set(more)
    known = set(session.scalars(select(TenureRow.site)))
    upsert(session, TenureRow, [_free(site) for site in sorted(sites - known)], update=())


def topology_sites(session: Session) -> set[str]:
    """Return the sites of the topology that holds."""
    return set(session.scalars(select(NodeRow.id).where(NodeRow.level == "site")))


def _free(site: str) -> dict[str, Any]:
    return {
        "site": site, "collector": None, "wanted": None, "term": 0, "log": "", "since": 0,
        "lanes": {},
    }  # fmt: skip


def note_site(session: Session, site: str) -> None:
    """Give a site that no topology names a row: somebody speaks for it."""
    upsert(session, TenureRow, [_free(site)], update=())


def take(session: Session, site: str, name: str, log: str) -> Taken | None:
    """Make a site a collector's from a new term on, with a new log; None: it is not free.

    The cursors of the former owner's log are forgotten with it.
    """
    counters.add(session, _ORDER, 0)
    now = now_ms(session)
    row = session.get(TenureRow, site, with_for_update=True)
    if row is None:
        return None
    if row.collector is not None and row.collector != name:
        owner = session.get(CollectorRow, row.collector)
        if owner is not None and owner.lease_until > now:
            return None
    former, old = row.collector, row.log
    snapshot = session.scalar(
        select(CursorRow.snapshot).where(CursorRow.projector == projection.snapshot_cursor(old))
    )
    if old:
        session.execute(delete(CursorRow).where(CursorRow.projector.endswith(f"/{old}")))
        cautions.forget(session, old)
    row.collector, row.log, row.since = name, log, now
    row.term += 1
    session.flush()
    return Taken(row.term, row.lanes, snapshot, former, old)


@dataclass(frozen=True, slots=True)
class Left:
    """What the one collector of all sites leaves of a site: ``log`` names it as if it had one."""

    log: str
    lanes: Lanes
    snapshot: bytes


def check_unbegun(session: Session, sites: Collection[str]) -> None:
    """Raise :class:`InUseError` where one of several collectors has taken one of these sites."""
    begun = session.execute(
        select(TenureRow.site, TenureRow.collector, TenureRow.term)
        .where(TenureRow.term > 0)
        .order_by(TenureRow.site)
    )
    for site, collector, term in begun:
        if site in sites:
            raise InUseError(
                f"site {site} is not the one collector's any more: {collector or 'another'} has "
                f"taken it (term {term}) and goes on from what it found; nothing was changed"
            )


def leave_all(session: Session, name: str, left: Mapping[str, Left]) -> None:
    """Leave every site of the one collector ``name`` to several, as if it had had it for itself.

    The same again changes nothing. Raises :class:`InUseError` where one of them has begun.
    """
    counters.add(session, _ORDER, 0)
    check_unbegun(session, left)
    now = now_ms(session)
    rows = [
        {**_free(site), "collector": name, "log": each.log, "since": now, "lanes": each.lanes}
        for site, each in left.items()
    ]
    upsert(session, TenureRow, rows, update=("collector", "log", "since", "lanes"))
    snapshots = [
        {
            "projector": projection.snapshot_cursor(each.log),
            "position": 0,
            "snapshot": each.snapshot,
        }
        for each in left.values()
    ]
    upsert(session, CursorRow, snapshots)


def is_current(session: Session, log: str) -> bool:
    """Tell whether a log is the one that a site has now."""
    return session.scalar(select(TenureRow.site).where(TenureRow.log == log)) is not None


def check(session: Session, site: str, term: int) -> None:
    """Raise :class:`LostSiteError` unless a site still belongs to whoever has it since ``term``.

    It stays so until the end of the transaction.
    """
    now = session.scalar(
        select(TenureRow.term).where(TenureRow.site == site).with_for_update(read=True)
    )
    if now != term:
        raise LostSiteError(site, term)


def keep(session: Session, site: str, term: int, lanes: Lanes) -> None:
    """Note what of a site's lanes is stored; raise :class:`LostSiteError`."""
    changed = session.execute(
        update(TenureRow)
        .where(TenureRow.site == site, TenureRow.term == term)
        .values(lanes=lanes)
        .execution_options(synchronize_session=False)
    )
    if not getattr(changed, "rowcount", 0):
        raise LostSiteError(site, term)


def give(session: Session, site: str, term: int) -> None:
    """Let a site go: whoever is to have it takes it at once."""
    session.execute(
        update(TenureRow)
        .where(TenureRow.site == site, TenureRow.term == term)
        .values(collector=None, since=now_ms(session))
        .execution_options(synchronize_session=False)
    )


def leave(session: Session, name: str, instance: str) -> None:
    """End a collector's lease, once it has given its sites."""
    session.execute(
        delete(CollectorRow).where(CollectorRow.name == name, CollectorRow.instance == instance)
    )


def known_sites(session: Session) -> set[str]:
    """Return the sites of the topology that holds, and those that somebody speaks for."""
    return topology_sites(session) | set(session.scalars(select(TenureRow.site)))


def known_collectors(session: Session) -> set[str]:
    """Return the collectors that live, and those that have or are to have a site."""
    found = set(session.scalars(select(CollectorRow.name)))
    for column in (TenureRow.collector, TenureRow.wanted):
        found |= {name for name in session.scalars(select(column)) if name is not None}
    return found


def assign(session: Session, site: str, name: str | None) -> None:
    """Say whose a site is to be (None: anybody's); raise :class:`NotFoundError`."""
    if site in topology_sites(session):
        note_site(session, site)
    changed = session.execute(update(TenureRow).where(TenureRow.site == site).values(wanted=name))
    if not getattr(changed, "rowcount", 0):
        raise NotFoundError("site", site)


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector; ``left_ms`` is what is left of its lease, below 0 once it is over."""

    name: str
    left_ms: int


@dataclass(frozen=True, slots=True)
class Tenure:
    """Whose a site is since when (ms of the database's clock), and whose it is to be."""

    site: str
    collector: str | None
    wanted: str | None
    term: int
    since: int


def overview(session: Session) -> tuple[list[Collector], list[Tenure]]:
    """Return all collectors and whose each site is."""
    now = now_ms(session)
    collectors = [
        Collector(row.name, row.lease_until - now)
        for row in session.scalars(select(CollectorRow).order_by(CollectorRow.name))
    ]
    tenures = [
        Tenure(row.site, row.collector, row.wanted, row.term, row.since)
        for row in session.scalars(select(TenureRow).order_by(TenureRow.site))
    ]
    return collectors, tenures
