"""From a camera's notifications to signals: this state of this rule began, ended, happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.drivers.onvif_camera.settings import OnvifCameraSettings
from edge.drivers.onvif_camera.topics import (
    BY_ITEM,
    CLASSES,
    ITEM_TOPICS,
    JOB_TOPIC,
    OBJECT_TOPIC,
    TOPICS,
    WITHOUT_EVENT,
    Meaning,
)
from edge.onvif.notification import Notification, Operation
from edge.onvif.observation import Skipped

_HIGHEST_COUNT = 9_007_199_254_740_991


@dataclass(frozen=True, slots=True)
class Signal:
    """What one source of the camera says; ``active`` None: it happened and has no state.

    Signals with the same ``kind`` and ``part`` are one state for us: it stands while any of
    its ``source`` says so.
    """

    kind: str
    part: str | None
    data: dict[str, Any]
    active: bool | None
    source: object
    topic: str
    fresh: bool
    """It happened now; False: it is how things stand."""
    at: int


class CameraTranslator:
    """Translates the notifications of one camera; it has no memory."""

    def __init__(self, settings: OnvifCameraSettings) -> None:
        self._rules = settings.rules
        self._own = {
            topic: Meaning(
                item.kind,
                {"target": item.target} if item.target else _cause(item.kind, item.cause),
                by_rule=item.kind in ("camera.intrusion", "camera.line_crossed"),
            )
            for topic, item in settings.topics.items()
        }

    def translate(self, notification: Notification, at: int) -> list[Signal] | Skipped:
        """Return what a notification says, at our time ``at``."""
        topic = notification.topic
        meaning = self._own.get(topic) or TOPICS.get(topic)
        if meaning is not None:
            return self._signals(notification, meaning, at)
        if topic in ITEM_TOPICS:
            found = [BY_ITEM[name] for name in notification.data if name in BY_ITEM]
            signals: list[Signal] = []
            for item in found:
                said = self._signals(notification, item, at, suffix=item.items[0])
                signals += said if isinstance(said, list) else []
            return signals or Skipped("malformed_notifications")
        if topic == OBJECT_TOPIC:
            return self._objects(notification, at)
        if topic == JOB_TOPIC:
            return self._job(notification, at)
        known = any(topic.startswith(item) for item in WITHOUT_EVENT)
        return Skipped("topics_without_event" if known else "unknown_topics")

    def _signals(
        self, notification: Notification, meaning: Meaning, at: int, suffix: str = ""
    ) -> list[Signal] | Skipped:
        if meaning.kind == "camera.count":
            return self._count(notification, meaning, at)
        active = notification.flag(*meaning.items)
        operation = notification.operation
        if operation is Operation.DELETED:
            active = False
        elif active is None and operation is Operation.INITIALIZED:
            # What has no state has not happened because somebody subscribed.
            return Skipped("states_without_value")
        elif active is None and meaning.kind == "device.fault":
            return Skipped("malformed_notifications")
        return [self._signal(notification, meaning, active, at, suffix)]

    def _signal(
        self,
        notification: Notification,
        meaning: Meaning,
        active: bool | None,  # noqa: FBT001 (three values)
        at: int,
        suffix: str = "",
    ) -> Signal:
        kind, data = meaning.kind, dict(meaning.data)
        rule = notification.source.get("Rule", notification.source.get("RuleName", ""))
        configured = self._rules.get(rule)
        if kind == "device.fault":
            part = next(iter(notification.source.values()), "")[:64] or None
            if part is not None:
                data["part"] = part
            part = f"{data['fault']}/{part}"
        else:
            if configured is not None and configured.kind is not None:
                kind = configured.kind
                data = {key: value for key, value in data.items() if key == "target"}
                if kind != "camera.object":
                    data = {}
            if kind == "camera.object":
                target = configured.target if configured is not None else None
                data["target"] = target or data.get("target", "other")
            part = self._zone(notification, kind, meaning, rule, suffix)
            if part is not None:
                data["zone"] = part
        data["raw_code"] = notification.topic.partition("/")[2][:64] or notification.topic[:64]
        fresh = notification.operation in (Operation.CHANGED, Operation.EVENT)
        source = (notification.identity, suffix)
        return Signal(kind, part, data, active, source, notification.topic, fresh, at)

    def _zone(
        self, notification: Notification, kind: str, meaning: Meaning, rule: str, suffix: str
    ) -> str | None:
        configured = self._rules.get(rule)
        if configured is not None and configured.zone is not None:
            return configured.zone
        if meaning.by_rule or (configured is not None and configured.kind is not None):
            return rule[:64] or None
        if kind == "camera.object":
            # A person and a vehicle in the same picture are two states.
            return (suffix or notification.topic.rpartition("/")[2])[:64]
        return None

    def _count(
        self, notification: Notification, meaning: Meaning, at: int
    ) -> list[Signal] | Skipped:
        text = notification.data.get("Count", "").strip()
        if not text.isdecimal() or not text.isascii() or len(text) > 15:
            return Skipped("malformed_notifications")
        signal = self._signal(notification, meaning, None, at)
        rule = self._rules.get(notification.source.get("Rule", ""))
        data = {key: value for key, value in signal.data.items() if key in ("zone", "target")}
        data["count"] = min(int(text), _HIGHEST_COUNT)
        if rule is not None and rule.target is not None:
            data["target"] = rule.target
        return [
            Signal(
                "camera.count", signal.part, data, None, signal.source, signal.topic,
                signal.fresh, at,
            )
        ]  # fmt: skip

    def _objects(self, notification: Notification, at: int) -> list[Signal] | Skipped:
        """Return a signal for each class; a class that is not named has left."""
        text = notification.data.get("ClassTypes")
        if text is None:
            return Skipped("malformed_notifications")
        named = {CLASSES.get(word.lower(), "other") for word in text.split()[:16]}
        gone = notification.operation is Operation.DELETED
        signals: list[Signal] = []
        for target in sorted({*CLASSES.values(), "other"}):
            meaning = Meaning("camera.object", {"target": target})
            active = target in named and not gone
            signals.append(self._signal(notification, meaning, active, at, f"Object {target}"))
        return signals

    def _job(self, notification: Notification, at: int) -> list[Signal] | Skipped:
        state = notification.data.get("State", "")
        if not state:
            return Skipped("malformed_notifications")
        meaning = Meaning("device.fault", {"fault": "recording"})
        failed = state.lower() == "error" and notification.operation is not Operation.DELETED
        return [self._signal(notification, meaning, failed, at)]


def _cause(kind: str, cause: str | None) -> dict[str, Any]:
    return {"cause": cause or "unknown"} if kind == "camera.tamper" else {}
