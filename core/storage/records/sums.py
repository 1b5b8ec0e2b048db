"""The colours of nodes above the sites, where several collectors each know some sites (ADR 0026).

What one of them knows of a community is only its own part; the whole follows from the sites.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.contracts.colours import Colour, worst
from core.storage.records.models import DeviceRow, NodeColour, NodeRow, TopologyMeta

_Row = dict[str, Any]
_TOLD = ("colour", "alert_colour", "heard", "total")


def above(session: Session, site: str) -> set[str]:
    """Return the nodes above a site."""
    lineage = session.scalar(select(NodeRow.lineage).where(NodeRow.id == site))
    return set() if lineage is None else set(lineage.split("/")[:-1])


def add_up(session: Session, row: _Row, nodes: set[str]) -> dict[str, _Row]:
    """Return the rows of nodes above a site that change with the site's own ``row``.

    The other sites' are taken as they are stored.
    """
    sites = _sites(session)
    sites[row["node"]] = (sites[row["node"]][0], row)
    meta = session.get(TopologyMeta, 1)
    minimum = meta.coverage_minimum if meta else 0.0
    found = session.execute(
        select(NodeRow, NodeColour)
        .outerjoin(NodeColour, NodeColour.node == NodeRow.id)
        .where(NodeRow.id.in_(nodes))
    )
    rows: dict[str, _Row] = {}
    for node, stored in found:
        inside = [each for entry, each in sites.values() if node.entry <= entry <= node.last]
        total = _sum(node.id, row["at"], inside, minimum)
        if stored is None or any(getattr(stored, name) != total[name] for name in _TOLD):
            rows[node.id] = total
    return rows


def _sites(session: Session) -> dict[str, tuple[int, _Row]]:
    """Return each site's place in the tree and its row; one that nobody knows counts as unheard."""
    found = session.execute(
        select(NodeRow.id, NodeRow.entry, NodeColour)
        .outerjoin(NodeColour, NodeColour.node == NodeRow.id)
        .where(NodeRow.level == "site")
    ).all()
    sites: dict[str, tuple[int, _Row]] = {}
    for site, entry, colour in found:
        if colour is not None:
            row = {"alert_colour": colour.alert_colour, "heard": colour.heard}
            sites[site] = (entry, row | {"total": colour.total})
    unknown = {site: entry for site, entry, colour in found if colour is None}
    devices = dict(
        session.execute(
            select(DeviceRow.site, func.count())
            .where(DeviceRow.site.in_(unknown))
            .group_by(DeviceRow.site)
        ).all()
    )
    for site, entry in unknown.items():
        row = {"alert_colour": Colour.GREEN.value, "heard": 0, "total": devices.get(site, 0)}
        sites[site] = (entry, row)
    return sites


def _sum(node: str, at: int, sites: list[_Row], minimum: float) -> _Row:
    colour = worst([Colour.GREEN, *(Colour(row["alert_colour"]) for row in sites)])
    heard, total = sum(r["heard"] for r in sites), sum(r["total"] for r in sites)
    earned = total > 0 and heard >= minimum * total
    return {
        "node": node, "at": at, "colour": colour if earned else Colour.GREY,
        "alert_colour": colour, "heard": heard, "total": total,
    }  # fmt: skip
