"""The rule engine over one edge's own observations: a small log that is made as it is folded."""

from __future__ import annotations

from collections.abc import Iterable

from core.contracts.alerts import RuleSide
from core.contracts.codec import Event, make_event
from core.contracts.errors import ContractError
from core.contracts.log import Activation, ActivationEntry, EventEntry, LogEntry, TickEntry
from core.contracts.outputs import AlertOutput, StepKind
from rules.engine import Engine

#: The engine knows an edge's lives by their epochs; here one is like the other.
_EPOCH = "local-rules"
#: What an edge's own rules do not listen to: they would hear themselves.
_UNHEARD = frozenset(
    {"edge.command", "edge.rule", "edge.configuration", "edge.dropped", "edge.online",
     "edge.offline", "edge.hole", "edge.epoch_abandoned", "edge.identity_clash"}
)  # fmt: skip

Step = tuple[RuleSide, StepKind]


class Fold:
    """The engine and its log; every method returns what became of the alerts."""

    def __init__(self, edge: str, site: str) -> None:
        self._edge = edge
        self._site = site
        self.engine = Engine()

    def restore(self, blob: bytes) -> None:
        """Take over an engine's state; raise ContractError when it cannot be used."""
        self.engine = Engine.load(blob)

    def activate(self, activation: Activation, now: int) -> list[Step]:
        """Let a topology and rules hold; what no rule holds any more is over.

        Raises ContractError when they cannot be used; the engine goes on with the old ones.
        """
        before = self.engine.counters.get("refused_activations", 0)
        steps = self._apply(ActivationEntry(self._next, now, activation))
        if self.engine.counters.get("refused_activations", 0) > before:
            raise ContractError(self.engine.problem)
        return steps

    def begin(self, now: int) -> list[Step]:
        """Listen from now on: before, nothing could be heard, so nothing was silent."""
        data = {"epoch": _EPOCH, "backlog": 0, "through": {}}
        return self.hear_own("edge.online", data, now)

    def hear_own(self, kind: str, data: dict[str, object], now: int) -> list[Step]:
        """Fold what is known about the edge itself."""
        event = make_event(kind, device=self._edge, at=now, seen=now, data=data)
        return self._apply(self._entry(event, now))

    def hear(self, event: Event, now: int) -> list[Step]:
        """Fold one observation."""
        if event.kind in _UNHEARD:
            return []
        return self._apply(self._entry(event, now))

    def tick(self, now: int) -> list[Step]:
        """Let time pass."""
        return self._apply(TickEntry(self._next, now))

    def standing(self) -> Iterable[RuleSide]:
        """Return every alert that stands."""
        for active in self.engine.plan.rules.values():
            for cell in active.cells.values():
                if cell.alert is not None:
                    yield cell.alert

    @property
    def _next(self) -> int:
        return self.engine.position + 1

    def _entry(self, event: Event, now: int) -> EventEntry:
        return EventEntry(self._next, now, self._site, self._edge, self._next, event)

    def _apply(self, entry: LogEntry) -> list[Step]:
        outputs = self.engine.apply(entry)
        return [(o.alert, o.step) for o in outputs if isinstance(o, AlertOutput)]
