"""The configuration file of an edge: who it is, and its drivers with their devices."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from core.contracts.errors import SettingsError
from core.contracts.events import ID_PATTERN
from core.runtime.clock import Clock
from core.runtime.settings import parse, read_yaml
from edge.driver import Driver, DriverContext
from edge.drivers.settings import DriverSettings, Section
from edge.registry import DRIVERS

Name = Annotated[str, Field(pattern=ID_PATTERN)]


class _EdgeFile(Section):
    edge: Name
    site: Name
    drivers: Annotated[list[dict[str, Any]], Field(max_length=2_000)]


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """A checked configuration; ``base`` is the folder that relative paths in it start from."""

    edge: str
    site: str
    drivers: tuple[DriverSettings, ...]
    base: Path

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
    config = EdgeConfig(whole.edge, whole.site, entries, base)
    seen: set[str] = set()
    for device in config.device_ids():
        if device in seen:
            raise SettingsError(f"{source}: the device {device} stands twice under drivers")
        seen.add(device)
    return config


def build(config: EdgeConfig, clock: Clock, data: Path) -> list[Driver]:
    """Build the drivers of a configuration; nothing is opened but the files it names.

    ``data`` is the edge's own data folder. Raises :class:`SettingsError`.
    """
    context = DriverContext(edge=config.edge, clock=clock, data=data, base=config.base)
    return [DRIVERS[entry.driver].create(entry, context) for entry in config.drivers]


def _entry(raw: dict[str, Any], where: str) -> DriverSettings:
    name = raw.get("driver")
    if not isinstance(name, str) or name not in DRIVERS:
        near = difflib.get_close_matches(str(name), DRIVERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DRIVERS)}"
        raise SettingsError(f"{where}.driver: unknown driver {name!r}; {hint}")
    return parse(DRIVERS[name].settings, raw, where)
