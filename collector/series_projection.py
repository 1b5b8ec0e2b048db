"""The series projection: events become points of a series store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from operator import attrgetter

import structlog

from collector.feed import FOR_STORES, Chunk
from collector.settlement import Settlement
from collector.tally import tally
from core.contracts.codec import Event, encode
from core.contracts.errors import ContractError, EstateError
from core.contracts.events import FUTURE_MS
from core.contracts.ledger import line_of
from core.contracts.left_out import WHOLE, Watched
from core.contracts.letters import Family, Origin, offset_ns
from core.contracts.log import EVENT_FAMILIES, BatchEntry, EventEntry, LogEntry, ReplayEntry
from core.contracts.ports import Point, Refusal, SeriesWriter
from core.runtime.clock import Clock
from core.storage.records import Records, refusals
from core.storage.records.ledger import Witness

log = structlog.get_logger(__name__)

_DAY_NS = 86_400_000 * 1_000_000
_UNITS_S = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
_PLAIN = frozenset({Family.PLAIN, Family.MESSAGE})
_KIND = attrgetter("event.kind")


class SeriesProjection:
    """Writes every event of the log to a series store, and refused ones to the dead letters."""

    name = "series"
    families: frozenset[str] | None = EVENT_FAMILIES
    most_bytes = FOR_STORES

    def __init__(
        self,
        open_writer: Callable[[], SeriesWriter],
        records: Records,
        clock: Clock,
        log_id: str,
        *,
        settlement: Settlement | None = None,
    ) -> None:
        """``settlement`` is of a log that ends with a tenure.

        What another log has told already is then not told once more.
        """
        self._steady = settlement is not None
        self._log_id = log_id
        self._open_writer = open_writer
        self._records = records
        self._clock = clock
        self._tally = tally(records, Witness.SERIES, log_id, settlement)
        self._writer: SeriesWriter | None = None
        self._position = 0
        self.points = 0
        self.refused = 0

    def open(self) -> int:
        """Open the store; raise StoreUnavailableError while it is down."""
        counted = self._tally.open()
        self._writer = self._open_writer()
        # What the store has and the accounts have not is written again, which changes nothing.
        self._position = min(self._writer.position(), counted)
        return self._position

    def apply(self, chunk: Chunk) -> None:
        """Write a chunk's points; a point that is refused for good becomes a dead letter.

        So does, unwritten, an event that its device dates more than ``FUTURE_MS`` ahead.
        """
        if self._writer is None:
            raise RuntimeError("the projection is not open")
        for entry in chunk.entries:
            self._rehearse(entry, self._writer)
        made = [(entry, points_of(entry)) for entry in chunk.entries]
        points = [item for _, some in made for item in some]
        refused = self._writer.write(points, chunk.position)
        if chunk.is_last:
            self._writer.tidy()
        entries = {entry.pos: entry for entry in chunk.entries} if refused else {}
        letters = [
            self._letter(points[r.index], r.reason, entries[points[r.index][0]]) for r in refused
        ]
        for entry, some in made:
            if len(some) < _number_of(entry):
                letters += map(partial(self._ahead, entry), points_of(entry, ahead=True))
        self._count(made, points, refused, chunk.position)
        self.points += len(points) - len(refused)
        self.refused += len(letters)
        if letters:
            self._keep(letters)
        elif self._tally.due():
            try:
                self._keep([])
            except EstateError as error:
                # The store goes on without the records; what was counted is kept when they can.
                log.debug("not counted yet", why=str(error))
        self._position = chunk.position

    def _count(
        self,
        made: list[tuple[LogEntry, list[tuple[int, Point]]]],
        points: list[tuple[int, Point]],
        refused: list[Refusal],
        position: int,
    ) -> None:
        gone: dict[int, list[Point]] = {}
        for refusal in refused:
            pos, point = points[refusal.index]
            gone.setdefault(pos, []).append(point)
        # A settlement may end with any entry.
        for part in [[each] for each in made] if self._steady else [made]:
            self._count_part(part, gone)
        self._tally.counted(position)

    def _count_part(
        self, part: list[tuple[LogEntry, list[tuple[int, Point]]]], gone: dict[int, list[Point]]
    ) -> None:
        fresh: list[Point] = []
        lost: list[Point] = []
        for entry, some in part:
            line = line_of(entry)
            if line is None or not some or not self._tally.wants(entry.pos):
                continue
            refused = gone.get(entry.pos, [])
            self._tally.line(line, entry.pos).stored += len(some) - len(refused)
            fresh += [point for _, point in some]
            lost += refused
        if fresh:
            kinds = _by_day(fresh)
            kinds.subtract((point.time_ns // _DAY_NS, point.event.kind) for point in lost)
            self._tally.kinds(kinds)

    def _ahead(self, entry: LogEntry, item: tuple[int, Point]) -> refusals.DeadLetter:
        arrival = _arrival(entry)
        seconds = _lead_ms(item[1].event, arrival) // 1000
        unit, size = next((u for u in _UNITS_S if seconds >= 2 * u[1]), _UNITS_S[-1])
        reason = ContractError(
            f"{seconds // size} {unit} ahead of when it was "
            + ("seen by its edge" if arrival is None else "received"),
            field="at", remedy="set the device's clock, and replay it with `at` mended",
        )  # fmt: skip
        return self._letter(item, str(reason), entry, reason.field)

    def _letter(
        self, item: tuple[int, Point], reason: str, entry: LogEntry, field: str = ""
    ) -> refusals.DeadLetter:
        pos, point = item
        line, log_id = line_of(entry), self._log_id
        if self._steady:
            log_id = f"{point.site}.{point.event.device}.{point.event.kind}"
            pos = point.time_ns // 1000
        return refusals.DeadLetter(
            pos=pos,
            index=point.time_ns % 1000,
            at=point.event.at,
            site=point.site,
            source=f"series:{point.event.kind}",
            reason=reason,
            field=field,
            raw=encode(point.event),
            log=log_id,
            origin=_origin(point, entry),
            line=line,
            entry=entry.pos if self._steady else None,
        )

    def _keep(self, letters: list[refusals.DeadLetter]) -> None:
        with self._records.session() as session:
            refusals.add_dead_letters(session, letters, self._clock.now_ms())
            self._tally.keep(session)
        self._tally.settle()
        self._tally.buried(letters)

    @staticmethod
    def _rehearse(entry: LogEntry, writer: SeriesWriter) -> None:
        """Where an entry is tried event by event: a store takes it whole, or loses its place."""
        if isinstance(entry, BatchEntry) and isinstance(entry.batch.events, Watched):
            for index, event in entry.batch.events:
                writer.rehearse(_point(entry, index, event))

    def letters(self, entry: LogEntry, index: int, reason: str, /) -> list[refusals.DeadLetter]:
        """Return the letters of one event of an entry, or of all, as if the store refused them."""
        found = points_of(entry) + points_of(entry, ahead=True)
        if isinstance(entry, BatchEntry) and index != WHOLE:
            found = [(entry.pos, _point(entry, i, e)) for i, e in entry.batch.events if i == index]
        return [self._letter(item, reason, entry) for item in found]

    def needed_after(self) -> int:
        """Return the position that is durable in the store, and counted."""
        return min(self._writer.position(), self._tally.kept) if self._writer is not None else 0

    def rest(self) -> None:
        """Have all of it counted, and durable in the store: whoever is next needs none of it."""
        if self._writer is None:
            return
        self._writer.write([], self._position)  # what was refused is a letter by now
        self._writer.sync()
        self._keep([])

    def close(self) -> None:
        """Close the store, and keep what was counted."""
        self._tally.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def done(self) -> dict[str, int]:
        """Return how many points were stored, and how many the store refused for good."""
        return {"points": self.points, "refused_points": self.refused}


def _by_day(points: list[Point]) -> Counter[tuple[int, str]]:
    """Count points by day (since the Unix epoch) and kind; nearly always all are of one day."""
    if not points:
        return Counter()
    times = [point.time_ns for point in points]
    first, last = min(times) // _DAY_NS, max(times) // _DAY_NS
    if first == last:
        kinds = Counter(map(_KIND, points))
        return Counter({(first, kind): number for kind, number in kinds.items()})
    return Counter([(point.time_ns // _DAY_NS, point.event.kind) for point in points])


def points_of(entry: LogEntry, *, ahead: bool = False) -> list[tuple[int, Point]]:
    """Return (log position, point) of every event of an entry, but for those dated too far ahead.

    A point's time is the event's millisecond plus (seq mod 1000) · 1000 + index nanoseconds (in
    the urgent lane seq + 500), so that siblings stay apart and a retry writes the same point.

    An edge's event is held against the edge's clock (``seen``), what came without an edge against
    the time at which it was journalled: a collector whose own clock fell back must not refuse all
    that a street's edges send. ``ahead`` wants only those that are refused.
    """
    if isinstance(entry, BatchEntry):
        shift = offset_ns(entry.batch.lane, entry.batch.seq)
        pos, site = entry.pos, entry.site
        return [
            (pos, Point(event.at * 1_000_000 + shift + index, site, event))
            for index, event in entry.batch.events
            if (event.at - event.seen > FUTURE_MS) is ahead
        ]
    arrival = _arrival(entry)
    if isinstance(entry, EventEntry):
        if (_lead_ms(entry.event, arrival) > FUTURE_MS) is not ahead:
            return []
        nanoseconds = entry.event.at * 1_000_000 + entry.seq % 1000 * 1000
        return [(entry.pos, Point(nanoseconds, entry.site, entry.event))]
    if isinstance(entry, ReplayEntry):
        pos, site = entry.pos, entry.contents.site
        return [
            (pos, Point(event.at * 1_000_000 + offset, site, event))
            for offset, event in entry.stored
            if (_lead_ms(event, arrival) > FUTURE_MS) is ahead
        ]
    return []


def _number_of(entry: LogEntry) -> int:
    if isinstance(entry, BatchEntry):
        return len(entry.batch.events)
    if isinstance(entry, EventEntry):
        return 1
    return len(entry.stored) if isinstance(entry, ReplayEntry) else 0


def _lead_ms(event: Event, arrival: int | None) -> int:
    """Return how far an event is dated ahead of its arrival, or of when its edge saw it."""
    return event.at - (event.seen if arrival is None else arrival)


def _arrival(entry: LogEntry) -> int | None:
    """Return when what came without an edge was journalled first (ms), None for all else."""
    if isinstance(entry, EventEntry):
        return entry.at if entry.edge is None else None
    if isinstance(entry, ReplayEntry) and entry.replay.origin.family in _PLAIN:
        return entry.replay.origin.at
    return None


def _origin(point: Point, entry: LogEntry) -> Origin:
    offset, arrival = point.time_ns % 1_000_000, _arrival(entry)
    if arrival is None:
        return Origin(Family.POINT, point.event.at, point.site, offset_ns=offset)
    device = point.event.device
    return Origin(Family.PLAIN, arrival, point.site, device=device, offset_ns=offset)


def _point(entry: BatchEntry, index: int, event: Event) -> Point:
    offset = offset_ns(entry.batch.lane, entry.batch.seq, index)
    return Point(event.at * 1_000_000 + offset, entry.site, event)
