"""Which derivations an edge runs, in their order."""

from __future__ import annotations

from edge.config import EdgeConfig
from edge.derive.derivation import Derivation
from edge.derive.lifts import Entrapment, LiftCounters
from edge.derive.registers import Registers, capacities_of
from edge.derive.tailgating import Tailgating


def build(config: EdgeConfig) -> list[Derivation]:
    """Return the derivations of an edge; each sees what the one before it passed on."""
    trapped = config.derive.entrapment
    found: list[Derivation] = [Registers(capacities_of(config.drivers)), LiftCounters()]
    if trapped.enabled:
        found.append(
            Entrapment(after_s=trapped.after_s, fresh_s=trapped.fresh_s, empty_s=trapped.empty_s)
        )
    found.append(Tailgating(config.derive.tailgating))
    return found
