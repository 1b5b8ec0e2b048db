"""Events as InfluxDB's line protocol, and rows of InfluxQL answers as events again.

A point's measurement is the event's kind, so that a measurement has one set of fields and a
query names the kind where InfluxQL expects it; its tags are ``device`` and ``site``. The three
together are the series, and there are no other tags: people, fault names and the like are
fields, because each new tag value would be a new series.

Every number is written as a float, also a whole one: InfluxDB fixes a field's type by the first
value that it sees, and a device that once says 230 and then 230.1 must not be refused. Booleans
and texts keep their types, lists and maps are JSON texts. ``seen`` (ms, an integer) is always
there, so that an event without data is a point too; ``ref`` is the source's own id.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import Annotated, Any, get_args, get_origin

import msgspec

from core.contracts.codec import FIELDS, encode
from core.contracts.events import KINDS
from core.contracts.ports import Point, StoredEvent, Value

#: Columns of a row that are not the event's data.
_ENVELOPE = frozenset({"time", "device", "site", "seen", "ref"})
_TAG = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ "})
_TEXT = str.maketrans({"\\": "\\\\", '"': '\\"'})


def line_of(point: Point) -> str:
    """Return a point as one line (nanoseconds, no newline at its end)."""
    event = point.event
    data = event.data
    parts = [_series(event.kind, event.device, point.site)]
    for name in FIELDS[event.kind]:
        value = getattr(data, name)
        if value is not None:
            parts.append(f"{name}={_field(value)},")
    if event.id is not None:
        parts.append(f"ref={_field(event.id)},")
    parts.append(f"seen={event.seen}i {point.time_ns}")
    return "".join(parts)


@functools.lru_cache(maxsize=200_000)
def _series(kind: str, device: str, site: str) -> str:
    measurement = kind.translate(_MEASUREMENT)
    return f"{measurement},device={device.translate(_TAG)},site={site.translate(_TAG)} "


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(float(value))
    if not isinstance(value, str):
        value = encode(value).decode()
    return f'"{value.translate(_TEXT)}"'


def event_of(
    kind: str, columns: list[str], row: list[Any], device: str | None = None
) -> StoredEvent:
    """Read one row of ``SELECT *`` (``epoch=ns``); whole numbers and lists come back as such."""
    values = dict(zip(columns, row, strict=True))
    data = {
        name: value_of(kind, name, value)
        for name, value in values.items()
        if value is not None and name not in _ENVELOPE
    }
    return StoredEvent(values["time"], device or values["device"], kind, data)


def value_of(kind: str, name: str, value: Any) -> Any:
    """Undo what writing did to one field's value, by the type that the vocabulary gives it."""
    shape = _SHAPES.get((kind, name))
    if shape is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if shape is float and isinstance(value, int):
        return float(value)
    if shape is dict and isinstance(value, str):
        return msgspec.json.decode(value)
    return value


def sample_of(kind: str, name: str, value: Any) -> Value | None:
    """Return one raw value of a field; lists and maps stay JSON texts."""
    sample: Value | None = (
        value if _SHAPES.get((kind, name)) is dict else value_of(kind, name, value)
    )
    return sample


def identifier(name: str) -> str:
    """Quote a name for InfluxQL."""
    return '"' + name.translate(_TEXT).replace("\n", "\\n") + '"'


def literal(text: str) -> str:
    """Quote a text for InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _shape(annotation: Any) -> type | None:
    """Return int or float for numbers, dict for lists and maps, None for anything else."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _shape(get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        shapes = {_shape(arg) for arg in get_args(annotation) if arg is not type(None)}
        return shapes.pop() if len(shapes) == 1 else None
    if origin in (list, dict):
        return dict
    return annotation if annotation in (int, float) else None


_SHAPES: dict[tuple[str, str], type] = {
    (spec.kind, name): shape
    for spec in KINDS.values()
    for name, field in spec.data.model_fields.items()
    if (shape := _shape(field.annotation)) is not None
}
