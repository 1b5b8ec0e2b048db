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
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from core.contracts.codec import encode
from core.contracts.events import KINDS, KindSpec
from core.contracts.ports import Point, StoredEvent, Value

#: Columns of a row that are not the event's data.
_ENVELOPE = frozenset({"time", "device", "site", "seen", "ref"})
_TAG = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ "})
_TEXT = str.maketrans({"\\": "\\\\", '"': '\\"'})


def line_of(point: Point) -> str:
    """Return a point as one line (nanoseconds, no newline at its end)."""
    return LINES[point.event.kind](point)


@functools.lru_cache(maxsize=200_000)
def _series(kind: str, device: str, site: str) -> str:
    measurement = kind.translate(_MEASUREMENT)
    return f"{measurement},device={device.translate(_TAG)},site={site.translate(_TAG)} "


def _text(value: str) -> str:
    if '"' in value or "\\" in value:
        value = value.translate(_TEXT)
    return f'"{value}"'


def _json(value: Any) -> str:
    return _text(encode(value).decode())


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


def _shape(annotation: Any) -> Any:
    """Return what a field holds beside None: bool, int, float, str, ``Literal`` for plain words.

    Lists and maps are a dict, and what is now this and now that is None.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return _shape(get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        shapes = {_shape(arg) for arg in get_args(annotation) if arg is not type(None)}
        return shapes.pop() if len(shapes) == 1 else None
    if origin is Literal:
        return Literal if all(str(word).isidentifier() for word in get_args(annotation)) else None
    if origin in (list, dict):
        return dict
    return annotation if annotation in (bool, int, float, str) else None


_SHAPES: dict[tuple[str, str], Any] = {
    (spec.kind, name): _shape(field.annotation)
    for spec in KINDS.values()
    for name, field in spec.data.model_fields.items()
}

#: How a value ``v`` of a shape stands in a line. A whole number of the vocabulary is below 10^16,
#: from where on Python would write a float with an exponent.
_WRITTEN: dict[Any, str] = {
    bool: """{'true' if v else 'false'}""",
    int: "{v}.0",
    float: "{v!r}",
    Literal: '"{v}"',
    str: "{text(v)}",
    dict: "{json(v)}",
}


def _function(spec: KindSpec) -> Callable[[Point], str]:
    """Compile the function that writes the lines of one kind.

    What is known of its fields need not be asked of each value: that takes less than half the time.
    """
    source = [
        "def line(point):",
        " event = point.event",
        " data = event.data",
        f" line = series({spec.kind!r}, event.device, point.site)",
    ]
    for name, field in spec.data.model_fields.items():
        written = _WRITTEN[_SHAPES[spec.kind, name]]
        test = "" if field.is_required() else "if v is not None: "
        source += [f" v = data.{name}", f" {test}line += f'''{name}={written},'''"]
    source += [
        " if event.id is not None: line += f'ref={text(event.id)},'",
        " return f'{line}seen={event.seen}i {point.time_ns}'",
    ]
    names: dict[str, Any] = {"series": _series, "text": _text, "json": _json}
    exec("\n".join(source), names)  # noqa: S102 - of nothing but the vocabulary
    function: Callable[[Point], str] = names["line"]
    return function


#: For each kind the function that writes a point of it as a line.
LINES: dict[str, Callable[[Point], str]] = {spec.kind: _function(spec) for spec in KINDS.values()}
