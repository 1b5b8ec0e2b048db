"""Events as columns: what a hot row and a sealed block of the embedded store hold.

A **hot row** is what one write gave one day, in the order of the log: arrays of four or eight
bytes (little-endian) for series, time, lateness and the data's length, and the data as MessagePack
maps one after the other. Writing it costs one encoding an event and nothing else.

A **block** holds up to some thousand events of one kind, sorted by series and time: for each field
one JSON array, the whole deflated. Values of one field lie side by side, so that they shrink to a
few bytes, and a reader parses only the field that it wants. A column whose values are all equal
holds one. Text rather than binary floats, because a meter says 5123.4, not 5123.39999999999964.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, islice
from operator import sub
from typing import Any, NamedTuple

import msgspec

#: Events in one block: a meter's day of one reading a minute fits.
BLOCK = 2_048
_TIME_BITS = 47  # ns of a day

#: What a damaged row or block raises when it is read.
UNREADABLE = (
    zlib.error,
    msgspec.MsgspecError,
    ValueError,
    IndexError,
    KeyError,
    UnicodeDecodeError,
)

_pack = msgspec.msgpack.Encoder().encode
_unpack_map = msgspec.msgpack.Decoder(dict[str, Any]).decode
_unpack_refs = msgspec.msgpack.Decoder(dict[int, str]).decode
_json = msgspec.json.Encoder().encode


class HotRow(NamedTuple):
    """One row of the table ``hot``, without its id: see the schema in ``days``."""

    events: int
    first: int
    last: int
    series: bytes
    time: bytes
    late: bytes
    size: bytes
    ref: bytes | None
    data: bytes


class HotEvents:
    """Events of one day in the order of the log, on their way into a hot row."""

    __slots__ = ("data", "late", "refs", "series", "times")

    def __init__(self) -> None:
        self.series: list[int] = []
        self.times: list[int] = []
        self.late: list[int] = []
        self.refs: dict[int, str] = {}
        self.data: list[bytes] = []

    def row(self) -> HotRow:
        """Return the events as a row; there must be some."""
        return HotRow(
            len(self.series),
            min(self.times),
            max(self.times),
            packed("I", self.series),
            packed("q", self.times),
            packed("q", self.late),
            packed("I", list(map(len, self.data))),
            _pack(self.refs) if self.refs else None,
            b"".join(self.data),
        )


#: Encodes an event's data as a MessagePack map without the fields that were not given.
encode_data = _pack


def packed(code: str, values: Sequence[int]) -> bytes:
    """Return whole numbers as little-endian bytes (``I``: 4 unsigned, ``q``: 8 signed)."""
    found = array(code, values)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def unpacked(code: str, content: bytes) -> array[int]:
    """Undo :func:`packed`."""
    found = array(code)
    found.frombytes(content)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def offsets(sizes: bytes) -> list[int]:
    """Return where each event's data starts in a hot row, and the end of the last."""
    return list(accumulate(unpacked("I", sizes), initial=0))


def decode_data(content: bytes | memoryview) -> dict[str, Any]:
    """Read one event's data of a hot row."""
    return _unpack_map(content)


def refs_of(ref: bytes | None) -> dict[int, str]:
    """Return the sources' ids of a hot row by the event's index."""
    return _unpack_refs(ref) if ref else {}


@dataclass(slots=True)
class Columns:
    """Events of one kind as columns of equal length; ``times`` are ns since the day's start."""

    series: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refs: list[str | None] = field(default_factory=list)
    fields: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.series)

    def add(self, other: Columns) -> None:
        """Append another's events."""
        before, more = len(self), len(other)
        self.series += other.series
        self.times += other.times
        self.late += other.late
        self.refs += other.refs
        for name, column in other.fields.items():
            mine = self.fields.get(name)
            if mine is None:
                mine = self.fields[name] = [None] * before
            mine += column
        for name in self.fields.keys() - other.fields.keys():
            self.fields[name] += [None] * more

    def take(self, order: Sequence[int]) -> Columns:
        """Return the events at some indexes, in that order."""
        return Columns(
            [self.series[i] for i in order],
            [self.times[i] for i in order],
            [self.late[i] for i in order],
            [self.refs[i] for i in order],
            {name: [column[i] for i in order] for name, column in self.fields.items()},
        )

    def order(self) -> list[int]:
        """Return the indexes sorted by series and time; equal ones keep their order."""
        keys = [s << _TIME_BITS | t for s, t in zip(self.series, self.times, strict=True)]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def slices(self, size: int = BLOCK) -> Iterable[Columns]:
        """Yield parts of at most ``size`` events."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Columns(
                self.series[part],
                self.times[part],
                self.late[part],
                self.refs[part],
                {name: column[part] for name, column in self.fields.items()},
            )


def transposed(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the data of events as one column a field; None where an event lacks it."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


class Block(NamedTuple):
    """One row of the table ``block`` without its run and kind."""

    first_series: int
    last_series: int
    first: int
    last: int
    events: int
    body: bytes


class _Body(msgspec.Struct, array_like=True, gc=False):
    """A block's body; times as differences, every column whole or one value for all."""

    series: list[int]
    counts: list[int]
    times: msgspec.Raw
    late: msgspec.Raw
    refs: msgspec.Raw
    fields: dict[str, msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_ints = msgspec.json.Decoder(list[int]).decode
_decode_any = msgspec.json.Decoder(list[Any]).decode


def encode_block(events: Columns, level: int) -> Block:
    """Return sorted events as a block; ``level`` is zlib's (1 fast to 9 small)."""
    series, times = events.series, events.times
    runs = [(key, len(list(same))) for key, same in groupby(series)]
    body = _json(
        (
            [key for key, _ in runs],
            [count for _, count in runs],
            _short([times[0], *map(sub, islice(times, 1, None), times)]),
            _short(events.late),
            _short(events.refs),
            {
                name: _short(column)
                for name, column in events.fields.items()
                if column.count(None) < len(column)
            },
        )
    )
    return Block(
        series[0], series[-1], min(times), max(times), len(times), zlib.compress(body, level)
    )


def _short(column: list[Any]) -> list[Any]:
    same = column.count(column[0]) == len(column) and len(set(map(type, column))) == 1
    return column[:1] if same else column


class BlockView:
    """A block as a reader sees it: columns are parsed when they are asked for."""

    def __init__(self, body: bytes) -> None:
        self._body = _decode_body(zlib.decompress(body))
        ends = list(accumulate(self._body.counts))
        self._spans = {
            series: slice(end - count, end)
            for series, count, end in zip(self._body.series, self._body.counts, ends, strict=True)
        }
        self._events = ends[-1]
        self._times: list[int] | None = None
        self._read: dict[str, list[Any] | None] = {}

    def span(self, series: int) -> slice | None:
        """Return where a series' events are, None where it has none here."""
        return self._spans.get(series)

    def series(self) -> list[int]:
        """Return the series that have events here, ascending."""
        return self._body.series

    def counts(self) -> dict[int, int]:
        """Return how many events each series has."""
        return dict(zip(self._body.series, self._body.counts, strict=True))

    def times(self) -> list[int]:
        """Return the events' times (ns since the day's start)."""
        if self._times is None:
            self._times = list(accumulate(self._long(_decode_ints(self._body.times))))
        return self._times

    def column(self, name: str) -> list[Any] | None:
        """Return one field's values; None where no event has it."""
        if name not in self._read:
            raw = self._body.fields.get(name)
            self._read[name] = None if raw is None else self._long(_decode_any(raw))
        return self._read[name]

    def rows(self, span: slice) -> list[dict[str, Any]]:
        """Return the data of some events, fields that were not given left out."""
        columns = [(name, self._long(_decode_any(raw))) for name, raw in self._body.fields.items()]
        return [
            {name: column[i] for name, column in columns if column[i] is not None}
            for i in range(*span.indices(self._events))
        ]

    def columns(self) -> Columns:
        """Return everything."""
        body = self._body
        return Columns(
            [s for s, n in zip(body.series, body.counts, strict=True) for _ in range(n)],
            self.times(),
            self._long(_decode_ints(body.late)),
            self._long(_decode_any(body.refs)),
            {name: self._long(_decode_any(raw)) for name, raw in body.fields.items()},
        )

    def _long(self, column: list[Any]) -> list[Any]:
        return column * self._events if len(column) == 1 else column
