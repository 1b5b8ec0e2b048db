"""From the notifications of profiles A and C to observations of our doors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edge.drivers.onvif_door.settings import AccessPointSettings
from edge.observation import Observation
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import Repetitions, Skipped
from edge.pseudonym import Pseudonyms

_DOOR, _ACCESS = "Door/State/", "AccessControl/"
#: ``Reason`` of a refusal (access control service, DenyReason), lower-cased.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "credentialnotenabled": "no_permission",
        "credentialnotactive": "wrong_time",
        "credentialexpired": "expired",
        "invalidpin": "no_match",
        "notpermittedatthistime": "wrong_time",
        "unauthorized": "no_permission",
        "external": "no_permission",
        "antipassbackviolation": "anti_passback",
        "card": "unknown_credential",
        "pin": "unknown_credential",
    }
)
#: Modes in which the door may be opened by anybody.
_FREE = frozenset({"Unlocked", "LockedOpen"})
#: Topics that are understood and have no event of their own.
_WITHOUT_EVENT = (
    "Door/State/DoorWarning", "AccessPoint/", "Credential/", "Configuration/", "Device/",
    "Monitoring/", "AccessControl/Request", "AccessControl/AccessNotTaken",
)  # fmt: skip
_ASPECTS = frozenset(
    {
        "DoorPhysicalState", "LockPhysicalState", "DoubleLockPhysicalState", "DoorAlarm",
        "DoorTamper", "DoorFault", "DoorMode",
    }
)  # fmt: skip
_GRANT_LIFE_MS = 120_000


class DoorTranslator:
    """Translates the notifications of one controller and remembers what was told of its doors."""

    def __init__(
        self,
        doors: Mapping[str, str],
        points: Mapping[str, AccessPointSettings],
        pseudonyms: Pseudonyms,
        forced_grace_s: float,
    ) -> None:
        self._doors = doors
        self._configured = points
        self.points: dict[str, AccessPointSettings] = dict(points)
        """Access points as configured, and as the controller lists them."""
        self._pseudonyms = pseudonyms
        self._grace_ms = int(forced_grace_s * 1000)
        self._repetitions = Repetitions()
        self._states: dict[tuple[str, str], str] = {}
        self._opened: dict[str, int] = {}
        self._released: dict[str, int] = {}
        self._free: set[str] = set()
        self._granted: dict[str, int] = {}

    def learn(self, listed: Mapping[str, str]) -> None:
        """Take the controller's own list: token of an access point -> token of its door."""
        found = {
            token: AccessPointSettings(door=door)
            for token, door in listed.items()
            if door in self._doors
        }
        self.points = found | dict(self._configured)

    def translate(self, notification: Notification, at: int) -> list[Observation] | Skipped:
        """Return what a notification says at our time ``at``; nothing is remembered.

        Call :meth:`committed` once its observations are in the journal (or it was skipped).
        """
        topic = notification.topic
        if any(topic.startswith(item) for item in _WITHOUT_EVENT):
            return Skipped("topics_without_event")
        if topic.startswith(_DOOR):
            return self._door(notification, topic.removeprefix(_DOOR), at)
        if topic.startswith(_ACCESS):
            return self._access(notification, topic.removeprefix(_ACCESS), at)
        return Skipped("unknown_topics")

    def committed(
        self, notification: Notification, observations: list[Observation], at: int
    ) -> None:
        """Remember what has been dealt with."""
        self._repetitions.remember(notification)
        for observation in observations:
            self.follow(observation)
        topic = notification.topic
        aspect = topic.removeprefix(_DOOR)
        if aspect in _ASPECTS:
            device, state = self._door_of(notification), _state(notification)
            if device is not None and state and notification.operation is not Operation.DELETED:
                self._states[device, aspect] = state
                self._note_mode(device, aspect, state, at)
        elif topic.startswith(f"{_ACCESS}AccessGranted") and observations:
            self._granted[_point(notification)] = at

    def follow(self, observation: Observation) -> None:
        """Note what an observation means for the next "forced" of its door."""
        kind, device, data = observation.kind, observation.device, observation.data
        if kind in ("access.granted", "access.exit_button"):
            self.release(device, observation.at)
        elif kind == "access.fire_release":
            (self._free.add if data["active"] else self._free.discard)(device)
            self.release(device, observation.at)
        elif kind == "access.door":
            if data["open"]:
                self._opened[device] = observation.at
            else:
                self._opened.pop(device, None)

    def release(self, device: str, at: int) -> None:
        """Note that a door may be opened from now on."""
        self._released[device] = at

    # -- doors -------------------------------------------------------------------------------

    def _door(
        self, notification: Notification, aspect: str, at: int
    ) -> list[Observation] | Skipped:
        device, state = self._door_of(notification), _state(notification)
        if aspect not in _ASPECTS:
            return Skipped("topics_without_event")
        if device is None:
            return Skipped("unknown_doors")
        if not state or notification.operation is Operation.DELETED:
            return Skipped("states_without_value")
        before = self._states.get((device, aspect))
        if before == state:
            return []
        raw = f"{aspect}={state}"[:64]
        if aspect == "DoorPhysicalState":
            found = _part_fault(device, "door_monitor", before, state, at)
            if state in ("Open", "Closed"):
                found.append(Observation("access.door", device, {"open": state == "Open"}, at))
            return found
        if aspect in ("LockPhysicalState", "DoubleLockPhysicalState"):
            return _part_fault(device, "lock", before, state, at)
        if aspect == "DoorAlarm":
            return self._alarm(device, state, raw, at)
        if aspect == "DoorTamper":
            data = {"part": "other", "raw_code": raw}
            return _on_off(device, "device.tamper", data, state, "TamperDetected", at)
        if aspect == "DoorFault":
            data = {"fault": "other", "part": "door", "raw_code": raw}
            return _on_off(device, "device.fault", data, state, "FaultDetected", at)
        return []

    def _alarm(self, device: str, state: str, raw: str, at: int) -> list[Observation] | Skipped:
        if state == "DoorForcedOpen":
            if self._was_released(device, at):
                return Skipped("forced_after_release")
            return [Observation("access.forced", device, {"raw_code": raw}, at)]
        if state == "DoorOpenTooLong":
            data: dict[str, Any] = {"raw_code": raw}
            opened = self._opened.get(device)
            if opened is not None and at >= opened:
                data["open_s"] = (at - opened) / 1000
            return [Observation("access.held_open", device, data, at)]
        return []

    def _was_released(self, device: str, at: int) -> bool:
        if not self._grace_ms:
            return False
        released = self._released.get(device)
        return device in self._free or (
            released is not None and 0 <= at - released <= self._grace_ms
        )

    def _note_mode(self, device: str, aspect: str, state: str, at: int) -> None:
        if aspect != "DoorMode":
            return
        (self._free.add if state in _FREE else self._free.discard)(device)
        if state in _FREE or state == "Accessed":
            self.release(device, at)

    # -- access ------------------------------------------------------------------------------

    def _access(
        self, notification: Notification, what: str, at: int
    ) -> list[Observation] | Skipped:
        if notification.operation in (Operation.INITIALIZED, Operation.DELETED):
            # Nobody passes because a subscription begins.
            return Skipped("states_without_value")
        if self._repetitions.knows(notification):
            return Skipped("duplicates")
        token = _point(notification)
        point = self.points.get(token)
        if point is None:
            return Skipped("unknown_access_points")
        device = self._doors[point.door]
        data: dict[str, Any] = {"reader": token[:64], "raw_code": f"{_ACCESS}{what}"[:64]}
        if point.direction is not None:
            data["direction"] = point.direction
        if (person := self._person(notification)) is not None:
            data["person"] = person
        head, *rest = what.split("/")
        if head == "AccessTaken" and at - self._granted.get(token, 0) < _GRANT_LIFE_MS:
            return Skipped("taken_after_grant")
        if head in ("AccessGranted", "AccessTaken"):
            return [self._grant(point, device, data, rest, at)]
        if head == "Denied":
            return [self._refusal(notification, device, data, rest, at)]
        if head == "Duress":
            return [Observation("access.duress", device, data, at)]
        return Skipped("unknown_topics")

    def _grant(
        self,
        point: AccessPointSettings,
        device: str,
        data: dict[str, Any],
        rest: list[str],
        at: int,
    ) -> Observation:
        if rest[:1] == ["Anonymous"] and point.exit_button:
            return Observation("access.exit_button", device, data | {"credential": "button"}, at)
        return Observation("access.granted", device, data, at)

    def _refusal(
        self,
        notification: Notification,
        device: str,
        data: dict[str, Any],
        rest: list[str],
        at: int,
    ) -> Observation:
        given = notification.data.get("Reason", "").strip()
        # Devices of before the item put the reason into the topic.
        words = [given, *reversed(rest)]
        reason = next((_REASONS[w.lower()] for w in words if w.lower() in _REASONS), "other")
        if given:
            data["raw_code"] = f"Denied/{given}"[:64]
        if rest[-1:] == ["Card"]:
            data["credential"] = "card"
        elif rest[-1:] == ["PIN"] or reason == "no_match":
            data["credential"] = "pin"
        return Observation("access.denied", device, data | {"reason": reason}, at)

    def _person(self, notification: Notification) -> str | None:
        for space, name in (
            ("credential", "CredentialToken"), ("holder", "CredentialHolderName"),
            ("card", "Card"),
        ):  # fmt: skip
            value = notification.data.get(name, "").strip()
            if value:
                return self._pseudonyms.of(space, value)
        return None

    def _door_of(self, notification: Notification) -> str | None:
        source = notification.source
        return self._doors.get(source.get("DoorToken", next(iter(source.values()), "")))


def _state(notification: Notification) -> str:
    data = notification.data
    return data.get("State", next(iter(data.values()), "")).strip()[:64]


def _point(notification: Notification) -> str:
    source = notification.source
    return source.get("AccessPointToken", next(iter(source.values()), ""))


def _part_fault(
    device: str, part: str, before: str | None, state: str, at: int
) -> list[Observation]:
    """Return the begin or the end of a fault that a state can also tell of."""
    if (state == "Fault") == (before == "Fault"):
        return []
    data = {"fault": "sensor", "active": state == "Fault", "part": part}
    return [Observation("device.fault", device, data, at)]


def _on_off(
    device: str, kind: str, data: dict[str, Any], state: str, on: str, at: int
) -> list[Observation] | Skipped:
    if state == "Unknown":
        return Skipped("states_without_value")
    return [Observation(kind, device, data | {"active": state == on}, at)]
