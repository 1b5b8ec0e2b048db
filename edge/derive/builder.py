"""Which derivations an edge runs, in their order."""

from __future__ import annotations

from edge.config import EdgeConfig
from edge.derive.derivation import Derivation
from edge.derive.lifts import Entrapment, LiftCounters
from edge.derive.registers import Registers, capacities_of
from edge.derive.tailgating import Tailgating


def build(config: EdgeConfig) -> list[Derivation]:
    """Return the derivations of an edge; each sees what the one before it passed on."""
    return [
        Registers(capacities_of(config.drivers)),
        LiftCounters(),
        Entrapment(),
        Tailgating(config.derive.tailgating),
    ]
