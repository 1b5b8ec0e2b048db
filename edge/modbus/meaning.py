"""What the registers of a device mean: states, signals that begin and end, sensors, outputs."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from edge.modbus.blocks import Block, Image
from edge.modbus.fields import CodesSpec, OutputSpec, Scalar, Source
from edge.modbus.numbers import BadValueError, tidy
from edge.modbus.questions import Table


class Caster:
    """Makes of a register's number what a field takes: 12.0 is a whole number, 12.5 is none.

    A number beyond the field's bounds is refused here, so that it costs its field only and not
    the whole observation.
    """

    def __init__(self, field: FieldInfo) -> None:
        self._types = frozenset(_types(field.annotation))
        bounded: Any = field.annotation
        for bound in field.metadata:
            bounded = Annotated[bounded, bound]
        self._check: TypeAdapter[Any] = TypeAdapter(bounded)

    def __call__(self, value: Any) -> Any:
        """Return the value for the field; raise :class:`BadValueError`."""
        try:
            return self._check.validate_python(self._cast(value), strict=True)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise BadValueError(f"{value!r}: {reason}") from None

    def _cast(self, value: Any) -> Any:
        if isinstance(value, bool):
            if bool in self._types:
                return value
        elif isinstance(value, int | float):
            if float in self._types:
                return tidy(value)
            if int in self._types and float(value).is_integer():
                return int(value)
            if bool in self._types and value in (0, 1):
                return bool(value)
        elif isinstance(value, str) and str in self._types:
            return value
        raise BadValueError(f"{value!r} does not fit the field")


def _types(annotation: Any) -> set[type]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin is Literal:
        return {type(item) for item in get_args(annotation)}
    if origin in (Union, types.UnionType):
        return set().union(*(_types(item) for item in get_args(annotation)))
    return {annotation} if isinstance(annotation, type) else set()


@dataclass(frozen=True, slots=True)
class State:
    """An observation that is built of values: ``meter.reading``, ``elevator.status``."""

    kind: str
    constants: Mapping[str, Scalar]
    fields: tuple[tuple[str, Source, Caster], ...]
    required: frozenset[str]


@dataclass(frozen=True, slots=True)
class Signal:
    """An event that begins and ends; its group is its own number within the map."""

    group: int
    kind: str
    data: Mapping[str, Scalar]
    source: Source
    when: frozenset[int] | None
    first: bool


@dataclass(frozen=True, slots=True)
class SignalCodes:
    """Registers whose codes are events."""

    group: int
    spec: CodesSpec
    table: Table


@dataclass(frozen=True, slots=True)
class Sensor:
    """A number with its quantity and unit."""

    quantity: str
    unit: str
    source: Source


#: What tells one signal from another: its group, and the code where there is one.
Key = tuple[int, int]


@dataclass(slots=True)
class Reading:
    """What one look at a device says."""

    observations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(kind, data) of states and sensors."""
    standing: dict[Key, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """What is active now: (kind, data without ``active``)."""
    known: set[int] = field(default_factory=set)
    """Groups that could be read whole: what is not standing of them is over."""
    idle: dict[Key, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """What is not active and is told once all the same."""
    codes: dict[int, set[int]] = field(default_factory=dict)
    """Group -> raw codes that stand there, those that are no event, too."""
    problems: list[str] = field(default_factory=list)
    """Values that could not be used, each with its register."""
    incomplete: list[str] = field(default_factory=list)
    """States that lack a required field."""


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """A register map as it is for one device."""

    name: str
    states: tuple[State, ...]
    signals: tuple[Signal, ...]
    codes: tuple[SignalCodes, ...]
    sensors: tuple[Sensor, ...]
    outputs: Mapping[str, OutputSpec]
    blocks: list[Block]

    def read(self, image: Image) -> Reading:
        """Return what the registers say; a bad value costs only its own field."""
        found = Reading()
        for state in self.states:
            self._state(state, image, found)
        for sensor in self.sensors:
            value = _value(sensor.source, image, found)
            if value is not None:
                data = {"quantity": sensor.quantity, "value": tidy(value), "unit": sensor.unit}
                found.observations.append(("sensor.reading", data))
        for signal in self.signals:
            _signal(signal, image, found)
        for codes in self.codes:
            _codes(codes, image, found)
        return found

    def _state(self, state: State, image: Image, found: Reading) -> None:
        data: dict[str, Any] = dict(state.constants)
        problems = len(found.problems)
        for name, source, cast in state.fields:
            value = _value(source, image, found)
            if value is None:
                continue
            try:
                data[name] = cast(value)
            except BadValueError as error:
                found.problems.append(f"{source.table} register {source.address}: {error}")
        if missing := state.required - data.keys():
            why = "; ".join(found.problems[problems:])
            text = f"{state.kind} without {', '.join(sorted(missing))}"
            found.incomplete.append(f"{text}: {why}" if why else text)
        if data.keys() > state.constants.keys():
            found.observations.append((state.kind, data))


def _value(source: Source, image: Image, found: Reading) -> Any:
    try:
        return source.decode(image.look)
    except BadValueError as error:
        found.problems.append(str(error))
        return None


def _signal(signal: Signal, image: Image, found: Reading) -> None:
    value = _value(signal.source, image, found)
    if value is None:
        return
    active = bool(value) if signal.when is None else value in signal.when
    found.known.add(signal.group)
    key = (signal.group, 0)
    if active:
        found.standing[key] = (signal.kind, dict(signal.data))
    elif signal.first:
        found.idle[key] = (signal.kind, dict(signal.data))


def _codes(codes: SignalCodes, image: Image, found: Reading) -> None:
    spec = codes.spec
    numbers = [image.look(codes.table, address, 1) for address in spec.addresses]
    present = {words[0] for words in numbers if words} - {spec.none}
    found.codes[codes.group] = present
    if all(numbers):
        found.known.add(codes.group)
    for code in present - set(spec.ignore):
        name = spec.names.get(code, spec.otherwise)
        data = {**spec.data, spec.field: name, "raw_code": spec.written(code)}
        found.standing[codes.group, code] = (spec.kind, data)
