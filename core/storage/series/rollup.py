"""Minutes, hours and days of the numeric fields, kept beside the events.

``rollup-2026-11.sqlite`` holds a month. Its tables are those of :data:`SPANS`, with a row for each
day, device and kind: for each numeric field of the kind's model (:data:`ROLLED`) and each span with
values a :class:`Tally`. Tallies join: longer windows, and a counter's increase across spans, come
out as from the values themselves. ``days`` and ``hours`` have all; ``minutes`` only what is dense:
the events of a meter that is read once a minute are read as fast.

A rollup is derived from a day that was sealed for good, and the manifest says which are to be
believed: ``rolled`` names the day once all its rows are durable; a late event first makes its
device and kind ``stale`` there, and only then enters the day. Readers take stale ones, and days
that are not rolled, from the events. So a crash at any step leaves a rollup that is right or one
that nobody reads. A day's row in one table is renewed with those in the others, and one that is
missing is in the finer ones: files from before a table was there stay as good as they were.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from math import fsum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from core.contracts.events import KINDS
from core.contracts.vocabulary import EpochMs
from core.storage import sqlite
from core.storage.series.days import DAY_MS, DAY_NS, ensure_schema, file_name, rollup_name
from core.storage.series.dayview import DayView
from core.storage.series.sealing import SealingPlan


class Span(NamedTuple):
    """Spans of one length, and the table that holds their tallies."""

    table: str
    length_ms: int


MINUTES, HOURS, DAYS = Span("minutes", 60_000), Span("hours", 3_600_000), Span("days", DAY_MS)
#: From the longest to the shortest.
SPANS = (DAYS, HOURS, MINUTES)
_SCHEMA = "".join(
    f"""
CREATE TABLE IF NOT EXISTS {span.table} (
    kind TEXT NOT NULL,
    device TEXT NOT NULL,
    day INTEGER NOT NULL,
    body BLOB NOT NULL,  -- deflated JSON: field -> columns of its tallies
    PRIMARY KEY (kind, device, day)
) WITHOUT ROWID;
"""
    for span in SPANS
)


class Tally(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Numbers of one span, oldest first, in a form that can be :func:`joined` with others."""

    count: int
    total: float
    low: float
    high: float
    first: float
    last: float
    steps: float
    """A counter's increase from the first number to the last."""


def step(before: float, value: float) -> float:
    """Return how far a counter went on; after a decrease it counts from zero."""
    return value - before if value >= before else value


def tally(numbers: list[float]) -> Tally:
    """Return the tally of at least one number."""
    if len(numbers) == 1:
        only = numbers[0]
        return Tally(1, only, only, only, only, only, 0.0)
    return Tally(
        len(numbers),
        fsum(numbers),
        min(numbers),
        max(numbers),
        numbers[0],
        numbers[-1],
        fsum(step(before, value) for before, value in pairwise(numbers)),
    )


def joined(parts: Sequence[Tally]) -> Tally:
    """Return the tally of all the numbers of at least one part; the oldest part comes first."""
    if len(parts) == 1:
        return parts[0]
    between = [step(before.last, part.first) for before, part in pairwise(parts)]
    return Tally(
        sum([part.count for part in parts]),
        fsum([part.total for part in parts]),
        min([part.low for part in parts]),
        max([part.high for part in parts]),
        parts[0].first,
        parts[-1].last,
        fsum(between) + fsum([part.steps for part in parts]),
    )


def _is_numeric(annotation: Any) -> bool:
    if annotation is EpochMs:
        return False
    if get_origin(annotation) is Annotated:
        return _is_numeric(get_args(annotation)[0])
    if args := [arg for arg in get_args(annotation) if arg is not type(None)]:
        return all(map(_is_numeric, args))
    return annotation in (int, float)


#: Kind -> the fields that are rolled up: every number of its model that is not a moment.
ROLLED: dict[str, tuple[str, ...]] = {
    kind: names
    for kind, spec in KINDS.items()
    if (
        names := tuple(
            name
            for name, field in spec.data.model_fields.items()
            if _is_numeric(field.annotation) and not name.endswith("_at")
        )
    )
}


class _Tallies(msgspec.Struct, array_like=True, gc=False):
    """One field's day: the spans that have values by their number in the day, and their tallies."""

    numbers: list[int]
    tallies: list[Tally]


_Numbered = list[tuple[int, Tally]]
_encode = msgspec.json.Encoder().encode
_decode_day = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_tallies = msgspec.json.Decoder(_Tallies).decode


class Roller:
    """Rolls up a sealed day, or some (device, kind) pairs of it, a bounded step at a time."""

    def __init__(
        self,
        folder: Path,
        day: int,
        plan: SealingPlan,
        only: frozenset[tuple[str, str]] | None = None,
    ) -> None:
        self._day = day
        self._plan = plan
        self._source = sqlite.connect(folder / file_name(day), readonly=True)
        path = folder / rollup_name(day)
        try:
            # A row of one or two kB lies in the tree's own pages only where these are large.
            self._target = sqlite.connect(path, synchronous="NORMAL", page_bytes=16_384)
            ensure_schema(self._target, path, _SCHEMA)
            self._target.executescript(_SCHEMA)  # it may be from before the table of minutes
        except BaseException:
            self._source.close()
            raise
        self._view = DayView(self._source)
        with self._view.snapshot():
            known = self._view.devices()
        self._left = iter(
            [
                (device, kind, ids)
                for device, kind, ids in known
                if kind in ROLLED and (only is None or (device, kind) in only)
            ]
        )

    def step(self) -> bool:
        """Roll up about as many events as a step handles; return False when all is durable."""
        rows: list[tuple[str, str, dict[Span, dict[str, _Tallies]]]] = []
        done = 0
        with self._view.snapshot():
            for device, kind, ids in self._left:
                found, seen = _day_of(self._view, kind, ids, self._plan)
                rows.append((kind, device, found))
                done += seen
                if done >= self._plan.events:
                    break
        more = done >= self._plan.events
        if not more:  # what was committed before lies in the same write-ahead log
            self._target.execute("PRAGMA synchronous=FULL")
        with sqlite.transaction(self._target):
            for span in SPANS:
                self._renew(span, rows)
        return more

    def _renew(
        self, span: Span, rows: list[tuple[str, str, dict[Span, dict[str, _Tallies]]]]
    ) -> None:
        """Write one table's rows; those of a device that has none any more go."""
        keys = [(kind, device, self._day) for kind, device, found in rows if span not in found]
        where = f"{span.table} WHERE kind = ? AND device = ? AND day = ?"
        self._target.executemany(f"DELETE FROM {where}", keys)  # noqa: S608 - a name of ours
        self._target.executemany(
            f"INSERT OR REPLACE INTO {span.table} (kind, device, day, body) VALUES (?, ?, ?, ?)",  # noqa: S608 - a name of ours
            [
                (kind, device, self._day, zlib.compress(_encode(found[span]), 6))
                for kind, device, found in rows
                if span in found
            ],
        )

    def close(self) -> None:
        """Release both files."""
        self._source.close()
        self._target.close()


def _day_of(
    view: DayView, kind: str, ids: list[int], plan: SealingPlan
) -> tuple[dict[Span, dict[str, _Tallies]], int]:
    """Return one device's rolled fields by span, and about how many events were read."""
    found: dict[Span, dict[str, _Tallies]] = {}
    most = 1
    for name, values in view.fields(ids, kind, ROLLED[kind], 0, DAY_NS).items():
        most = max(most, len(values))
        timed = [(time // 1_000_000, value) for time, value in values]
        hours = list(tallied(timed, HOURS.length_ms))
        whole = joined([part for _, part in hours])
        by_span: dict[Span, _Numbered] = {DAYS: [(0, whole)], HOURS: hours}
        if _is_dense([at for at, _ in timed], plan):
            by_span[MINUTES] = list(tallied(timed, MINUTES.length_ms))
        for span, parts in by_span.items():
            columns = _Tallies([number for number, _ in parts], [part for _, part in parts])
            found.setdefault(span, {})[name] = columns
    return found, most


def _is_dense(times: Sequence[int], plan: SealingPlan) -> bool:
    """Tell whether a field's day is worth its minutes."""
    if len(times) < plan.dense_from:
        return False
    return len({at // MINUTES.length_ms for at in times}) * plan.dense <= len(times)


def tallied(values: Iterable[tuple[int, Any]], length: int) -> Iterator[tuple[int, Tally]]:
    """Yield (number, tally) of the spans of one length that hold values."""
    numbered = ((time // length, value) for time, value in values)
    for number, same in groupby(numbered, lambda item: item[0]):
        yield number, tally([value for _, value in same])


class Rollup:
    """A reader's view of one month's file."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite.connect(path, readonly=True)

    def read(
        self, span: Span, device: str, kind: str, name: str, days: Iterable[int]
    ) -> dict[int, list[tuple[int, Tally]]]:
        """Return day -> (time, tally) of one field, of the days that have spans of this length.

        Times are ms since the epoch. A day that is missing may have shorter spans, or its events.
        """
        if not self._has(span):
            return {}
        rows = self._db.execute(
            f"SELECT day, body FROM {span.table} WHERE kind = ? AND device = ? "  # noqa: S608 - a name of ours
            "AND day IN (SELECT value FROM json_each(?))",
            (kind, device, json.dumps(list(days))),
        )
        found: dict[int, list[tuple[int, Tally]]] = {}
        for day, body in rows:
            raw = _decode_day(zlib.decompress(body)).get(name)
            if raw is not None:
                columns = _decode_tallies(raw)
                base, length = day * DAY_MS, span.length_ms
                times = [base + number * length for number in columns.numbers]
                found[day] = list(zip(times, columns.tallies, strict=True))
        return found

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def _has(self, span: Span) -> bool:
        """Tell whether the file has a table; one from before the table was there has not."""
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self._db.execute(known, (span.table,)).fetchone() is not None
