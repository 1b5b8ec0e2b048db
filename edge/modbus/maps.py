"""Register maps: YAML files that say what a device's registers mean.

A map is checked whole before anything is opened, and each mistake is named with its place in
the file, the nearest known word, or what would be accepted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from core.contracts.errors import SettingsError
from core.contracts.events import KINDS
from core.runtime.settings import parse, read_yaml
from edge.drivers.settings import Section
from edge.modbus.blocks import Span, plan
from edge.modbus.fields import (
    CodesSpec,
    EventSpec,
    IdentifySpec,
    OutputSpec,
    Parameter,
    ReadSpec,
    Scalar,
    SensorSpec,
    Source,
)
from edge.modbus.meaning import Caster, DeviceMap, Sensor, Signal, SignalCodes, State
from edge.modbus.numbers import Order
from edge.modbus.questions import BIT_TABLES, Table

_PLACEHOLDER = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")
_INPUT_KEYS = ("kind", "invert", "first")


class MapFile(Section):
    """A whole register map; ``docs/drivers/modbus.md`` explains each key."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    about: Annotated[str, Field(max_length=2_000)] = ""
    table: Table = "holding"
    word_order: Order = "big"
    byte_order: Order = "big"
    gap: Annotated[int, Field(ge=0, le=120)] = 8
    """Registers between two values that are rather read along than asked for apart."""
    most: Annotated[int, Field(ge=1, le=125)] = 100
    """Most registers that the device gives in one answer."""
    reads: list[ReadSpec] = Field(default_factory=list)
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    states: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Kind -> its fields: plain values, or where they are."""
    events: list[EventSpec] = Field(default_factory=list)
    codes: list[CodesSpec] = Field(default_factory=list)
    sensors: list[SensorSpec] = Field(default_factory=list)
    inputs: dict[str, Source] = Field(default_factory=dict)
    """Contacts; what each means stands with the device."""
    outputs: dict[str, OutputSpec] = Field(default_factory=dict)
    identify: IdentifySpec | None = None


def load(
    path: Path,
    *,
    parameters: Mapping[str, Scalar] | None = None,
    inputs: Mapping[str, Mapping[str, Scalar]] | None = None,
    where: str = "",
) -> DeviceMap:
    """Read a map for one device; raise :class:`SettingsError`.

    ``parameters`` and ``inputs`` are what the device's entry, at ``where``, gives.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping with name and states, events …")
    return build(raw, str(path), parameters=parameters, inputs=inputs, where=where)


def build(
    raw: dict[Any, Any],
    source: str,
    *,
    parameters: Mapping[str, Scalar] | None = None,
    inputs: Mapping[str, Mapping[str, Scalar]] | None = None,
    where: str = "",
    filled_in: frozenset[str] = frozenset(),
) -> DeviceMap:
    """Check a map that is already parsed; raise :class:`SettingsError`.

    ``filled_in`` are required fields that the caller knows without a register.
    """
    declared = raw.get("parameters") or {}
    values = _parameters(declared, parameters or {}, source, where)
    whole = {key: _filled(item, values, source) for key, item in raw.items() if key != "parameters"}
    for section in ("inputs", "outputs"):
        if isinstance(whole.get(section), dict):
            whole[section] = {str(key): item for key, item in whole[section].items()}
    found = parse(MapFile, whole, source)
    return _Builder(found, source, filled_in).build(inputs or {}, where)


def read_identification(path: Path) -> tuple[IdentifySpec | None, Table]:
    """Return how a map's device is told, and the map's table; raise :class:`SettingsError`."""
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not raw.get("identify"):
        return None, "holding"
    return parse(IdentifySpec, raw["identify"], f"{path}: identify"), raw.get("table", "holding")


def _declared(raw: Any, source: str) -> dict[str, Parameter]:
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: parameters: expected a mapping of names")
    return {
        str(name): parse(Parameter, item or {}, f"{source}: parameters.{name}")
        for name, item in raw.items()
    }


def _parameters(
    raw: Any, given: Mapping[str, Scalar], source: str, where: str
) -> dict[str, Scalar]:
    declared = _declared(raw, source)
    at = f"{where}: parameters" if where else f"{source}: parameters"
    for name in given:
        if name not in declared:
            raise SettingsError(f"{at}.{name}: unknown; {_hint(name, declared)}")
    values: dict[str, Scalar] = {}
    for name, parameter in declared.items():
        value = given.get(name, parameter.default)
        if value is None:
            about = f" ({parameter.about})" if parameter.about else ""
            raise SettingsError(f"{at}.{name}: missing{about}; the map leaves it to each device")
        if parameter.choices is not None and value not in parameter.choices:
            choices = ", ".join(str(choice) for choice in parameter.choices)
            raise SettingsError(f"{at}.{name}: {value!r} is not one of {choices}")
        values[name] = value
    return values


def _filled(item: Any, values: Mapping[str, Scalar], source: str) -> Any:
    """Return a piece of the map with the placeholders replaced."""
    if isinstance(item, dict):
        return {
            _filled(key, values, source): _filled(value, values, source)
            for key, value in item.items()
        }
    if isinstance(item, list):
        return [_filled(value, values, source) for value in item]
    found = _PLACEHOLDER.match(item) if isinstance(item, str) else None
    if found is None:
        return item
    if found[1] not in values:
        raise SettingsError(f"{source}: {item}: no such parameter; {_hint(found[1], values)}")
    return values[found[1]]


def _hint(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(known)}" if known else "there are none"


class _Builder:
    """Turns a checked file into what the driver works with."""

    def __init__(self, file: MapFile, source: str, filled_in: frozenset[str]) -> None:
        self._file = file
        self._source = source
        self._filled_in = filled_in
        self._group = 0

    def build(self, inputs: Mapping[str, Mapping[str, Scalar]], where: str) -> DeviceMap:
        file = self._file
        states = tuple(self._state(kind, fields) for kind, fields in file.states.items())
        signals = [
            self._signal(spec, f"{self._source}: events.{index}")
            for index, spec in enumerate(file.events)
        ]
        at = f"{where}: inputs" if where else "inputs"
        signals += [self._input(str(name), item, at) for name, item in inputs.items()]
        self._distinct(signals, where or self._source)
        codes = tuple(self._codes(index, spec) for index, spec in enumerate(file.codes))
        sensors = tuple(self._sensor(index, spec) for index, spec in enumerate(file.sensors))
        found = DeviceMap(file.name, states, tuple(signals), codes, sensors, dict(file.outputs), [])
        fixed = [Span(item.table or file.table, item.address, item.count) for item in file.reads]
        needed = [*self._needed(found), *(() if self._needed(found) else self._idle())]
        if not needed and not fixed:
            raise SettingsError(f"{self._source}: nothing to read: give states, events, sensors …")
        found.blocks.extend(plan(needed, fixed=fixed, gap=file.gap, most=file.most))
        return found

    def _needed(self, found: DeviceMap) -> list[Span]:
        sources: list[Source] = [
            *(source for state in found.states for _, source, _ in state.fields),
            *(signal.source for signal in found.signals),
            *(sensor.source for sensor in found.sensors),
        ]
        spans = [Span(*span) for source in sources for span in source.spans()]
        for codes in found.codes:
            spans += [Span(codes.table, address, 1) for address in codes.spec.addresses]
        return spans

    def _idle(self) -> Iterator[Span]:
        """Give what is read to know that a device lives that has only contacts or relays."""
        for source in self._file.inputs.values():
            table = source.table or self._file.table
            yield Span(table, source.address, source.width)
        for output in self._file.outputs.values():
            yield Span(output.table, output.address, 1)

    def _placed(self, source: Source) -> Source:
        file = self._file
        placed = source.placed(file.table, file.word_order, file.byte_order)
        if placed.table in BIT_TABLES and (placed.type or placed.bit is not None):
            raise SettingsError(
                f"{self._source}: {placed.table} {placed.address}: one bit has no type and no bit"
            )
        if placed.invert and not placed.is_bit:
            raise SettingsError(
                f"{self._source}: {placed.table} {placed.address}: invert is for bits: give bit"
            )
        return placed

    def _state(self, kind: str, fields: dict[str, Any]) -> State:
        at = f"{self._source}: states.{kind}"
        model = _model(kind, at)
        constants: dict[str, Scalar] = {}
        sources: list[tuple[str, Source, Caster]] = []
        for name, item in fields.items():
            if name not in model.model_fields:
                raise SettingsError(
                    f"{at}.{name}: unknown field; {_hint(name, model.model_fields)}"
                )
            if isinstance(item, dict):
                source = self._placed(parse(Source, item, f"{at}.{name}"))
                sources.append((name, source, Caster(model.model_fields[name])))
            else:
                constants[name] = item
        required = {n for n, field in model.model_fields.items() if field.is_required()}
        required -= self._filled_in
        if missing := required - fields.keys():
            raise SettingsError(f"{at}: fields missing: {', '.join(sorted(missing))}")
        if not sources:
            raise SettingsError(f"{at}: no field comes from a register")
        return State(kind, constants, tuple(sources), frozenset(required))

    def _signal(self, spec: EventSpec, at: str) -> Signal:
        _check(spec.kind, {**spec.data, "active": True}, at)
        self._group += 1
        when = None if spec.when is None else frozenset(spec.when)
        source = self._placed(spec.value)
        return Signal(self._group, spec.kind, dict(spec.data), source, when, spec.first)

    def _sensor(self, index: int, spec: SensorSpec) -> Sensor:
        for value in [*(spec.value.enum or {}).values(), spec.value.otherwise]:
            if isinstance(value, str):
                raise SettingsError(
                    f"{self._source}: sensors.{index}.value: {value!r} is no number, and a "
                    "sensor's reading is one"
                )
        return Sensor(spec.quantity, spec.unit, self._placed(spec.value))

    def _input(self, name: str, given: Mapping[str, Scalar], at: str) -> Signal:
        known = self._file.inputs
        if name not in known:
            raise SettingsError(f"{at}.{name}: {self._file.name} has no such input; "
                                f"{_hint(name, known)}")  # fmt: skip
        if not isinstance(given.get("kind"), str):
            raise SettingsError(f"{at}.{name}.kind: missing; for example fire.alarm, fire.fault")
        source = known[name]
        if given.get("invert"):
            source = source.model_copy(update={"invert": not source.invert})
        data = {key: value for key, value in given.items() if key not in _INPUT_KEYS}
        kind = str(given["kind"])
        _check(kind, {**data, "active": True}, f"{at}.{name}")
        self._group += 1
        first = bool(given.get("first", False))
        return Signal(self._group, kind, data, self._placed(source), None, first)

    def _codes(self, index: int, spec: CodesSpec) -> SignalCodes:
        at = f"{self._source}: codes.{index}"
        model = _model(spec.kind, at)
        if spec.field not in model.model_fields:
            hint = _hint(spec.field, model.model_fields)
            raise SettingsError(f"{at}.field: {spec.kind} has no {spec.field}; {hint}")
        for code, name in [*spec.names.items(), ("otherwise", spec.otherwise)]:
            data = {**spec.data, spec.field: name, "raw_code": "1", "active": True}
            _check(spec.kind, data, f"{at}.names.{code}")
        self._group += 1
        return SignalCodes(self._group, spec, spec.table or self._file.table)

    def _distinct(self, signals: list[Signal], where: str) -> None:
        seen: dict[tuple[str, str], Signal] = {}
        for signal in signals:
            key = (signal.kind, repr(sorted(signal.data.items())))
            if key in seen:
                raise SettingsError(
                    f"{where}: {signal.source.table} {seen[key].source.address} and "
                    f"{signal.source.address} both tell {signal.kind} with the same data; tell "
                    "them apart, for example by point"
                )
            seen[key] = signal


def _model(kind: str, at: str) -> Any:
    if kind not in KINDS:
        raise SettingsError(f"{at}: unknown kind; {_hint(kind, KINDS)}")
    return KINDS[kind].data


def _check(kind: str, data: Mapping[str, Any], at: str) -> None:
    """Check that an event can be told so; raise :class:`SettingsError` that names the key."""
    model = _model(kind, at)
    if "active" not in model.model_fields:
        raise SettingsError(f"{at}: {kind} does not begin and end: it has no field active")
    if kind == "elevator.fault" and "raw_code" not in data:
        data = {**data, "raw_code": "1"}
    try:
        model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SettingsError(
                f"{at}.{name}: unknown; {_hint(name, model.model_fields)}"
            ) from None
        raise SettingsError(f"{at}.{name}: {first['msg']} (in {kind})") from None
