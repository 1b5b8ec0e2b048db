"""What one collector takes over from another: the rules' state, without its place in a log."""

from __future__ import annotations

from dataclasses import dataclass

from core.contracts.outputs import Cause
from rules.engine import Engine


@dataclass(frozen=True, slots=True)
class Inheritance:
    """An engine's state before the first entry of a new log.

    ``online`` gives the epochs of edges that were online, as far as anybody knew: also of those
    that were not heard because of the broker.
    """

    snapshot: bytes
    online: dict[str, str]


def inherit(snapshot: bytes) -> Inheritance:
    """Return a state that another log led to; raise SnapshotError on other bytes.

    What its edges had sent is known to it, so that what comes again is not folded again.
    """
    engine = Engine.load(snapshot, explains=False)
    engine.position = 0
    online = {
        edge.id: edge.epoch
        for edge in engine.edges.values()
        if edge.known and (edge.online or edge.away_by is Cause.BROKER)
    }
    return Inheritance(engine.dump(), online)
