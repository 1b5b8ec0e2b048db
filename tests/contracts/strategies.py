"""Hypothesis strategies read off the models: valid events, and events that are nearly valid."""

from __future__ import annotations

import json
import math
import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.contracts.events import KINDS, Id
from core.contracts.vocabulary import EpochMs

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}", fullmatch=True)
TEXT = st.characters(codec="utf-8")


def _bounds(metadata: typing.Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _bounds(item.metadata)
        for ours in ("ge", "le", "min_length", "max_length", "pattern"):
            if (value := getattr(item, ours, None)) is not None:
                found[ours] = value
    return found


def _scalar(annotation: type, bounds: dict[str, Any]) -> st.SearchStrategy[Any]:
    if annotation is str and "pattern" in bounds:
        return IDS
    if annotation is str:
        longest = bounds.get("max_length", 20)
        short = st.text(TEXT, min_size=bounds.get("min_length", 0), max_size=min(longest, 12))
        return short | TEXT.map(lambda character: character * longest)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(bounds.get("ge"), bounds.get("le"))
    low, high = bounds["ge"], bounds["le"]
    whole = st.integers(math.ceil(low), math.floor(high))
    return st.floats(low, high, allow_nan=False, allow_infinity=False) | whole


def valid(annotation: Any, bounds: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Return the values that an annotation of the vocabulary accepts."""
    bounds = bounds or {}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return valid(arguments[0], bounds | _bounds(arguments[1:]))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([valid(argument) for argument in arguments])
    size = {
        "min_size": bounds.get("min_length", 0),
        "max_size": min(bounds.get("max_length", 5), 5),
    }
    if origin is list:
        return st.lists(valid(arguments[0]), **size)
    if origin is dict:
        return st.dictionaries(valid(arguments[0]), valid(arguments[1]), **size)
    if annotation in (str, bool, int, float):
        return _scalar(annotation, bounds)
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return valid_model(annotation)
    raise TypeError(f"no strategy for {annotation!r}")


def valid_model(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Return the dicts that a model accepts, optional fields now there and now not."""
    required, optional = {}, {}
    for name, field in model.model_fields.items():
        strategy = valid(field.annotation, _bounds(field.metadata))
        (required if field.is_required() else optional)[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


def valid_event(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return whole events of one kind, as a device would write them."""
    return st.fixed_dictionaries(
        {
            "at": valid(EpochMs),
            "seen": valid(EpochMs),
            "device": valid(Id),
            "kind": st.just(kind),
            "data": valid_model(KINDS[kind].data),
        },
        optional={"id": st.none() | st.text(TEXT, max_size=64)},
    )


class Token(str):
    """A piece of JSON text that stands for itself: ``NaN``, ``1.0``, ``1e400``."""

    __slots__ = ()


EDGES = sorted(
    {
        limit + step
        for spec in KINDS.values()
        for field in spec.data.model_fields.values()
        for item in [*field.metadata, *(m for a in get_args(field.annotation) for m in get_args(a))]
        for limit in _bounds([item]).values()
        if isinstance(limit, int | float)
        for step in (-1, 0, 1)
    }
)
#: Values that belong nowhere, or nearly somewhere.
ODD = st.one_of(
    st.sampled_from(EDGES),
    st.sampled_from(EDGES).map(lambda edge: math.nextafter(float(edge), math.inf)),
    st.sampled_from(EDGES).map(lambda edge: math.nextafter(float(edge), -math.inf)),
    st.sampled_from(EDGES).map(lambda edge: Token(f"{int(edge)}.0")),
    st.sampled_from(["", "1", "true", "null", "card", "abc\n", "a/b", "ä", "\0"]),
    st.sampled_from(["x" * 64, "x" * 65, "é" * 200, "é" * 201]),
    st.sampled_from(
        [
            "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e5", "-0", "-0.0", "0.0", "1E+2",
            "18446744073709551616", "-9223372036854775809", "1" + "0" * 399, "4102444800001",
            '"\\ud83d\\ude00"', '"\\u0000"', '"\\n"', "9007199254740993.0",
        ]
    ).map(Token),
    st.booleans(),
    st.none(),
    st.sampled_from([[], {}, [1], {"a": 1}, [[]], [None], {"": None}]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(TEXT, max_size=3),
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _places(inner, (*path, index))
    return found


@st.composite
def nearly_valid(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Return an event with one or two things wrong, or perhaps still right."""
    event = json.loads(json.dumps(draw(valid_event(kind))))
    for _ in range(draw(st.integers(1, 2))):
        places = [place for place in _places(event) if place and place != ("kind",)]
        *way, last = draw(st.sampled_from(places))
        holder = event
        for key in way:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if action == "remove":
            del holder[last]
        elif action == "add" and isinstance(holder, dict):
            name = draw(st.sampled_from(["extra", "value", "active", "id", "kind ", "", "Data"]))
            holder[name] = draw(ODD)
        else:
            holder[last] = draw(ODD)
    return event


def to_json(value: Any) -> str:
    """Write JSON, with every :class:`Token` as it stands."""
    if isinstance(value, Token):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    return json.dumps(value)
