"""The columns of a kind's table: the envelope, then the data's fields in their order.

Every file of a kind has all columns of the kind, whatever its events hold, so that files can be
read together. Lists and maps are JSON texts: pandas, Polars and DuckDB read a text alike, a list
of optional maps each in its own way.
"""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from core.contracts.codec import encode
from core.contracts.errors import EstateError
from core.contracts.events import KINDS
from core.contracts.ports import StoredPoint

#: Rises when a column changes its type or goes away; a new column of a kind leaves it.
SCHEMA_VERSION = 1

ColumnType = Literal["time", "text", "whole", "number", "flag", "json"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``time`` is ms (UTC), ``whole`` 64 bits with sign."""

    name: str
    type: ColumnType


ENVELOPE = (
    Column("at", "time"),
    Column("nth", "whole"),
    Column("site", "text"),
    Column("device", "text"),
    Column("kind", "text"),
    Column("seen", "time"),
    Column("ref", "text"),
)
"""``nth`` is ns within the millisecond: (device, kind, at, nth) is an event's identity."""

#: A kind that this version's vocabulary does not have keeps its data whole.
_UNKNOWN = (Column("data", "json"),)
#: A kind names a file, and an InfluxDB may hold what others wrote.
_KIND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")


def columns_of(kind: str) -> tuple[Column, ...]:
    """Return the columns of a kind's table; raise :class:`EstateError` on what names no file."""
    spec = KINDS.get(kind)
    if spec is None:
        if not _KIND.fullmatch(kind):
            raise EstateError(f"{kind!r} is no kind of event; drop that measurement from the store")
        return ENVELOPE + _UNKNOWN
    fields = spec.data.model_fields.items()
    return ENVELOPE + tuple(Column(name, _type(field.annotation)) for name, field in fields)


def row_of(columns: tuple[Column, ...], point: StoredPoint) -> list[Any]:
    """Return a point's values in the order of the columns; times are ms."""
    at, nth = divmod(point.time_ns, 1_000_000)
    row = [at, nth, point.site, point.device, point.kind, point.seen, point.ref]
    fields = columns[len(ENVELOPE) :]
    if fields == _UNKNOWN:
        return [*row, encode(point.data).decode()]
    for column in fields:
        value = point.data.get(column.name)
        row.append(_CAST[column.type](value) if value is not None else None)
    return row


def _number(value: Any) -> float:
    return float(value)


def _same(value: Any) -> Any:
    return value


def _json(value: Any) -> str:
    return encode(value).decode()


_CAST: dict[ColumnType, Any] = {
    "time": _same, "text": _same, "whole": int, "number": _number, "flag": bool, "json": _json,
}  # fmt: skip
_PLAIN: dict[Any, ColumnType] = {bool: "flag", int: "whole", float: "number", str: "text"}


def _type(annotation: Any) -> ColumnType:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type(get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        found = {_type(arg) for arg in get_args(annotation) if arg is not type(None)}
        return found.pop() if len(found) == 1 else "json"
    if origin is Literal:
        found = {_PLAIN.get(type(value), "json") for value in get_args(annotation)}
        return found.pop() if len(found) == 1 else "json"
    return _PLAIN.get(annotation, "json")
