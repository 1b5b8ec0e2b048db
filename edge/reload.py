"""Building an edge from its file, anew or beside the one that runs.

Everything that can fail is built first. Drivers whose entry did not change are taken over as
they are: they do not even notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.commands import Action
from core.contracts.errors import SettingsError
from core.runtime.clock import Clock
from edge import config as files
from edge.config import EdgeConfig
from edge.derive import builder as derive
from edge.derive.derivation import Derivation
from edge.driver import Driver, DriverContext
from edge.local_rules.service import Prepared, prepare

_MOST_ERROR = 1_000


@dataclass(frozen=True, slots=True)
class Built:
    """A configuration with everything that was built from it; ``drivers`` stand as its entries."""

    config: EdgeConfig
    context: DriverContext
    drivers: Sequence[Driver]
    derivations: Sequence[Derivation]
    local: Prepared


def load(file: Path) -> EdgeConfig:
    """Read an edge's file; raise :class:`SettingsError`."""
    return files.load(file)


def check_same_edge(before: EdgeConfig, after: EdgeConfig) -> None:
    """Refuse a file that would make another edge of a running one."""
    for name in ("edge", "site"):
        was, wanted = getattr(before, name), getattr(after, name)
        if was != wanted:
            raise SettingsError(
                f"{name}: a running edge stays {was}; stop it and start {wanted} instead"
            )


def build(config: EdgeConfig, clock: Clock, folder: Path, before: Built | None = None) -> Built:
    """Build drivers, derivations and rules; raise :class:`SettingsError`.

    ``before`` is what runs now; its drivers are used again where their entries are the same.
    """
    local = prepare(config)
    derivations = derive.build(config)
    context = before.context if before else files.context_of(config, clock, folder)
    known = list(zip(before.config.drivers, before.drivers, strict=True)) if before else []
    drivers: list[Driver] = []
    for entry in config.drivers:
        match = next((pair for pair in known if pair[0] == entry), None)
        if match is not None:
            known.remove(match)
            drivers.append(match[1])
        else:
            drivers.append(files.build_one(entry, context))
    _check_outputs(config, drivers)
    return Built(config, context, drivers, derivations, local)


def _check_outputs(config: EdgeConfig, drivers: Sequence[Driver]) -> None:
    """Refuse outputs of local rules, and permissions, for what no driver can do."""
    able = {device: set(d.actions.get(device, ())) for d in drivers for device in d.devices}
    wanted = [("commands.unlock", device, Action.UNLOCK) for device in config.commands.unlock] + [
        ("commands.relay_output", device, Action.RELAY_OUTPUT)
        for device in config.commands.relay_output
    ]
    if config.local_rules is not None:
        wanted += [
            ("local_rules.outputs", output.device, Action(output.do))
            for output in config.local_rules.outputs
        ]
    for where, device, action in wanted:
        if action not in able.get(device, set()):
            raise SettingsError(f"{where}: {device} cannot do {action}")


def difference(before: Built, after: Built) -> dict[str, int]:
    """Return how many drivers were kept, begun and ended."""
    old, new = {id(d) for d in before.drivers}, {id(d) for d in after.drivers}
    return {"kept": len(old & new), "begun": len(new - old), "ended": len(old - new)}


def outcome(word: str, config: EdgeConfig, file: Path, error: str) -> dict[str, Any]:
    """Return the data of ``edge.configuration``; the digest is that of the file as it is now."""
    try:
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        digest = "unreadable"
    data: dict[str, Any] = {
        "outcome": word,
        "digest": digest,
        "drivers": len(config.drivers),
        "devices": len(config.device_ids()),
    }
    return data | ({"error": error[:_MOST_ERROR]} if error else {})
