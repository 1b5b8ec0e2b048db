"""The form of a mapping file; ``lift_http.yaml`` beside this file is one with comments.

A path is a JMESPath expression: it picks from the JSON and computes nothing of ours. Paths
start at the element of a ``list``, else at the item of ``each``, else at the message; ``^.``
before a path means the item, ``$.`` the whole message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from core.contracts.errors import SettingsError
from core.contracts.events import COLLECTOR_KINDS, KINDS
from core.runtime.settings import parse, read_yaml
from edge.drivers.settings import Section
from edge.mapping.targets import Target, target_of

Scalar = str | int | float | bool
#: Fields that name a person or a vehicle: only a pseudonym may leave the edge in them.
PRIVATE = frozenset({"person", "vehicle"})
_BUILTIN = Path(__file__).parent
_OFFSET = re.compile(r"^[+-](0\d|1[0-4]):[0-5]\d$")
#: Kinds that are the runner's own to tell.
_RESERVED = COLLECTOR_KINDS | {"device.health", "device.snapshot"}


class PathFilter:
    """A compiled path and where it starts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.start: Literal["element", "item", "message"] = "element"
        if text.startswith("$.") or text == "$":
            self.start, text = "message", text[2:] or "@"
        elif text.startswith("^.") or text == "^":
            self.start, text = "item", text[2:] or "@"
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            first = str(error).splitlines()[0]
            raise ValueError(f"the path {self.text!r} cannot be read: {first}") from None

    def search(self, start: Any) -> Any:
        """Return what the path finds, None where there is nothing; raise ValueError."""
        try:
            return self._compiled.search(start)
        except JMESPathError as error:
            raise ValueError(f"{self.text}: {str(error).splitlines()[0]}") from None


def _path(text: str) -> str:
    PathFilter(text)
    return text


class TimeForm(Section):
    """How a time is written."""

    form: str = "iso"
    """``epoch_s``, ``epoch_ms``, ``iso``, or a pattern as of strptime (``%Y-%m-%d %H:%M:%S``)."""
    utc_offset: str | None = None
    """The offset of times that have none of their own, for example ``+08:00``."""

    @model_validator(mode="after")
    def _known(self) -> TimeForm:
        if self.form not in ("epoch_s", "epoch_ms", "iso") and "%" not in self.form:
            raise ValueError(f"form {self.form}: give epoch_s, epoch_ms, iso or a %-pattern")
        if self.utc_offset is not None and not _OFFSET.match(self.utc_offset):
            raise ValueError(f"utc_offset {self.utc_offset}: give it as +08:00")
        if "%" in self.form and "%z" not in self.form and self.utc_offset is None:
            raise ValueError(f"a time as {self.form} has no offset: give utc_offset")
        return self


class Source(Section):
    """Where one value comes from and how it is converted; a plain text is its ``path``."""

    path: str | None = None
    value: Scalar | list[Scalar] | None = None
    """A constant."""
    topic: Annotated[int, Field(ge=0, le=31)] | None = None
    """A level of the MQTT topic (or of a push's path), from 0."""
    absent: list[Scalar] = Field(default_factory=list)
    """Raw values that mean "not known"; the field is left out."""
    enum: dict[Scalar, Scalar] | None = None
    """Raw value -> value; 1, 1.0 and "1" are the same raw value, "01" is another."""
    otherwise: Scalar | None = None
    """For raw values that ``enum`` has not; without it they are refused."""
    scale: float = 1
    offset: float = 0
    """value = raw * scale + offset"""
    split: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    """A text that lists several values: what stands between them."""
    time: TimeForm | None = None
    pseudonym: Literal["card", "employee", "vehicle"] | None = None
    """What the identifier is: it leaves the edge as its keyed pseudonym only."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, raw: Any) -> Any:
        return {"path": raw} if isinstance(raw, str) else raw

    @field_validator("path")
    @classmethod
    def _readable(cls, path: str | None) -> str | None:
        return None if path is None else _path(path)

    @model_validator(mode="after")
    def _one(self) -> Source:
        given = [self.path, self.value, self.topic]
        if sum(item is not None for item in given) != 1:
            raise ValueError("give exactly one of path, value, topic")
        if self.otherwise is not None and self.enum is None:
            raise ValueError("otherwise needs an enum")
        return self

    def outcomes(self) -> Iterator[Scalar]:
        """Yield the values that the file itself names."""
        if isinstance(self.value, list):
            yield from self.value
        elif self.value is not None:
            yield self.value
        yield from (self.enum or {}).values()
        if self.otherwise is not None:
            yield self.otherwise


Where = dict[str, Scalar | list[Scalar]]


class Tell(Section):
    """One observation that follows from a message."""

    kind: str
    mode: Literal["each", "change", "standing"] = "each"
    """``each``: each message (the report rule may hold it back). ``change``: the first, and
    when any field differs from what was told last. ``standing``: ``list`` holds what stands
    now; ``active: true`` when an element appears, ``active: false`` when it is gone."""
    where: Where = Field(default_factory=dict)
    list_: str | None = Field(default=None, alias="list")
    """A path to a list: one observation for each element."""
    key: Source | None = None
    """What tells the states of one device apart (change), or the elements (standing)."""
    once: Source | None = None
    """The record's own number: a record that comes again is counted and not told again."""
    at: Source | None = None
    optional: bool = False
    """A message without one of the required fields says nothing of this; it is not refused."""
    data: dict[str, Source]

    @field_validator("list_")
    @classmethod
    def _readable(cls, path: str | None) -> str | None:
        return None if path is None else _path(path)

    @field_validator("where")
    @classmethod
    def _conditions(cls, where: Where) -> Where:
        for path in where:
            _path(path)
        return where

    @model_validator(mode="after")
    def _fits(self) -> Tell:
        if self.kind not in KINDS or self.kind in _RESERVED or self.kind.startswith("edge."):
            raise ValueError(f"kind {self.kind}: not one that a device can tell")
        if self.mode == "standing" and (self.list_ is None or self.once is not None):
            raise ValueError(f"{self.kind}: standing needs a list, and has no once")
        fields = KINDS[self.kind].data.model_fields
        if self.mode == "standing" and ("active" not in fields or "active" in self.data):
            raise ValueError(f"{self.kind}: standing fills in active by itself")
        for name, source in self.data.items():
            self._check(name, source)
        filled = self.data.keys() | ({"active"} if self.mode == "standing" else set())
        missing = [n for n, field in fields.items() if field.is_required() and n not in filled]
        if missing:
            raise ValueError(f"{self.kind}: data lacks {', '.join(missing)}")
        if self.at is not None and self.at.time is None:
            raise ValueError("at: say how the time is written (time: {form: …})")
        return self

    def _check(self, name: str, source: Source) -> None:
        target = self.target(name)
        if name in PRIVATE and source.pseudonym is None:
            raise ValueError(f"{self.kind}.{name}: only a pseudonym may leave: give pseudonym")
        for outcome in source.outcomes():
            try:
                target.convert(outcome)
            except ValueError as error:
                raise ValueError(f"{self.kind}.{name}: {error}") from None

    def required(self, name: str) -> bool:
        """Tell whether the kind cannot do without a field."""
        return KINDS[self.kind].data.model_fields[name].is_required()

    def target(self, name: str) -> Target:
        """Return what a field takes; raise ValueError for one that the kind has not."""
        fields = KINDS[self.kind].data.model_fields
        if name not in fields:
            raise ValueError(f"{self.kind} has no field {name}; it has {', '.join(fields)}")
        return target_of(fields[name])


class MessageRule(Section):
    """What follows from messages of one form."""

    topic: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """MQTT topic filter below the driver's root (or the path of a push); none: any message."""
    where: Where = Field(default_factory=dict)
    """Path -> the value (or values) that it must have."""
    each: str | None = None
    """A path to a list of which each item is read on its own."""
    device: Source
    """The vendor's id of the device, as it stands under ``devices`` of the driver."""
    at: Source | None = None
    tell: list[Tell] = Field(default_factory=list)
    """Nothing: a heartbeat."""

    @field_validator("each")
    @classmethod
    def _readable(cls, path: str | None) -> str | None:
        return None if path is None else _path(path)

    @field_validator("where")
    @classmethod
    def _conditions(cls, where: Where) -> Where:
        for path in where:
            _path(path)
        return where

    @field_validator("topic")
    @classmethod
    def _filter(cls, topic: str | None) -> str | None:
        if topic is None:
            return None
        levels = topic.split("/")
        if any(("+" in x or "#" in x) and len(x) > 1 for x in levels) or "#" in levels[:-1]:
            raise ValueError(f"topic {topic}: + and # stand alone, # at the end")
        return topic

    @model_validator(mode="after")
    def _times(self) -> MessageRule:
        if self.at is not None and self.at.time is None:
            raise ValueError("at: say how the time is written (time: {form: …})")
        return self


class Mapping(Section):
    """A whole mapping file."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    messages: Annotated[list[MessageRule], Field(min_length=1, max_length=100)]

    @property
    def private(self) -> bool:
        """Tell whether it makes pseudonyms."""
        tells = [tell for rule in self.messages for tell in rule.tell]
        return any(source.pseudonym for tell in tells for source in tell.data.values())

    @property
    def topics(self) -> list[str]:
        """Return the topic filters, each once."""
        return list(dict.fromkeys(rule.topic for rule in self.messages if rule.topic))


def load(name: str, base: Path) -> Mapping:
    """Read a mapping that comes with the system (by name) or a file; raise SettingsError."""
    known = builtin()
    path = known.get(name, base / name)
    if name not in known and not path.exists():
        raise SettingsError(f"map: no file {path}; with the system come {', '.join(known)}")
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping with name and messages")
    return parse(Mapping, raw, str(path))


def builtin() -> dict[str, Path]:
    """Return the mappings that come with the system, by name."""
    return {path.stem: path for path in sorted(_BUILTIN.glob("*.yaml"))}
