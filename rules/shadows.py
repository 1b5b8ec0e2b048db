"""What the backlog's side of one (rule, key) holds until it is merged with the live side."""

from __future__ import annotations

import msgspec

from core.contracts.alerts import RuleSide
from core.contracts.outputs import StepKind
from rules.cells import Cell, Observation


class Shadow(msgspec.Struct):
    """The backlog's side of one split (rule, key).

    ``before`` is the alert that stood when the outage began; ``ended`` what the backlog saw
    ending. ``touched`` says that the live side heard of it since, ``confirmed`` what it heard
    last if that was true. ``false_at`` is when the live side first heard that it was over: there
    ends what the backlog leaves open, also if it has begun again since. ``opened`` is what the
    live side heard first, if that was true, and ``cleared`` the alert that it cleared first.

    Counts have more: ``window`` is what both sides started with, ``first`` what the live side
    counted first (as many as may belong to an alert that began in the backlog), ``over_at``
    when it was last over there, and ``rang`` is the alert that the live side raised first.

    After a second cut a backlog goes on that is older than what was told live between the two.
    Such events are in ``past``, a cell of their own: they end nothing that is known of ``came``,
    the device's time to which the shadow's own cell had come when it was made.
    """

    subject: str
    cell: Cell
    before: str | None = None
    ended: list[RuleSide] = []
    touched: bool = False
    confirmed: Observation | None = None
    false_at: int | None = None
    opened: Observation | None = None
    cleared: RuleSide | None = None
    window: list[int] = []
    first: list[Observation] = []
    over_at: int | None = None
    rang: str | None = None
    past: Cell | None = None
    came: int = 0


class ShadowSink:
    """Collects what ends in a backlog; nothing of it is published yet."""

    def __init__(self, shadow: Shadow, noticed: int) -> None:
        self.noticed = noticed
        self._shadow = shadow

    def publish(self, alert: RuleSide, step: StepKind, _at: int) -> None:
        """Keep an alert that ended."""
        if step is StepKind.CLEARED:
            self._shadow.ended.append(alert)
