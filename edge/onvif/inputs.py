"""Digital inputs: what is wired to a contact is the configuration's to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.observation import Observation
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import Skipped
from edge.onvif.settings import InputSettings

#: ``AlarmIn`` is what some vendors call it in their own namespace.
TOPICS = frozenset({"Device/Trigger/DigitalInput", "Device/Trigger/AlarmIn"})


class Inputs:
    """Translates the states of a device's inputs; tells only what changed."""

    def __init__(self, inputs: Mapping[str, InputSettings], own: Sequence[str]) -> None:
        self._inputs = inputs
        self._own = own
        self._told: dict[str, bool] = {}

    def translate(self, notification: Notification, at: int) -> list[Observation] | Skipped:
        """Return what an input says; nothing is remembered until :meth:`committed`."""
        token, settings = self._named(notification)
        closed = notification.flag("LogicalState", "State")
        if settings is None:
            return Skipped("unknown_inputs")
        if closed is None:
            return Skipped("malformed_notifications")
        active = closed is not settings.inverted
        before = self._told.get(token)
        if before is active:
            return []
        data = _data(settings.kind, token, active=active)
        if settings.kind == "access.exit_button":
            # A button that is found pressed has not been pressed now.
            pressed = active and notification.operation is not Operation.INITIALIZED
            data = {"credential": "button"} if pressed else None
        if data is None:
            return []
        devices = self._own[:1] if settings.device is None else (settings.device,)
        if settings.kind == "access.fire_release" and settings.device is None:
            devices = self._own
        return [Observation(settings.kind, device, dict(data), at) for device in devices]

    def committed(self, notification: Notification) -> None:
        """Remember an input's state once what it says is in the journal."""
        token, settings = self._named(notification)
        closed = notification.flag("LogicalState", "State")
        if settings is not None and closed is not None:
            self._told[token] = closed is not settings.inverted

    def _named(self, notification: Notification) -> tuple[str, InputSettings | None]:
        token = next(iter(notification.source.values()), "")
        token = notification.source.get("InputToken", token)
        return token, self._inputs.get(token)


def _data(kind: str, token: str, *, active: bool) -> dict[str, Any] | None:
    if kind.startswith("fire."):
        return {"active": active, "point": token[:64]}
    if kind == "device.tamper":
        return {"active": active, "part": "cover", "raw_code": token[:64]}
    return {"active": active, "raw_code": token[:64]}
