"""What the rule engine says: the outputs of its fold, in the order in which they came about.

Each is an upsert by a deterministic id, so that a replay writes the same rows again.
All times are ms since the Unix epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.contracts.alerts import RuleSide
from core.contracts.codec import Event
from core.contracts.colours import Colour
from core.contracts.topology import Topology


class Presence(StrEnum):
    """Whether a device is heard within its expected interval."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"


class Cause(StrEnum):
    """Why a device is not heard: the highest broken link on its way.

    The rules find all but the last, which nobody writes down: a collector that does not run
    folds nothing. The API puts it over what the records last held.
    """

    DEVICE = "device"
    """It does not answer its edge, or has fallen silent."""
    GATEWAY = "gateway"
    """What it hangs on cannot be reached: a gateway, a bus, a network."""
    EDGE = "edge"
    """Its edge is away."""
    BROKER = "broker"
    """The collector cannot reach the broker, and so hears no edge at all."""
    COLLECTOR = "collector"
    """The collector of its site does not fold: nobody knows how the device is now."""


class StepKind(StrEnum):
    """What the rule side did to an alert in one revision."""

    RAISED = "raised"
    WORSENED = "worsened"
    EASED = "eased"
    CORRECTED = "corrected"
    CLEARED = "cleared"
    HISTORY = "history"
    """Began and ended while its edge was away: discovered late, silent."""


@dataclass(frozen=True, slots=True)
class AlertOutput:
    """An alert's whole rule side after one change; (alert.id, alert.revision) is unique."""

    alert: RuleSide
    step: StepKind
    at: int
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColourOutput:
    """A node's colour or coverage changed; ``heard`` of ``total`` devices are heard."""

    node: str
    at: int
    colour: Colour
    alert_colour: Colour
    """The worst standing alert's colour, which a lack of coverage may hide behind grey."""
    heard: int
    total: int


@dataclass(frozen=True, slots=True)
class PresenceOutput:
    """A device's presence changed, or the interval that was learned of it."""

    device: str
    at: int
    presence: Presence
    last_heard: int | None
    cause: Cause | None
    learned_ms: int | None = None
    """Within which it is to be heard, as learned; None where one is configured, or not known."""


@dataclass(frozen=True, slots=True)
class EdgeOutput:
    """An edge went online or offline, or has drained its backlog."""

    edge: str
    site: str
    at: int
    online: bool
    drained: bool
    epoch: str
    backlog: int | None = None
    """Batches that waited in its outbox when it came online, where that is known."""


@dataclass(frozen=True, slots=True)
class LossOutput:
    """A loss that was declared; ``events`` is None where nobody knows how many.

    ``log`` names what ``pos`` counts in, where that is not the log that is folded.
    """

    pos: int
    index: int
    at: int
    site: str
    edge: str
    epoch: str
    lane: str
    first_seq: int
    last_seq: int
    events: int | None
    reason: str
    log: str = ""


@dataclass(frozen=True, slots=True)
class TopologyOutput:
    """A topology holds from here on."""

    at: int
    topology: Topology


@dataclass(frozen=True, slots=True)
class UnknownOutput:
    """A device or an edge that the topology does not name has spoken, once.

    Or a device that it names has, by another edge or at another site than are its own. ``edge`` is
    who brought it, None for a plain event; ``edge_known`` whether the topology
    names that one. ``at`` is when it was heard.
    """

    id: str
    at: int
    site: str
    edge: str | None
    edge_known: bool
    event: Event

    @property
    def is_edge(self) -> bool:
        """Tell whether an edge spoke of itself."""
        return self.edge == self.id


Output = (
    AlertOutput
    | ColourOutput
    | PresenceOutput
    | EdgeOutput
    | LossOutput
    | TopologyOutput
    | UnknownOutput
)
