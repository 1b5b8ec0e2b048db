"""Hours of the numeric fields, kept beside the days: a year need not be read event by event.

``rollup-2026-11.sqlite`` holds a row for each day, device and kind: for each numeric field of the
kind's model (:data:`ROLLED`) and each hour with values a :class:`Tally`. Tallies join: longer
windows, days and a counter's increase across hours come out as from the values themselves.

A rollup is derived from a day that was sealed for good, and the manifest says which are to be
believed: ``rolled`` names the day once all its rows are durable; a late event first makes its
device and kind ``stale`` there, and only then enters the day. Readers take stale ones, and days
that are not rolled, from the events. So a crash at any step leaves a rollup that is right or one
that nobody reads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from math import fsum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from core.contracts.events import KINDS
from core.contracts.vocabulary import EpochMs
from core.storage import sqlite
from core.storage.series.days import DAY_NS, ensure_schema, file_name, rollup_name
from core.storage.series.dayview import DayView

HOUR_NS = 3_600_000_000_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hours (
    kind TEXT NOT NULL,
    device TEXT NOT NULL,
    day INTEGER NOT NULL,
    body BLOB NOT NULL,  -- deflated JSON: field -> columns of its tallies
    PRIMARY KEY (kind, device, day)
) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO hours (kind, device, day, body) VALUES (?, ?, ?, ?)"


class Tally(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Numbers of one span, oldest first, in a form that can be joined with the next span's."""

    count: int
    total: float
    low: float
    high: float
    first: float
    last: float
    steps: float
    """A counter's increase from the first number to the last."""

    def join(self, later: Tally) -> Tally:
        """Return both spans as one."""
        return Tally(
            self.count + later.count,
            self.total + later.total,
            min(self.low, later.low),
            max(self.high, later.high),
            self.first,
            later.last,
            self.steps + step(self.last, later.first) + later.steps,
        )


def step(before: float, value: float) -> float:
    """Return how far a counter went on; after a decrease it counts from zero."""
    return value - before if value >= before else value


def tally(numbers: list[float]) -> Tally:
    """Return the tally of at least one number."""
    return Tally(
        len(numbers),
        fsum(numbers),
        min(numbers),
        max(numbers),
        numbers[0],
        numbers[-1],
        fsum(step(before, value) for before, value in pairwise(numbers)),
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


class _Hours(msgspec.Struct, array_like=True, gc=False):
    """One field's day: the hours that have values, and their tallies."""

    hours: list[int]
    tallies: list[Tally]


_encode = msgspec.json.Encoder().encode
_decode_day = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_hours = msgspec.json.Decoder(_Hours).decode


class Roller:
    """Rolls up a sealed day, or some (device, kind) pairs of it, a bounded step at a time."""

    def __init__(
        self, folder: Path, day: int, only: frozenset[tuple[str, str]] | None = None
    ) -> None:
        self._day = day
        self._source = sqlite.connect(folder / file_name(day), readonly=True)
        path = folder / rollup_name(day)
        try:
            # A row of one or two kB lies in the tree's own pages only where these are large.
            self._target = sqlite.connect(path, synchronous="NORMAL", page_bytes=16_384)
            ensure_schema(self._target, path, _SCHEMA)
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

    def step(self, events: int) -> bool:
        """Roll up about so many events; return False at the end, when all is durable."""
        rows, done = [], 0
        with self._view.snapshot():
            for device, kind, ids in self._left:
                fields, seen = _day_of(self._view, kind, ids)
                if fields:
                    body = zlib.compress(_encode(fields), 6)
                    rows.append((kind, device, self._day, body))
                done += seen
                if done >= events:
                    break
        more = done >= events
        if not more:  # what was committed before lies in the same write-ahead log
            self._target.execute("PRAGMA synchronous=FULL")
        with sqlite.transaction(self._target):
            self._target.executemany(_PUT, rows)
        return more

    def close(self) -> None:
        """Release both files."""
        self._source.close()
        self._target.close()


def _day_of(view: DayView, kind: str, ids: list[int]) -> tuple[dict[str, _Hours], int]:
    """Return one device's rolled fields, and about how many events were read."""
    fields: dict[str, _Hours] = {}
    most = 1
    for name in ROLLED[kind]:
        values = [item for id_ in ids for item in view.values(id_, kind, name, 0, DAY_NS)]
        if len(ids) > 1:  # at two sites in one day
            values.sort(key=lambda item: item[0])
        if values:
            hours = list(tallied(values, HOUR_NS))
            fields[name] = _Hours([hour for hour, _ in hours], [found for _, found in hours])
            most = max(most, len(values))
    return fields, most


def tallied(values: Iterable[tuple[int, Any]], length: int) -> Iterator[tuple[int, Tally]]:
    """Yield (number, tally) of the spans of one length that hold values."""
    numbered = ((time // length, value) for time, value in values)
    for number, same in groupby(numbered, lambda item: item[0]):
        yield number, tally([value for _, value in same])


def read_hours(
    connection: sqlite.Connection, device: str, kind: str, name: str, first: int, last: int
) -> dict[int, list[tuple[int, Tally]]]:
    """Return day -> (hour of the day, tally) of one field, for days from first to last."""
    rows = connection.execute(
        "SELECT day, body FROM hours WHERE kind = ? AND device = ? AND day >= ? AND day <= ?",
        (kind, device, first, last),
    )
    found: dict[int, list[tuple[int, Tally]]] = {}
    for day, body in rows:
        raw = _decode_day(zlib.decompress(body)).get(name)
        if raw is not None:
            hours = _decode_hours(raw)
            found[day] = list(zip(hours.hours, hours.tallies, strict=True))
    return found
