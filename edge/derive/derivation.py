"""Derivations: folds that stand between the drivers and the reporter.

A derivation sees the observations of some devices and adds to them what follows: a register
that ran backwards, a person who is trapped, two who came in with one card. It is pure: time is
that of the observations, and of the run's clock where something is due without one. What it
remembers goes into a file of the edge, so that a restart forgets nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.observation import Observation


@dataclass(frozen=True, slots=True)
class Derived:
    """What goes on in place of an observation: itself, perhaps richer, and what follows."""

    observation: Observation
    follows: list[Observation] = field(default_factory=list)


class Derivation(Protocol):
    """One fold.

    The same observation may come twice (after a full journal), and must not count twice.
    """

    @property
    def name(self) -> str:
        """Return its name: the key of what it remembers."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds that it wants to see."""
        ...

    def take(self, seen: Observation) -> Derived:
        """Fold one observation."""
        ...

    def due(self) -> int | None:
        """Return when (ms, run's clock) it wants to be woken without an observation."""
        ...

    def wake(self, now: int) -> list[Observation]:
        """Return what follows from nothing having happened until ``now`` (ms)."""
        ...

    def memory(self) -> Any:
        """Return what it remembers, as plain JSON values."""
        ...

    def remember(self, memory: Any) -> None:
        """Take over what :meth:`memory` returned in an earlier run; nonsense is ignored."""
        ...
