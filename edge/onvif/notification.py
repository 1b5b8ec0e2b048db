"""Notifications and topic sets, read from what ``PullMessages`` and the like answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from edge.onvif import names
from edge.onvif.soap import attribute, child, children, local, text, utc_ms

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: What one answer may hold beyond any reason is left out (and counted by who asked).
MOST_MESSAGES = 1024
_MOST_ITEMS = 64
_LONGEST_TOPIC = 300
_LONGEST_VALUE = 512
_MOST_TOPICS = 4096
_DEEPEST_TOPIC = 16
_YES, _NO = frozenset({"true", "1"}), frozenset({"false", "0"})


class Operation(StrEnum):
    """What a notification says of its property; ``EVENT``: it is none, something happened."""

    INITIALIZED = "Initialized"
    CHANGED = "Changed"
    DELETED = "Deleted"
    EVENT = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """One event; the topic is without prefixes: ``RuleEngine/FieldDetector/ObjectsInside``."""

    topic: str
    source: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    operation: Operation = Operation.EVENT
    at: int | None = None
    """The device's own time (ms since the epoch), not corrected."""

    @property
    def identity(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return what tells this property from every other of the device."""
        return self.topic, tuple(sorted(self.source.items()))

    def flag(self, *preferred: str) -> bool | None:
        """Return the first of the preferred items that is a boolean, else the first of all.

        Of the others only words are taken: ``ObjectId="1"`` says nothing of a state.
        """
        for name in preferred:
            value = self.data.get(name, "").strip().lower()
            if value in _YES or value in _NO:
                return value in _YES
        words = (value.strip().lower() for value in self.data.values())
        return next((word == "true" for word in words if word in ("true", "false")), None)


def plain_topic(topic: str) -> str:
    """Return a topic without the prefixes that each device chooses for itself."""
    parts = (part.rpartition(":")[2].strip() for part in topic.strip().split("/"))
    return "/".join(part for part in parts if part not in ("", "."))


def notifications(element: Element) -> tuple[list[Notification], int]:
    """Return an answer's notifications, and how many could not be read."""
    found: list[Notification] = []
    unread = 0
    for holder in children(element, "NotificationMessage"):
        notification = _notification(holder) if len(found) < MOST_MESSAGES else None
        if notification is None:
            unread += 1
        else:
            found.append(notification)
    return found, unread


def _notification(holder: Element) -> Notification | None:
    topic = plain_topic(text(holder, "Topic")[:_LONGEST_TOPIC])
    outer = child(holder, "Message")
    # Some devices leave out the inner tt:Message.
    message = None if outer is None else (child(outer, "Message") if len(outer) else None)
    message = outer if message is None else message
    if not topic or message is None:
        return None
    operation = attribute(message, "PropertyOperation")
    known = {item.value for item in Operation}
    return Notification(
        topic,
        _items(message, "Source") | _items(message, "Key"),
        _items(message, "Data"),
        Operation(operation) if operation in known else Operation.EVENT,
        utc_ms(attribute(message, "UtcTime")),
    )


def _items(message: Element, name: str) -> dict[str, str]:
    part = child(message, name)
    if part is None:
        return {}
    return {
        attribute(item, "Name")[:100]: attribute(item, "Value")[:_LONGEST_VALUE]
        for item in children(part, "SimpleItem")[:_MOST_ITEMS]
    }


def topic_set(element: Element) -> frozenset[str]:
    """Return the topics that a device offers, from an answer to ``GetEventProperties``."""
    root = child(element, "TopicSet")
    found: set[str] = set()
    waiting = [] if root is None else [(root, "", 0)]
    while waiting and len(found) < _MOST_TOPICS:
        node, path, depth = waiting.pop()
        for part in node:
            name = local(part.tag)
            if name == "MessageDescription" or depth >= _DEEPEST_TOPIC:
                continue
            below = f"{path}/{name}" if path else name
            if _is_topic(part):
                found.add(below)
            waiting.append((part, below, depth + 1))
    return frozenset(found)


def _is_topic(part: Element) -> bool:
    marked = part.get(f"{{{names.TOPICS}}}topic", part.get("topic", ""))
    return marked.strip().lower() in _YES or child(part, "MessageDescription") is not None
