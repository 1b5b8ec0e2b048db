"""Alerts and their states after ISA-18.2 / IEC 62682, derived from times.

Nothing stores a state: an alert holds when things happened to it, and :func:`state_at` says
what that means at a moment. The rule side writes the first block of fields, the operator side
the second; neither touches the other's.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from core.contracts.colours import Colour

_NAMESPACE = uuid.UUID("6f1f8a3e-5d0c-5b57-9d0a-0e5c3f0b7a11")


class AlertState(StrEnum):
    """The states of ISA-18.2."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RTN_UNACKNOWLEDGED = "rtn_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed_by_design"
    OUT_OF_SERVICE = "out_of_service"


@dataclass(frozen=True, slots=True)
class RuleSide:
    """What the rules know of an alert; all times are event time in ms (UTC).

    ``began_at`` is when the condition began, ``raised_at`` when the rule fired (later by its
    ``for``), ``noticed_at`` when the collector's log let it be known. ``attention`` is the
    revision that last asked for somebody's attention (raised or worsened). ``late`` marks what
    began and ended before it could be known: history, silent.
    """

    id: str
    rule: str
    key: str
    site: str
    node: str
    device: str | None
    colour: Colour
    began_at: int
    raised_at: int
    noticed_at: int
    revision: int
    attention: int
    worsened_at: int | None = None
    cleared_at: int | None = None
    late: bool = False
    title_en: str = ""
    title_zh: str = ""
    advice_en: str = ""
    advice_zh: str = ""
    reason: dict[str, object] = field(default_factory=dict)
    """Why it fired: the condition's text, and the values and times that made it true."""


@dataclass(frozen=True, slots=True)
class OperatorSide:
    """What people decided about an alert; times in ms (UTC)."""

    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    acknowledged_revision: int = 0
    shelved_until: int | None = None
    suppressed: bool = False
    out_of_service: bool = False
    resolved_at: int | None = None


def alert_id(rule: str, key: str, opening: str) -> str:
    """Return the UUID5 of an alert; ``opening`` identifies the event that opened it."""
    return str(uuid.uuid5(_NAMESPACE, f"{rule}\n{key}\n{opening}"))


def state_at(rule: RuleSide, operator: OperatorSide, now: int) -> AlertState:
    """Return an alert's state at ``now`` (ms).

    An acknowledgement counts only if it saw the revision that last asked for attention.
    """
    if operator.out_of_service:
        return AlertState.OUT_OF_SERVICE
    if operator.suppressed:
        return AlertState.SUPPRESSED
    if operator.shelved_until is not None and operator.shelved_until > now:
        return AlertState.SHELVED
    acknowledged = rule.late or (
        operator.acknowledged_at is not None and operator.acknowledged_revision >= rule.attention
    )
    if rule.cleared_at is None:
        return AlertState.ACKNOWLEDGED if acknowledged else AlertState.UNACKNOWLEDGED
    return AlertState.NORMAL if acknowledged else AlertState.RTN_UNACKNOWLEDGED
