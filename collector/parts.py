"""The topology that holds, whole and by site: read once for all stations of a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from core.contracts.adoption import Merged, merge
from core.contracts.log import Activation
from core.contracts.packing import pack_json, unpack_json
from core.contracts.topology import Topology, check_parts, load, narrowed


@dataclass(frozen=True, slots=True)
class _World:
    adopted: Any
    superseded: list[str]
    problems: dict[str, str]
    topology: Topology


class Parts:
    """What the file says with what was adopted beside it; safe to ask from any thread."""

    def __init__(self, activation: Activation) -> None:
        self.rules = activation.rules
        self._file = pack_json(activation.topology)
        self._lock = threading.Lock()
        self._world: _World | None = None

    def check(self) -> None:
        """Raise ContractError where two of the file's sites cannot be two collectors'."""
        check_parts(load(self._raw()))

    def _raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = unpack_json(self._file)
        return raw

    def _of(self, adopted: Any) -> _World:
        with self._lock:
            world = self._world
            if world is None or world.adopted != adopted:
                merged = merge(self._raw(), adopted)
                world = self._world = _World(
                    adopted, merged.superseded, merged.problems, load(merged.topology)
                )
        return world

    def whole(self, adopted: Any) -> Topology:
        """Return the whole topology."""
        return self._of(adopted).topology

    def part(self, adopted: Any, site: str) -> Merged:
        """Return one site's part of it, as it is activated."""
        world = self._of(adopted)
        topology = narrowed(world.topology, site)
        return Merged(topology, world.superseded, world.problems)
