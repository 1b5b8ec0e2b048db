"""What the live stream's events carry; ``alert`` carries an :class:`~..alerts.schemas.Alert`."""

from __future__ import annotations

from pydantic import BaseModel

from core.contracts.colours import Colour
from core.contracts.outputs import Cause, Presence
from dashboard_api.alerts.schemas import Alert
from dashboard_api.schemas import Ms, Schema, example
from dashboard_api.system.schemas import Process


class LiveHello(Schema):
    """`hello`: where the stream begins; first of all events."""

    model_config = example({"seq": 41, "time": 1_763_000_000_000, "speed": 1.0})

    seq: int
    """The client has everything up to this number; what follows lies above it."""
    time: Ms
    """The run's time."""
    speed: float
    """How fast the run's time passes."""


class LiveReset(Schema):
    """`reset`: what was missed is no longer kept; load everything anew."""

    model_config = example({"seq": 90_210})

    seq: int
    """Where the stream goes on."""


class LiveColour(Schema):
    """`colour`: a node's colour or coverage changed."""

    node: str
    at: Ms
    colour: Colour
    alert_colour: Colour
    heard: int
    total: int


class LivePresence(Schema):
    """`presence`: a device's presence changed, its cause or its learned interval."""

    device: str
    at: Ms
    """When the presence became what it is: the device's `presence_since`."""
    presence: Presence
    last_heard: Ms | None
    """As of this change: one that is online is heard later, and nobody is told each time."""
    cause: Cause | None


class LiveEdge(Schema):
    """`edge`: an edge went online or offline, or has drained."""

    edge: str
    site: str
    at: Ms
    online: bool
    drained: bool
    epoch: str
    since: Ms
    backlog: int | None


class LiveTopology(Schema):
    """`topology`: another tree holds from now on; load it."""

    at: Ms


class LiveStandstill(Schema):
    """`standstill`: other sites' rules stand still than before; load tree and devices."""

    sites: dict[str, Ms]
    """Each of them with when its rules last moved."""


class NewestLetter(Schema):
    """The newest of the dead letters that were added."""

    id: str
    source: str
    reason: str


class LiveDeadLetter(Schema):
    """`deadletter`: something was refused."""

    added: int
    total: int
    newest: NewestLetter


#: The model of each event's data.
EVENTS: dict[str, type[BaseModel]] = {
    "hello": LiveHello,
    "reset": LiveReset,
    "alert": Alert,
    "colour": LiveColour,
    "presence": LivePresence,
    "edge": LiveEdge,
    "process": Process,
    "topology": LiveTopology,
    "deadletter": LiveDeadLetter,
    "standstill": LiveStandstill,
}
