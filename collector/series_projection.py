"""The series projection: events become points of a series store."""

from __future__ import annotations

from collections.abc import Callable

from collector.feed import Chunk
from core.contracts.codec import encode
from core.contracts.letters import Family, Origin, offset_ns
from core.contracts.log import EVENT_FAMILIES, BatchEntry, EventEntry, LogEntry, ReplayEntry
from core.contracts.ports import Point, SeriesWriter
from core.runtime.clock import Clock
from core.storage.records import Records, refusals


class SeriesProjection:
    """Writes every event of the log to a series store, and refused ones to the dead letters."""

    name = "series"
    families: frozenset[str] | None = EVENT_FAMILIES

    def __init__(
        self,
        open_writer: Callable[[], SeriesWriter],
        records: Records,
        clock: Clock,
        log_id: str,
        *,
        steady: bool = False,
    ) -> None:
        """``steady``: what another log has told already must not be told once more."""
        self._steady = steady
        self._log_id = log_id
        self._open_writer = open_writer
        self._records = records
        self._clock = clock
        self._writer: SeriesWriter | None = None
        self.points = 0
        self.refused = 0

    def open(self) -> int:
        """Open the store; raise StoreUnavailableError while it is down."""
        self._writer = self._open_writer()
        return self._writer.position()

    def apply(self, chunk: Chunk) -> None:
        """Write a chunk's points; a point that is refused for good becomes a dead letter."""
        if self._writer is None:
            raise RuntimeError("the projection is not open")
        points = [item for entry in chunk.entries for item in points_of(entry)]
        refused = self._writer.write(points, chunk.position)
        self.points += len(points) - len(refused)
        if not refused:
            return
        self.refused += len(refused)
        letters = []
        for refusal in refused:
            pos, point = points[refusal.index]
            log = self._log_id
            if self._steady:
                log = f"{point.site}.{point.event.device}.{point.event.kind}"
                pos = point.time_ns // 1000
            letters.append(
                refusals.DeadLetter(
                    pos=pos,
                    index=point.time_ns % 1000,
                    at=point.event.at,
                    site=point.site,
                    source=f"series:{point.event.kind}",
                    reason=refusal.reason,
                    raw=encode(point.event),
                    log=log,
                    origin=Origin(
                        Family.POINT,
                        point.event.at,
                        point.site,
                        offset_ns=point.time_ns % 1_000_000,
                    ),
                )
            )
        with self._records.session() as session:
            refusals.add_dead_letters(session, letters, self._clock.now_ms())

    def needed_after(self) -> int:
        """Return the position that is durable in the store."""
        return self._writer.position() if self._writer is not None else 0

    def close(self) -> None:
        """Close the store."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def done(self) -> dict[str, int]:
        """Return how many points were stored, and how many the store refused for good."""
        return {"points": self.points, "refused_points": self.refused}


def points_of(entry: LogEntry) -> list[tuple[int, Point]]:
    """Return (log position, point) of every event of an entry.

    A point's time is the event's millisecond plus (seq mod 1000) · 1000 + index nanoseconds (in
    the urgent lane seq + 500), so that siblings stay apart and a retry writes the same point.
    """
    if isinstance(entry, BatchEntry):
        shift = offset_ns(entry.batch.lane, entry.batch.seq)
        pos, site = entry.pos, entry.site
        return [
            (pos, Point(event.at * 1_000_000 + shift + index, site, event))
            for index, event in entry.batch.events
        ]
    if isinstance(entry, EventEntry):
        nanoseconds = entry.event.at * 1_000_000 + entry.seq % 1000 * 1000
        return [(entry.pos, Point(nanoseconds, entry.site, entry.event))]
    if isinstance(entry, ReplayEntry):
        pos, site = entry.pos, entry.contents.site
        return [
            (pos, Point(event.at * 1_000_000 + offset, site, event))
            for offset, event in entry.contents.events
        ]
    return []
