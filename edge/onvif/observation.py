"""Why a notification is passed over, what was told already, and whose time can be right."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from edge.onvif.notification import Notification, Operation

_REMEMBERED = 1024
#: A device's time is taken when it is no further from ours than this (ms), once corrected.
_FUTURE_MS, _PAST_MS = 5 * 60_000, 31 * 86_400_000


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a notification gives no observation; ``reason`` is the name of a counter."""

    reason: str


class Repetitions:
    """Remembers what happened (not states), so that its repetition is recognised."""

    def __init__(self) -> None:
        self._seen: OrderedDict[object, None] = OrderedDict()

    def knows(self, notification: Notification) -> bool:
        """Tell whether this happened before; without a time that cannot be told."""
        return self._key(notification) in self._seen

    def remember(self, notification: Notification) -> None:
        """Remember what has been dealt with."""
        if notification.at is not None and notification.operation is Operation.EVENT:
            self._seen[self._key(notification)] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)

    def _key(self, notification: Notification) -> object:
        return notification.identity, tuple(sorted(notification.data.items())), notification.at


def corrected(at: int | None, offset_ms: int, now: int) -> int | None:
    """Return the device's time on our clock, None for one that cannot be right."""
    if at is None:
        return None
    moment = at - offset_ms
    return moment if now - _PAST_MS <= moment <= now + _FUTURE_MS else None
