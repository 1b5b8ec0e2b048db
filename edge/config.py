"""The configuration file of an edge: who it is, and its drivers with their devices."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from core.contracts.events import ID_PATTERN
from core.contracts.topology import DeviceFamily
from core.runtime.clock import Clock
from core.runtime.settings import parse, read_yaml
from edge.derive.settings import DeriveSettings
from edge.driver import Driver, DriverContext
from edge.drivers.settings import DriverSettings, Section
from edge.home_assistant.settings import HomeAssistantSettings
from edge.local_rules.settings import LocalRulesSettings
from edge.outbox import JOURNAL_BYTES, LEAST_BYTES
from edge.registry import DRIVERS

Name = Annotated[str, Field(pattern=ID_PATTERN)]


class CommandSettings(Section):
    """What may be asked of this edge from above; switching is allowed device by device."""

    unlock: list[Name] = Field(default_factory=list)
    """Doors that may be unlocked by command."""
    relay_output: list[Name] = Field(default_factory=list)
    """Devices whose outputs may be switched by command."""
    snapshot: bool = True
    report: bool = True
    reload: bool = True

    def permits(self, action: Action, device: str | None) -> str | None:
        """Return why something is not allowed here, None where it is."""
        allowed = getattr(self, action.value)
        if isinstance(allowed, bool):
            return None if allowed else f"the edge's file does not allow {action}"
        if device in allowed:
            return None
        return f"the edge's file does not list {device} under commands.{action}"


class DeviceFacts(Section):
    """What the edge itself has to know of a device beside how to read it."""

    family: DeviceFamily | None = None
    """For local rules; guessed from what it sends where it is left out."""
    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    expect_s: Annotated[float, Field(gt=0, le=604_800)] | None = None
    """Seconds within which it should be heard."""
    limits: dict[str, float] = Field(default_factory=dict)
    """Numbers that rules may use, named with their unit (``power_w``)."""


class _EdgeFile(Section):
    edge: Name
    site: Name
    journal_bytes: Annotated[int, Field(ge=LEAST_BYTES)] = JOURNAL_BYTES
    drivers: Annotated[list[dict[str, Any]], Field(max_length=2_000)]
    commands: CommandSettings = CommandSettings()
    devices: dict[Name, DeviceFacts] = Field(default_factory=dict)
    derive: DeriveSettings = DeriveSettings()
    local_rules: LocalRulesSettings | None = None
    home_assistant: HomeAssistantSettings | None = None


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """A checked configuration; ``base`` is the folder that relative paths in it start from."""

    edge: str
    site: str
    drivers: tuple[DriverSettings, ...]
    base: Path
    commands: CommandSettings = field(default_factory=CommandSettings)
    devices: Mapping[str, DeviceFacts] = field(default_factory=dict)
    derive: DeriveSettings = field(default_factory=DeriveSettings)
    local_rules: LocalRulesSettings | None = None
    home_assistant: HomeAssistantSettings | None = None
    journal_bytes: int = JOURNAL_BYTES
    """What the outbox may take up on the disk."""

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of all devices of the edge."""
        return tuple(device for entry in self.drivers for device in entry.device_ids())


def load(path: Path) -> EdgeConfig:
    """Read an edge's file; raise :class:`SettingsError` that names each bad key."""
    return from_raw(read_yaml(path), str(path), path.resolve().parent)


def from_raw(raw: Any, source: str, base: Path) -> EdgeConfig:
    """Check an already parsed configuration; raise :class:`SettingsError`."""
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: expected a mapping with edge, site and drivers")
    whole = parse(_EdgeFile, raw, source)
    entries = tuple(
        _entry(item, f"{source}: drivers.{index}") for index, item in enumerate(whole.drivers)
    )
    config = EdgeConfig(
        whole.edge,
        whole.site,
        entries,
        base,
        commands=whole.commands,
        devices=whole.devices,
        derive=whole.derive,
        local_rules=whole.local_rules,
        home_assistant=whole.home_assistant,
        journal_bytes=whole.journal_bytes,
    )
    seen: set[str] = set()
    for device in config.device_ids():
        if device in seen:
            raise SettingsError(f"{source}: the device {device} stands twice under drivers")
        seen.add(device)
    _check_named(config, seen, source)
    return config


def _check_named(config: EdgeConfig, known: set[str], source: str) -> None:
    """Refuse sections that name devices which no driver has."""
    named = {
        "commands.unlock": config.commands.unlock,
        "commands.relay_output": config.commands.relay_output,
        "devices": list(config.devices),
        "derive.tailgating": config.derive.device_ids(),
    }
    if config.local_rules is not None:
        outputs = config.local_rules.outputs
        named["local_rules.outputs.device"] = [output.device for output in outputs]
        for output in outputs:
            if output.do == "unlock" and output.device not in config.commands.unlock:
                raise SettingsError(
                    f"{source}: local_rules.outputs: {output.device} is unlocked, but does not "
                    "stand under commands.unlock"
                )
    if config.home_assistant is not None:
        named["home_assistant.devices"] = list(config.home_assistant.devices or ())
    for where, devices in named.items():
        for device in devices:
            if device not in known:
                near = difflib.get_close_matches(device, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"{source}: {where}: no driver has the device {device}{hint}")


def build(config: EdgeConfig, clock: Clock, data: Path) -> list[Driver]:
    """Build the drivers of a configuration; nothing is opened but the files it names.

    ``data`` is the edge's own data folder. Raises :class:`SettingsError`.
    """
    context = context_of(config, clock, data)
    return [build_one(entry, context) for entry in config.drivers]


def context_of(config: EdgeConfig, clock: Clock, data: Path) -> DriverContext:
    """Return what all drivers of an edge are given."""
    return DriverContext(edge=config.edge, clock=clock, data=data, base=config.base)


def build_one(entry: DriverSettings, context: DriverContext) -> Driver:
    """Build the driver of one entry; raises :class:`SettingsError`."""
    return DRIVERS[entry.driver].create(entry, context)


def _entry(raw: dict[str, Any], where: str) -> DriverSettings:
    name = raw.get("driver")
    if not isinstance(name, str) or name not in DRIVERS:
        near = difflib.get_close_matches(str(name), DRIVERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DRIVERS)}"
        raise SettingsError(f"{where}.driver: unknown driver {name!r}; {hint}")
    return parse(DRIVERS[name].settings, raw, where)
