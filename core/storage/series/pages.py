"""Pages of a device's events, newest first: the order that all stores share."""

from __future__ import annotations

from core.contracts.ports import Mark, StoredEvent


def upper_bound(before: Mark, kind: str, end_ns: int) -> int:
    """Return the time (ns) that a kind's events are below, in a page that follows a mark."""
    return min(end_ns, before.time_ns + (kind < before.kind))


def page_of(events: list[StoredEvent], limit: int) -> list[StoredEvent]:
    """Return the newest ``limit`` of the events, and those that share the last one's mark."""
    ordered = sorted(events, key=_mark, reverse=True)
    end = min(limit, len(ordered))
    while 0 < end < len(ordered) and ordered[end].mark == ordered[end - 1].mark:
        end += 1
    return ordered[:end]


def _mark(event: StoredEvent) -> Mark:
    return event.mark
