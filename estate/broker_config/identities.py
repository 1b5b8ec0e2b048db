"""Who speaks to the broker, and what each may say and hear.

An identity's name is the common name of its certificate, and thereby its user name at the broker.
Edges and devices are named by their ids; all others have a colon in their name, which no id can
have, so that no edge can be called as a part of the system is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from core.contracts import topics
from core.contracts.codec import whole
from core.contracts.errors import SettingsError
from core.contracts.events import ID_PATTERN
from core.contracts.topology import Topology

_ID = re.compile(whole(ID_PATTERN))
#: Words that stand in a topic where an edge's name would.
_RESERVED = frozenset({"alert", topics.CANARY.site})


class Role(StrEnum):
    """What an identity is for."""

    COLLECTOR = "collector"
    API = "api"
    OPERATOR = "operator"
    CANARY = "canary"
    EDGE = "edge"
    DEVICE = "device"
    OBSERVER = "observer"
    SIMULATOR = "simulator"


#: The parts of the system itself, which have a listener and an authority of their own.
HOUSE = frozenset({Role.COLLECTOR, Role.API, Role.OPERATOR})
Access = Literal["read", "write"]


class Right(NamedTuple):
    """One line of the access list."""

    access: Access
    topic: str


class Identity(BaseModel):
    """One holder of a certificate; ``site`` is set for edges and devices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    id: str
    site: str | None = None

    @property
    def name(self) -> str:
        """Return the common name: the broker's user name."""
        if self.role in (Role.EDGE, Role.DEVICE):
            return self.id
        return f"{'part' if self.role in HOUSE else self.role.value}:{self.id}"

    @property
    def folder(self) -> str:
        """Return where its files are, relative to the whole."""
        if self.role is Role.CANARY:
            return "parts/collector"
        return f"parts/{self.id}" if self.role in HOUSE else f"{self.role.value}s/{self.id}"

    @property
    def files(self) -> tuple[str, str]:
        """Return the names of its certificate's and its key's file there."""
        return ("canary.pem", "canary.key") if self.role is Role.CANARY else ("cert.pem", "key.pem")

    @property
    def is_house(self) -> bool:
        """Tell whether it is a part of the system itself."""
        return self.role in HOUSE


#: Always there.
PARTS = (
    Identity(role=Role.COLLECTOR, id="collector"),
    Identity(role=Role.API, id="api"),
    Identity(role=Role.OPERATOR, id="operator"),
    Identity(role=Role.CANARY, id="canary"),
)


def rights(identity: Identity) -> list[Right]:
    """Return all that an identity may do; whatever is not listed is forbidden."""
    return [*_writes(identity), *_reads(identity)]


def _writes(identity: Identity) -> Iterator[Right]:
    match identity.role:
        case Role.COLLECTOR:
            found = [topics.ALL_RECEIPTS, topics.COLLECTOR_STATUS, topics.ALL_ALERTS,
                     topics.ALL_COLOURS]  # fmt: skip
        case Role.API | Role.OPERATOR:
            found = [topics.ALL_COMMANDS]
        case Role.EDGE | Role.CANARY:
            own = _own(identity)
            found = [topics.batch(*own), topics.status(*own), topics.reply(*own)]
        case Role.DEVICE:
            found = [topics.plain_event(*_own(identity))]
        case Role.SIMULATOR:
            found = [topics.ALL_BATCHES, topics.ALL_STATUS, topics.ALL_EVENTS]
        case Role.OBSERVER:
            found = []
    return (Right("write", topic) for topic in found)


def _reads(identity: Identity) -> Iterator[Right]:
    match identity.role:
        case Role.COLLECTOR:
            found = [topics.ALL_BATCHES, topics.ALL_STATUS, topics.ALL_EVENTS,
                     topics.COLLECTOR_STATUS]  # fmt: skip
        case Role.API:
            found = [topics.ALL_ALERTS, topics.ALL_COLOURS, topics.ALL_REPLIES,
                     topics.COLLECTOR_STATUS]  # fmt: skip
        case Role.OPERATOR:
            found = [topics.ALL_REPLIES, topics.COLLECTOR_STATUS]
        case Role.EDGE | Role.CANARY:
            own = _own(identity)
            found = [topics.receipt(*own), topics.command(*own), topics.COLLECTOR_STATUS]
        case Role.DEVICE:
            found = []
        case Role.SIMULATOR:
            found = [topics.ALL_RECEIPTS, topics.COLLECTOR_STATUS]
        case Role.OBSERVER:
            found = [topics.ALL_ALERTS, topics.ALL_COLOURS, topics.COLLECTOR_STATUS]
    return (Right("read", topic) for topic in found)


def _own(identity: Identity) -> tuple[str, str]:
    """Return site and sender; the canary has those of an edge that does not exist."""
    if identity.role is Role.CANARY:
        return topics.CANARY.site, topics.CANARY.sender
    assert identity.site is not None  # noqa: S101  (see `placed`)
    return identity.site, identity.id


def placed(role: Role, text: str, option: str) -> Identity:
    """Return the edge or device of an option's ``site/id``; raise :class:`SettingsError`."""
    site, slash, sender = text.partition("/")
    if not slash:
        raise SettingsError(f"{option} {text!r}: write site/id, for example jinxiu/gw-7")
    return Identity(role=role, id=checked(sender, option), site=checked(site, option))


def free(role: Role, text: str, option: str) -> Identity:
    """Return an observer or a simulator; raise :class:`SettingsError`."""
    return Identity(role=role, id=checked(text, option))


def checked(text: str, option: str) -> str:
    """Return an id that cannot widen a topic; raise :class:`SettingsError` for any other.

    The access list is lines of topics: a ``+``, ``#``, ``/``, space or line break in an id would
    change what a line allows.
    """
    if not _ID.match(text):
        raise SettingsError(
            f"{option}: {text!r} is no id; use 1 to 64 of A-Z a-z 0-9 _ . - and begin with a "
            "letter or digit"
        )
    if text in _RESERVED:
        raise SettingsError(f"{option}: {text} has a meaning in topics; choose another id")
    return text


def of_edge_file(raw: Any, source: str) -> Identity:
    """Return the edge of an edge's parsed file; raise :class:`SettingsError`."""
    edge, site = (raw.get(name) if isinstance(raw, dict) else None for name in ("edge", "site"))
    if not isinstance(edge, str) or not isinstance(site, str):
        raise SettingsError(f"{source}: an edge's file names its edge and its site")
    return Identity(
        role=Role.EDGE,
        id=checked(edge, f"{source}: edge"),
        site=checked(site, f"{source}: site"),
    )


def of_topology(tree: Topology) -> list[Identity]:
    """Return the edges of a topology, and its devices that speak for themselves."""
    found = [
        Identity(
            role=Role.EDGE,
            id=checked(edge.id, f"topology: edges.{edge.id}"),
            site=checked(edge.site, f"topology: edges.{edge.id}.site"),
        )
        for edge in tree.edges
    ]
    for device in tree.devices:
        site = tree.site_of(device.node)
        if device.edge is None and site is not None:
            found.append(
                Identity(
                    role=Role.DEVICE,
                    id=checked(device.id, f"topology: devices.{device.id}"),
                    site=checked(site, f"topology: devices.{device.id}.node"),
                )
            )
    return found


def merged(*sources: Iterable[Identity]) -> dict[str, Identity]:
    """Return the identities by name; raise :class:`SettingsError` where two share one."""
    found: dict[str, Identity] = {}
    for source in sources:
        for identity in source:
            known = found.setdefault(identity.name, identity)
            if known != identity:
                raise SettingsError(
                    f"{identity.id} is the {known.role} of {known.site} and the {identity.role} "
                    f"of {identity.site}; an id belongs to one only: rename one of them, or "
                    f"take an earlier --edge or --device back with --forget {identity.name}"
                )
    return found
