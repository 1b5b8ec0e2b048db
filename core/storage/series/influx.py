"""The InfluxDB series store: writer and reader.

Writing is idempotent, not transactional: a point is named by measurement, tags and timestamp,
and a replay writes the same ones again. The cursor is a point too (``estate_cursor``), written
after the points that it speaks of, so it never promises what is not there. Its timestamp is the
day's start, so that a day has one such point, inside any retention; the highest counts. A database
that is removed takes its cursor with it: the writer says so, and is opened anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from core.contracts.errors import PointRefusedError, StoreLostError, StoreUnavailableError
from core.contracts.ports import Mark, Point, Query, Refusal, Sample, StoredEvent, StoredPoint
from core.runtime.clock import Clock, ScaledClock
from core.runtime.settings import InfluxSettings
from core.storage.series import influx_scan
from core.storage.series.days import DAY_MS, DAY_NS, date_of
from core.storage.series.influx_http import Influx
from core.storage.series.influx_increase import increase
from core.storage.series.influxql import of_device, select
from core.storage.series.lineprotocol import event_of, identifier, line_of, literal, sample_of
from core.storage.series.pages import page_of, upper_bound
from core.storage.series.progress import Progress
from core.storage.series.windows import Timed, check_size, filled, lookback_ms, samples_in

CURSOR = "estate_cursor"
#: Lines in one request: InfluxDB's own advice is 5,000 to 10,000.
LINES = 5_000
#: Requests under way at once; what one call is divided into at least, unless they get too small.
_CONNECTIONS, _REQUESTS, _FEW = 2, 4, 2_500
_PAGE = 10_000
_DEVICES = 50


class InfluxWriter:
    """Writes events into InfluxDB; arguments as for the embedded store's writer."""

    def __init__(
        self,
        settings: InfluxSettings,
        *,
        log: str = "log",
        retention_days: int | None = None,
        clock: Clock | None = None,
        sync_s: float = 1.0,
    ) -> None:
        self._influx = Influx(settings)
        self._log = log
        self._retention_days = retention_days
        self._clock = clock or ScaledClock.from_environment()
        self._sync_s = sync_s
        self._senders = ThreadPoolExecutor(_CONNECTIONS, "influxdb")
        self._progress = Progress()
        self._synced_at = 0.0

    def open(self, *, resume: bool = True) -> None:
        """Connect, create the database where it is missing, and read the cursor.

        Without ``resume`` the cursor is not read: for servers that take InfluxDB's writes but
        do not speak InfluxQL. Raises :class:`StoreUnavailableError`, :class:`SettingsError`.
        """
        self._influx.open()
        try:
            self._influx.ensure(self._retention_days)
            if resume:
                self._progress.begin(self._read_cursor())
        except BaseException:
            self._influx.close()
            raise
        self._synced_at = time.monotonic()

    def position(self) -> int:
        """Return the log position through which everything is stored (0: nothing)."""
        return self._progress.durable

    def rehearse(self, point: Point) -> None:
        """Do with one point what :meth:`write` does with many, but store nothing."""
        line_of(point)

    def write(self, points: Sequence[tuple[int, Point]], position: int) -> list[Refusal]:
        """Store points, each with its log position, then ``position``; return refusals.

        Raises :class:`StoreUnavailableError` when the same call may succeed later, and
        :class:`StoreLostError` when the database is gone.
        """
        indexes: Sequence[int] = range(len(points))
        refusals = self._too_old(points)
        if refusals:
            gone = {refusal.index for refusal in refusals}
            indexes = [index for index in indexes if index not in gone]
        # One request is under way while the lines of the next are made.
        size = _lines_each(len(indexes))
        parts = [indexes[first : first + size] for first in range(0, len(indexes), size)]
        with self._noting_loss():
            for sent in [self._senders.submit(self._send_points, points, part) for part in parts]:
                refusals += sent.result()
        self._progress.wrote(position, refused=bool(refusals))
        if time.monotonic() - self._synced_at >= self._sync_s:
            self.sync()
        refusals.sort(key=lambda refusal: refusal.index)
        return refusals

    def tidy(self) -> bool:
        """Return False: an InfluxDB keeps itself."""
        return False

    def sync(self) -> None:
        """Write the cursor, so that ``position()`` moves to what has been written."""
        if self._progress.is_ahead:
            day = time.time_ns() // DAY_NS * DAY_NS  # the server's retention is by real time
            log = self._log.replace(" ", "\\ ").replace(",", "\\,").replace("=", "\\=")
            with self._noting_loss():
                self._influx.write([f"{CURSOR},log={log} position={self._progress.settled}i {day}"])
            self._progress.keep()
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Write the cursor and release the connection."""
        try:
            self.sync()
        finally:
            self._senders.shutdown()
            self._influx.close()

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        """Have no cursor of a database that is gone written into the next one."""
        try:
            yield
        except StoreLostError:
            self._progress.begin(0)
            raise

    def _send_points(
        self, points: Sequence[tuple[int, Point]], indexes: Sequence[int]
    ) -> list[Refusal]:
        return self._send([line_of(points[index][1]) for index in indexes], indexes)

    def _send(self, lines: list[str], indexes: Sequence[int]) -> list[Refusal]:
        """Write the lines of some points; halve what is refused until the bad ones are found.

        The server takes the good lines of a request that it refuses in part; they are written
        again with their halves, which changes nothing.
        """
        try:
            self._influx.write(lines)
        except PointRefusedError as refused:
            if len(lines) == 1:
                return [Refusal(indexes[0], str(refused))]
            middle = len(lines) // 2
            first = self._send(lines[:middle], indexes[:middle])
            return first + self._send(lines[middle:], indexes[middle:])
        return []

    def _too_old(self, points: Sequence[tuple[int, Point]]) -> list[Refusal]:
        if self._retention_days is None:
            return []
        oldest = self._clock.now_ms() // DAY_MS - self._retention_days
        first_ns = oldest * DAY_NS
        late = [i for i, (_, point) in enumerate(points) if point.time_ns < first_ns]
        return [
            Refusal(index, f"older than the retention ({date_of(oldest).isoformat()})")
            for index in late
        ]

    def _read_cursor(self) -> int:
        found = self._influx.select(
            select('max("position")', CURSOR, f'"log" = {literal(self._log)}')
        )
        if not found:
            return 0
        if found[0].get("name") != CURSOR:
            raise StoreUnavailableError("the server does not answer InfluxQL: is it InfluxDB?")
        return int(found[0]["values"][0][1])


class InfluxReader:
    """Reads events from InfluxDB by InfluxQL; may be used from several threads."""

    def __init__(self, settings: InfluxSettings) -> None:
        self._influx = Influx(settings)
        self._types: dict[tuple[str, str], str] = {}

    def open(self) -> None:
        """Prepare the connection; raise :class:`SettingsError` where a secret is unreadable."""
        self._influx.open()

    def is_there(self) -> bool:
        """Tell whether the database exists, as far as the server tells."""
        return self._influx.is_there()

    def query(self, query: Query) -> list[Sample]:
        """Return samples, oldest first; none for a field that no event has."""
        check_size(query)
        if query.end <= query.start:
            return []
        if query.every_ms is None:
            return self._raw(query, query.start * 1_000_000, query.limit)[0]
        kind = self._field_type(query)
        if kind == "boolean" or (kind == "string" and query.aggregate in ("last", "count")):
            # InfluxQL has no mean of booleans.
            return samples_in(self._all(query), query, query.every_ms)
        if kind not in ("float", "integer"):
            return filled([], query, query.every_ms)
        if query.aggregate == "increase":
            return increase(self._influx.select, self._all, query, query.every_ms)
        found = self._influx.select(
            select(
                f"{query.aggregate}({identifier(query.field)})",
                query.kind,
                of_device(query.device, query.start * 1_000_000, query.end * 1_000_000),
                f"GROUP BY time({query.every_ms:d}ms) fill(none) LIMIT {query.limit + 1:d}",
            )
        )
        samples = [
            Sample(row[0] // 1_000_000, row[1])
            for series in found
            for row in series["values"]
            if row[1] is not None
        ]
        return filled(samples, query, query.every_ms)

    def latest(self, devices: Iterable[str]) -> list[StoredEvent]:
        """Return the newest event of each kind of each device."""
        wanted = list(dict.fromkeys(devices))
        kinds = self._kinds()
        events: list[StoredEvent] = []
        for first in range(0, len(wanted), _DEVICES) if kinds else ():
            which = " OR ".join(
                '"device" = ' + literal(device) for device in wanted[first : first + _DEVICES]
            )
            for part in range(0, len(kinds), 10):  # an address has a length that servers take
                found = self._influx.select(
                    "; ".join(
                        select("*", kind, which, 'GROUP BY "device" ORDER BY time DESC LIMIT 1')
                        for kind in kinds[part : part + 10]
                    )
                )
                events += [
                    event_of(series["name"], series["columns"], row, series["tags"]["device"])
                    for series in found
                    for row in series["values"]
                ]
        return events

    def events(
        self,
        device: str,
        start: int,
        end: int,
        *,
        kind: str | None = None,
        limit: int = 500,
        before: Mark | None = None,
    ) -> list[StoredEvent]:
        """Return a device's events in ``[start, end)``, newest first; a page at a time."""
        kinds = [kind] if kind is not None else self._kinds()
        if not kinds or end <= start:
            return []
        end_ns = end * 1_000_000
        found = self._influx.select(
            "; ".join(
                select(
                    "*",
                    name,
                    of_device(
                        device,
                        start * 1_000_000,
                        end_ns if before is None else upper_bound(before, name, end_ns),
                    ),
                    f"ORDER BY time DESC LIMIT {limit:d}",
                )
                for name in kinds
            )
        )
        events = [
            event_of(series["name"], series["columns"], row, device)
            for series in found
            for row in series["values"]
        ]
        return page_of(events, limit)

    def count(self, start: int, end: int) -> int:
        """Return how many events are stored in ``[start, end)``."""
        return sum(self.counts(start, end).values())

    def counts(self, start: int, end: int) -> dict[str, int]:
        """Return how many events of each kind are stored in ``[start, end)``."""
        kinds = self._kinds()
        if not kinds or end <= start:
            return {}
        span = f"time >= {start * 1_000_000}ns AND time < {end * 1_000_000}ns"
        found = self._influx.select(
            "; ".join(select('count("seen")', kind, span) for kind in kinds)
        )
        return {s["name"]: sum(int(row[1]) for row in s["values"]) for s in found}

    def scan(
        self, kind: str, start: int, end: int, *, site: str | None = None, device: str | None = None
    ) -> Iterator[StoredPoint]:
        """Yield every event of a kind, oldest first."""
        return influx_scan.scan(self._influx.select, kind, start, end, site=site, device=device)

    def positions(self) -> dict[str, int]:
        """Return for each log the position through which everything has been stored."""
        return influx_scan.positions(self._influx.select)

    def close(self) -> None:
        """Release the connection."""
        self._influx.close()

    def _kinds(self) -> list[str]:
        """Return the measurements that are kinds of events: their names have a dot."""
        found = self._influx.select("SHOW MEASUREMENTS")
        return [row[0] for series in found for row in series["values"] if "." in row[0]]

    def _field_type(self, query: Query) -> str | None:
        """Return a field's type as the database knows it; a field's type never changes."""
        key = (query.kind, query.field)
        if key not in self._types:
            found = self._influx.select(f"SHOW FIELD KEYS FROM {identifier(query.kind)}")
            for series in found:
                for name, type_ in series["values"]:
                    self._types[query.kind, name] = type_
        return self._types.get(key)

    def _all(self, query: Query) -> Iterator[Timed]:
        start_ns: int | None = (query.start - lookback_ms(query)) * 1_000_000
        while start_ns is not None:
            samples, start_ns = self._raw(query, start_ns, _PAGE)
            for sample in samples:
                if sample.value is not None:
                    yield sample.at, sample.value

    def _raw(self, query: Query, start_ns: int, limit: int) -> tuple[list[Sample], int | None]:
        """Return raw values, and where (ns) the next page starts if there may be one."""
        found = self._influx.select(
            select(
                identifier(query.field),
                query.kind,
                of_device(query.device, start_ns, query.end * 1_000_000),
                f"ORDER BY time ASC LIMIT {limit:d}",
            )
        )
        rows = [row for series in found for row in series["values"] if row[1] is not None]
        samples = [
            Sample(row[0] // 1_000_000, sample_of(query.kind, query.field, row[1])) for row in rows
        ]
        return samples, rows[-1][0] + 1 if len(rows) >= limit else None


def _lines_each(lines: int) -> int:
    """Return the lines of one request: as many requests for each connection, none too large."""
    requests = max(-(-lines // LINES), min(lines // _FEW, _REQUESTS))
    requests += -requests % _CONNECTIONS
    return max(-(-lines // max(requests, 1)), _FEW)
