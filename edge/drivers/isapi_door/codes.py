"""ISAPI access controller codes, keyed on (major, minor), in our words.

Minors repeat between majors, so neither means anything alone. Source: the event types that
public ISAPI clients share; a code that is not here is counted, never fatal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ALARM, EXCEPTION, OPERATION, EVENT = 1, 2, 3, 5


@dataclass(frozen=True, slots=True)
class Meaning:
    """The kind that a code becomes, and the data that follows from the code alone.

    ``releases``: the door may open after this without having been forced.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    releases: bool = False


def _granted(credential: str) -> Meaning:
    return Meaning("access.granted", {"credential": credential}, releases=True)


def _denied(reason: str, credential: str | None = None) -> Meaning:
    data = {"reason": reason}
    return Meaning(
        "access.denied", data if credential is None else data | {"credential": credential}
    )


MEANINGS: Mapping[tuple[int, int], Meaning] = MappingProxyType(
    {
        (ALARM, 0x40A): Meaning("access.duress"),
        (ALARM, 0x40C): _denied("too_many_attempts"),
        # The supervised line of the fire input is short-circuited, cut, or whole again.
        (ALARM, 0x415): Meaning("fire.fault", {"active": True}),
        (ALARM, 0x416): Meaning("fire.fault", {"active": True}),
        (ALARM, 0x417): Meaning("fire.fault", {"active": False}),
        (ALARM, 0x418): Meaning("access.fire_release", {"active": True}, releases=True),
        (OPERATION, 0x400): _granted("remote"),
        (EVENT, 0x01): _granted("card"),
        (EVENT, 0x06): _denied("no_permission"),
        (EVENT, 0x07): _denied("wrong_time"),
        (EVENT, 0x08): _denied("expired"),
        (EVENT, 0x09): _denied("unknown_credential"),
        (EVENT, 0x0A): _denied("anti_passback"),
        (EVENT, 0x0B): _denied("interlock"),
        (EVENT, 0x17): Meaning("access.exit_button", {"credential": "button"}, releases=True),
        (EVENT, 0x19): Meaning("access.door", {"open": True}),
        (EVENT, 0x1A): Meaning("access.door", {"open": False}),
        (EVENT, 0x1B): Meaning("access.forced"),
        (EVENT, 0x1C): Meaning("access.held_open"),
        (EVENT, 0x26): _granted("fingerprint"),
        (EVENT, 0x27): _denied("no_match", "fingerprint"),
        (EVENT, 0x34): Meaning("access.fire_release", {"active": True}, releases=True),
        (EVENT, 0x35): Meaning("access.fire_release", {"active": False}),
        (EVENT, 0x4B): _granted("face"),
        (EVENT, 0x4C): _denied("no_match", "face"),
        (EVENT, 0x68): _denied("liveness", "face"),
        (EVENT, 0x71): Meaning("access.blacklisted"),
    }
)

#: Codes that are understood and have no event of their own: tamper contacts and the emergency
#: button (no kind for them yet), power and network of the controller (its health tells), lock
#: and unlock (the door's own open and closed tell), operations at the controller.
WITHOUT_EVENT = frozenset(
    {(ALARM, minor) for minor in (0x404, 0x405, 0x406, 0x407, 0x41C)}
    | {(EXCEPTION, minor) for minor in (0x27, 0x400, 0x401, 0x405, 0x406, 0x409, 0x40A)}
    | {(OPERATION, minor) for minor in (0x401, 0x402, 0x403)}
    | {(EVENT, minor) for minor in (0x15, 0x16)}
)
