"""What names mean: the types of fields, read from the event models, and of known values."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

from core.contracts.events import KINDS
from core.contracts.topology import DeviceFamily, Level, SiteKind


class Sort(StrEnum):
    """The sorts of values that a condition can hold."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "truth value"
    NUMBERS = "list of numbers"
    TEXTS = "list of texts"


@dataclass(frozen=True, slots=True)
class Type:
    """A sort and, for texts of a closed vocabulary, every value that can occur."""

    sort: Sort
    choices: frozenset[str] | None = None


NUMBER = Type(Sort.NUMBER)
TEXT = Type(Sort.TEXT)
BOOLEAN = Type(Sort.BOOLEAN)

#: What a condition may know of the device, its node and its site.
SUBJECT: dict[str, Type] = {
    "device.id": TEXT,
    "device.model": TEXT,
    "device.family": Type(Sort.TEXT, frozenset(DeviceFamily)),
    "device.expect_s": NUMBER,
    "device.edge": TEXT,
    "node.id": TEXT,
    "node.level": Type(Sort.TEXT, frozenset(Level)),
    "node.number": NUMBER,
    "node.occupants": NUMBER,
    "site.id": TEXT,
    "site.kind": Type(Sort.TEXT, frozenset(SiteKind)),
}
LIMITS = "device.limits."
#: The one fixed path whose value no two devices share.
DEVICE_ID = "device.id"


def _type_of(annotation: Any) -> Type | None:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_of(get_args(annotation)[0])
    if origin is Literal:
        return Type(Sort.TEXT, frozenset(get_args(annotation)))
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        return _type_of(inner[0]) if len(inner) == 1 else None
    if origin is list:
        item = _type_of(get_args(annotation)[0])
        if item is None or item.sort not in (Sort.NUMBER, Sort.TEXT):
            return None
        return Type(Sort.NUMBERS if item.sort is Sort.NUMBER else Sort.TEXTS, item.choices)
    if annotation is bool:
        return BOOLEAN
    if annotation in (int, float):
        return NUMBER
    return TEXT if annotation is str else None


#: For each kind the types of the fields that a condition can read.
FIELD_TYPES: dict[str, dict[str, Type]] = {
    kind: {
        name: found
        for name, field in spec.data.model_fields.items()
        if (found := _type_of(field.annotation)) is not None
    }
    for kind, spec in KINDS.items()
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What one condition can name: the fields of its kinds, and the file's parameters."""

    kinds: tuple[str, ...]
    params: dict[str, float | str | bool]

    def fields(self) -> list[str]:
        """Return the names of the fields that any of the kinds has."""
        found: dict[str, None] = {}
        for kind in self.kinds:
            found |= dict.fromkeys(FIELD_TYPES[kind])
        return list(found)

    def lookup(self, path: str) -> Type | None:
        """Return the type of a path, or None when nothing has that name."""
        if path.startswith(LIMITS) and path.count(".") == 2 and len(path) > len(LIMITS):
            return NUMBER
        if path.startswith("params."):
            value = self.params.get(path.removeprefix("params."))
            return None if value is None else literal_type(value)
        return SUBJECT.get(path) or self._field(path.removeprefix("data."))

    def _field(self, name: str) -> Type | None:
        found = [
            kind_fields[name] for kind in self.kinds if name in (kind_fields := FIELD_TYPES[kind])
        ]
        if not found or len({item.sort for item in found}) != 1:
            return None
        choices = [item.choices for item in found]
        if any(item is None for item in choices):
            return Type(found[0].sort)
        return Type(found[0].sort, frozenset().union(*(item or () for item in choices)))

    def nearest(self, path: str) -> str:
        """Return a remedy for an unknown path: the nearest known name, or all fields."""
        known = [*self.fields(), *SUBJECT, *(f"params.{name}" for name in self.params)]
        return nearest(path.removeprefix("data."), known)


def literal_type(value: float | str | bool) -> Type:  # noqa: FBT001 - a literal of any sort
    """Return the type of a literal."""
    if isinstance(value, bool):
        return BOOLEAN
    return TEXT if isinstance(value, str) else NUMBER


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest known word, or the known words."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(names[:40])}" if names else "nothing is known here"
