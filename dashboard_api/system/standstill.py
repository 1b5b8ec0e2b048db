"""Whose rules stand still: what was last known of their sites is not known to be so any more.

The rules' cursor moves with the tick of each second. Where it does not, the site's collector is
dead, hangs or cannot write, and nobody says so in the records: the collector would. So whoever
reads them has to notice. What stands is then shown as not known: places are grey, devices are
offline with the collector as the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.contracts.colours import Colour
from core.contracts.outputs import Cause, Presence
from core.storage.records import projection, tenures
from core.storage.records.models import CursorRow
from core.storage.records.tenure_models import TenureRow

#: The rules' projection, one cursor for each log (the snapshot's own cursor moves seldom).
_RULES = re.compile(r"rules(/|$)")
#: Standing still for so long (s) is a standstill.
STALL_S = 15.0


@dataclass(slots=True)
class _Seen:
    """Where a cursor is, and since when (s, and ms of the run) it has been seen there."""

    position: int
    moved: float
    moved_at: int
    ever_moved: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the rules of some sites are, and for how long (s) they have stood there."""

    sites: tuple[str, ...]
    position: int
    still_s: float
    since: int
    """When they last moved, ms of the run."""
    ever_moved: bool

    @property
    def is_still(self) -> bool:
        """Tell whether that is a standstill."""
        return self.still_s >= STALL_S


class Standstills:
    """Watches the cursors of the rules; for one thread at a time."""

    def __init__(self, monotonic: Callable[[], float], now_ms: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._seen: dict[str, _Seen] = {}

    def look(self, session: Session) -> list[Standing]:
        """Look where the rules are: for each log of a site of its own, and for the others' one."""
        now, at = self._monotonic(), self._now_ms()
        found = session.execute(select(CursorRow.projector, CursorRow.position))
        for name, position in found:
            if not _RULES.match(name):
                continue
            seen = self._seen.setdefault(name, _Seen(position, now, at))
            if position != seen.position:
                seen.position, seen.moved, seen.moved_at = position, now, at
                seen.ever_moved = True
        sites = sorted(tenures.topology_sites(session))
        logs = session.execute(select(TenureRow.site, TenureRow.log))
        cursors = {site: projection.rules_cursor(log) for site, log in logs}
        own = {site: name for site, name in cursors.items() if site in sites and name in self._seen}
        told = [self._standing((site,), [name], now) for site, name in sorted(own.items())]
        others = [name for name in self._seen if name not in own.values()]
        rest = tuple(site for site in sites if site not in own)
        # One collector's logs follow each other; where all sites have their own, these are past.
        if others and (rest or not own):
            told.append(self._standing(rest, others, now))
        return told

    def _standing(self, sites: tuple[str, ...], names: list[str], now: float) -> Standing:
        newest = max((self._seen[name] for name in names), key=lambda seen: seen.moved)
        return Standing(
            sites, newest.position, now - newest.moved, newest.moved_at, newest.ever_moved
        )


def hush_tree(view: dict[str, Any], still: Mapping[str, int]) -> dict[str, Any]:
    """Make what is not known grey in a tree: the sites that stand still, and what needs them."""
    if not still:
        return view
    nodes = {node["id"]: dict(node) for node in view["nodes"]}
    minimum = view["coverage_minimum"] or 0.0
    for site in still.keys() & nodes.keys():
        unheard, above = nodes[site]["heard"], nodes[site]["parent"]
        while above is not None:
            node = nodes[above]
            node["heard"] -= unheard
            if node["heard"] < minimum * node["total"]:
                node["colour"] = Colour.GREY.value
            above = node["parent"]
    for node in nodes.values():
        if node["site"] in still:
            node |= {"colour": Colour.GREY.value, "heard": 0}
    return {**view, "nodes": list(nodes.values())}


def hush_device(view: dict[str, Any], still: Mapping[str, int]) -> dict[str, Any]:
    """Say of a device that nobody hears it, where its site's collector stands still."""
    if view["site"] not in still:
        return view
    unheard = {"presence": Presence.OFFLINE.value, "cause": Cause.COLLECTOR.value}
    return {**view, **unheard, "presence_since": still[view["site"]]}
