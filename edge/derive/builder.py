"""Which derivations an edge runs, in their order."""

from __future__ import annotations

from edge.config import EdgeConfig
from edge.derive.derivation import Derivation


def build(config: EdgeConfig) -> list[Derivation]:
    """Return the derivations of an edge; each sees what the one before it passed on."""
    del config
    return []
