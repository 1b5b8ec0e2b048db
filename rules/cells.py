"""What the engine remembers of one rule about one key."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import msgspec

from core.contracts.alerts import RuleSide


@dataclass(frozen=True, slots=True)
class Observation:
    """A rule's condition was true in an event: since when, seen when, and in which event."""

    since: int
    at: int
    kind: str
    opening: str
    event: dict[str, Any]
    data: dict[str, Any]
    values: dict[str, Any]
    mask: tuple[bool | None, ...] = ()
    """Which grades' own conditions hold; None where that is unknown."""


class Cell(msgspec.Struct):
    """The state of one rule and key; all times are the device's own (ms).

    ``since`` is when the condition became true (None: it is not), ``fired_at`` when it was
    last seen true, ``due`` when the next timer of the device's time is due and ``due_q`` the
    same in listening time. ``holders`` says which devices make a shared key's condition true.
    """

    key: str
    subject: str
    node: str = ""
    device: str | None = None
    since: int | None = None
    at: int = 0
    fired_at: int = 0
    graded_at: int = 0
    occurrences: int = 0
    kind: str = ""
    opening: str = ""
    event: dict[str, Any] = {}
    data: dict[str, Any] = {}
    values: dict[str, Any] = {}
    grades: list[bool] = []
    window: list[int] = []
    holders: dict[str, int] = {}
    alert: RuleSide | None = None
    due: int | None = None
    due_q: int = 0

    def twin(self) -> Cell:
        """Return an independent copy."""
        other = copy.copy(self)
        other.grades = list(self.grades)
        other.window = list(self.window)
        other.holders = dict(self.holders)
        return other

    def remember(self, seen: Observation) -> None:
        """Keep the event that opens the condition (or, before it fires, its newest values)."""
        self.kind = seen.kind
        self.data = seen.data
        self.values = seen.values
