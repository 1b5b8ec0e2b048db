"""Tells the records the whole tree, where each station knows only its site's part."""

from __future__ import annotations

from collector.parts import Parts
from core.contracts.outputs import TopologyOutput
from core.runtime.clock import Clock
from core.storage.records import Records, adoptions, counters, projection


class Tree:
    """A clerk that stores the topology, and again whenever somebody adopts a device."""

    name = "tree"

    def __init__(self, records: Records, clock: Clock, parts: Parts) -> None:
        self._records = records
        self._clock = clock
        self._parts = parts
        self._seen = -1

    def step(self) -> None:
        """Store the topology if there is a change; raise StoreUnavailableError."""
        with self._records.reading() as session:
            if counters.read(session, counters.ADOPTIONS) == self._seen:
                return
            seen, adopted = adoptions.adopted(session)
        topology = self._parts.whole(adopted)
        now = self._clock.now_ms()
        with self._records.session() as session:
            projection.apply(session, [TopologyOutput(now, topology)], now)
        self._seen = seen
