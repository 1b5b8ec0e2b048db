"""What a scan finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """One device that answered; ``entry`` is what a configuration could begin with."""

    protocol: str
    """The driver's name in the registry."""
    address: str
    """Where it answered: ``192.168.10.20:502 unit 3``, ``000012345678 at /dev/ttyS1``."""
    what: str
    """What it says about itself, in the protocol's own words."""
    entry: Mapping[str, Any] = field(default_factory=dict)


def entries(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Return configuration entries; what answered on one line is one entry with all its devices.

    Two entries of one line would be two drivers that talk at once where one can be heard.
    """
    lines: dict[str, dict[str, Any]] = {}
    for each in found:
        entry = {"driver": each.protocol, **each.entry}
        line = repr({name: value for name, value in entry.items() if not isinstance(value, list)})
        known = lines.setdefault(line, {})
        for name, value in entry.items():
            known[name] = [*known.get(name, []), *value] if isinstance(value, list) else value
    return list(lines.values())
