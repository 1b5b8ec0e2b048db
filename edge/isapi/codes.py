"""ISAPI access controller codes, keyed on (major, minor), in our words.

Minors repeat between majors, so neither means anything alone. Source: the event types that
public ISAPI clients share, and the constants of the vendor's published headers; a code that is
not here is counted, never fatal. Lift controllers use the same table, with floors for doors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

ALARM, EXCEPTION, OPERATION, EVENT = 1, 2, 3, 5


class Scope(Enum):
    """Which of a controller's devices an event is about."""

    DOOR = auto()
    """The door of ``doorNo``; without one, the first."""
    EVERY_DOOR = auto()
    """The door of ``doorNo``; without one, all of them."""
    CONTROLLER = auto()
    """The controller itself."""
    FIRE = auto()
    """The fire panel that is wired to the controller."""
    INPUT = auto()
    """Whatever is wired to the alarm input of ``alarmInNo`` or ``caseSensorNo``."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The kind that a code becomes (empty: none), and the data that follows from the code alone.

    ``releases``: the door may open after this without having been forced. ``stays_open`` says
    that from now on it may stand unlocked (or no longer).
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope = Scope.DOOR
    releases: bool = False
    stays_open: bool | None = None


def _granted(credential: str | None) -> Meaning:
    data = {} if credential is None else {"credential": credential}
    return Meaning("access.granted", data, releases=True)


def _denied(reason: str, credential: str | None = None) -> Meaning:
    data = {"reason": reason}
    return Meaning(
        "access.denied", data if credential is None else data | {"credential": credential}
    )


def _tamper(part: str, *, active: bool) -> Meaning:
    return Meaning("device.tamper", {"active": active, "part": part}, Scope.CONTROLLER)


def _fault(fault: str, part: str | None, *, active: bool) -> Meaning:
    data: dict[str, Any] = {"fault": fault, "active": active}
    return Meaning("device.fault", data if part is None else data | {"part": part},
                   Scope.CONTROLLER)  # fmt: skip


def _input(state: str) -> Meaning:
    return Meaning("input", {"state": state}, Scope.INPUT)


def _pairs(make: Any, entries: Mapping[tuple[int, int], tuple[Any, ...]]) -> dict[int, Meaning]:
    """Return the meanings of minors that come in pairs: begun, and over."""
    found: dict[int, Meaning] = {}
    for (begun, over), words in entries.items():
        found[begun] = make(*words, active=True)
        if over:
            found[over] = make(*words, active=False)
    return found


_TAMPERS = _pairs(
    _tamper,
    {
        (0x404, 0x405): ("controller",), (0x406, 0x407): ("reader",),
        (0x40F, 0x410): ("other",), (0x41E, 0x41F): ("controller",),
        (0x422, 0x423): ("controller",),
    },
)  # fmt: skip
_FAULTS = _pairs(
    _fault,
    {
        (0x27, 0x407): ("network", None), (0x3A, 0x3B): ("other", "rs485"),
        (0x401, 0x400): ("mains_off", "controller"), (0x403, 0x404): ("battery_low", None),
        (0x405, 0x406): ("mains_off", None), (0x408, 0): ("storage_error", "flash"),
        (0x409, 0x40A): ("reader_offline", None), (0x40D, 0x40E): ("other", "lane_controller"),
        (0x40F, 0x410): ("other", "security_module"), (0x411, 0x412): ("battery_low", None),
        (0x413, 0x414): ("network", "local_controller"),
        (0x417, 0x418): ("other", "local_controller"), (0x41C, 0x41B): ("other", "sub_controller"),
        (0x41F, 0x420): ("sensor", "fingerprint"), (0x421, 0x422): ("sensor", "camera"),
        (0x42C, 0): ("sensor", "motor"), (0x42F, 0): ("temperature", None),
    },
)  # fmt: skip
_GRANTED = {
    "card": (0x01, 0x02, 0x10), "fingerprint": (0x26, 0x28, 0x2B, 0x2E, 0x45, 0x48),
    "face": (0x36, 0x39, 0x3C, 0x3F, 0x42, 0x4B, 0x4D, 0x69), "pin": (0x22, 0x65), None: (0x99,),
}  # fmt: skip
_NO_MATCH = {
    "card": (0x03,), "fingerprint": (0x27, 0x29, 0x2C, 0x2F, 0x46, 0x49),
    "face": (0x37, 0x3A, 0x3D, 0x40, 0x43, 0x4C, 0x4E, 0x50, 0x70), "pin": (0x66, 0x97),
}  # fmt: skip
#: The supervised lines of a door's own contacts are short-circuited, cut, or make no sense.
_LINES = {0x53: "lock", 0x56: "door_contact", 0x59: "exit_button"}


MEANINGS: Mapping[tuple[int, int], Meaning] = MappingProxyType(
    {
        (ALARM, 0x400): _input("short"),
        (ALARM, 0x401): _input("open"),
        (ALARM, 0x402): _input("fault"),
        (ALARM, 0x403): _input("normal"),
        **{(ALARM, minor): meaning for minor, meaning in _TAMPERS.items()},
        (ALARM, 0x408): _input("short"),
        (ALARM, 0x409): _input("normal"),
        (ALARM, 0x40A): Meaning("access.duress"),
        (ALARM, 0x40C): _denied("too_many_attempts"),
        (ALARM, 0x40D): _fault("storage_full", "sd_card", active=True),
        # The supervised line of the fire input is short-circuited, cut, or whole again.
        (ALARM, 0x415): Meaning("fire_line", {"state": "short"}, Scope.FIRE),
        (ALARM, 0x416): Meaning("fire_line", {"state": "open"}, Scope.FIRE),
        (ALARM, 0x417): Meaning("fire_line", {"state": "normal"}, Scope.FIRE),
        (ALARM, 0x418): Meaning("fire.alarm", {"active": True, "point": "button"}, Scope.FIRE,
                                stays_open=True),
        (ALARM, 0x419): Meaning("fire.alarm", {"active": False, "point": "button"}, Scope.FIRE,
                                stays_open=False),
        (ALARM, 0x41C): Meaning("access.exit_button", {"credential": "button"}, Scope.EVERY_DOOR,
                                releases=True),
        (ALARM, 0x424): Meaning("fire.alarm", {"active": True, "point": "lane"}, Scope.FIRE,
                                stays_open=True),
        (ALARM, 0x425): Meaning("fire.alarm", {"active": False, "point": "lane"}, Scope.FIRE,
                                stays_open=False),
        **{(EXCEPTION, minor): meaning for minor, meaning in _FAULTS.items()},
        (OPERATION, 0x400): _granted("remote"),
        (OPERATION, 0x401): Meaning("", stays_open=False),
        (OPERATION, 0x402): Meaning("", stays_open=True),
        (OPERATION, 0x403): Meaning("", stays_open=False),
        (OPERATION, 0x40F): _granted("pin"),
        (OPERATION, 0x41D): _granted("remote"),
        (OPERATION, 0x41E): Meaning("", stays_open=True),
        **{(EVENT, minor): _granted(how) for how, minors in _GRANTED.items() for minor in minors},
        **{(EVENT, minor): _denied("no_match", how)
           for how, minors in _NO_MATCH.items() for minor in minors},
        (EVENT, 0x05): _denied("too_many_attempts", "card"),
        (EVENT, 0x06): _denied("no_permission"),
        (EVENT, 0x07): _denied("wrong_time"),
        (EVENT, 0x08): _denied("expired"),
        (EVENT, 0x09): _denied("unknown_credential"),
        (EVENT, 0x0A): _denied("anti_passback"),
        (EVENT, 0x0B): _denied("interlock"),
        (EVENT, 0x0C): _denied("no_permission"),
        (EVENT, 0x0D): _denied("wrong_time"),
        (EVENT, 0x0E): _denied("other"),
        (EVENT, 0x0F): _denied("other"),
        (EVENT, 0x11): Meaning("", stays_open=True),
        (EVENT, 0x12): Meaning("", stays_open=False),
        (EVENT, 0x13): Meaning("", stays_open=True),
        (EVENT, 0x14): Meaning("", stays_open=False),
        (EVENT, 0x17): Meaning("access.exit_button", {"credential": "button"}, releases=True),
        (EVENT, 0x19): Meaning("access.door", {"open": True}),
        (EVENT, 0x1A): Meaning("access.door", {"open": False}),
        (EVENT, 0x1B): Meaning("access.forced"),
        (EVENT, 0x1C): Meaning("access.held_open"),
        (EVENT, 0x31): _denied("unknown_credential", "fingerprint"),
        (EVENT, 0x34): Meaning("access.fire_release", {"active": True}, Scope.EVERY_DOOR,
                               releases=True),
        (EVENT, 0x35): Meaning("access.fire_release", {"active": False}, Scope.EVERY_DOOR),
        **{(EVENT, first + step): _fault("sensor", part, active=True)
           for first, part in _LINES.items() for step in range(3)},
        (EVENT, 0x5C): Meaning("access.forced"),
        (EVENT, 0x5E): _denied("no_permission"),
        (EVENT, 0x68): _denied("liveness", "face"),
        (EVENT, 0x71): Meaning("access.blacklisted"),
        (EVENT, 0x75): _denied("other"),
        (EVENT, 0x76): _denied("wrong_time"),
        (EVENT, 0x77): _denied("other", "card"),
        (EVENT, 0x78): _denied("anti_passback"),
        (EVENT, 0x85): Meaning("access.tailgate"),
        (EVENT, 0x98): _denied("unknown_credential", "pin"),
        (EVENT, 0x9B): _denied("other"),
    }
)  # fmt: skip

#: Codes that are understood and have no event of their own: lock and unlock (the door's own
#: open and closed tell), released buttons, bells, time-outs of a second factor, permanent
#: locking, and what people do at the controller's own menu.
WITHOUT_EVENT = frozenset(
    {(ALARM, minor) for minor in (0x40B, 0x40E, 0x411, 0x412, 0x413, 0x414, 0x41A, 0x41B, 0x41D,
                                  0x442)}
    | {(EXCEPTION, minor) for minor in (0x402, 0x40B, 0x40C, 0x425, 0x428, 0x429)}
    | {(OPERATION, minor) for minor in (0x50, 0x51, 0x5A, 0x70, 0x71, 0x79, 0x7A, 0x7B, 0x7E, 0x86,
                                        0x87, 0xD6, 0xD7, *range(0x404, 0x40F),
                                        *range(0x410, 0x41D))}
    | {(EVENT, minor) for minor in (0x04, 0x15, 0x16, 0x18, 0x1D, 0x1E, 0x1F, 0x20, 0x21, 0x23,
                                    0x24, 0x25, 0x2A, 0x2D, 0x30, 0x32, 0x33, 0x38, 0x3B, 0x3E,
                                    0x41, 0x44, 0x47, 0x4A, 0x4F, 0x51, 0x52, 0x5D, 0x5F, 0x60,
                                    0x61, 0x62, 0x63, 0x64, 0x67, 0x9A)}
)  # fmt: skip
