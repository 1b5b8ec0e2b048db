"""What lasts in front of cameras: begun, repeated, over; each told once.

A camera repeats what lasts, with a rising ``activePostCount``; some say that it is over and
some fall silent, so a state without a repetition ends by itself after a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alert of a camera, in our words; ``at`` and ``heard`` are ms (camera, edge)."""

    kind: str
    device: str
    type: str
    zone: str | None
    data: dict[str, Any]
    at: int
    heard: int
    active: bool
    posts: int | None
    hold_ms: int
    momentary: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what tells this state from others."""
        return (self.device, self.type, self.zone or "", str(self.data.get("target", "")))


@dataclass(slots=True)
class State:
    """A state that stands (or a moment that is still being repeated)."""

    alarm: Alarm
    heard: int
    posts: int | None = field(default=None)


class States:
    """The standing states of all cameras of one connection."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str, str, str], State] = {}

    def is_news(self, alarm: Alarm) -> bool:
        """Tell whether an alert is more than the repetition of what is known."""
        known = self._standing.get(alarm.key)
        if not alarm.active:
            return known is not None
        if known is None:
            return True
        # A moment that comes again begins to count anew; what lasts only counts on.
        again = alarm.posts is not None and known.posts is not None and alarm.posts <= known.posts
        return alarm.momentary and again and alarm.at != known.alarm.at

    def note(self, alarm: Alarm) -> None:
        """Remember an alert that was told, or that repeats what was."""
        if not alarm.active:
            self._standing.pop(alarm.key, None)
            return
        known = self._standing.get(alarm.key)
        if known is None or alarm.momentary:
            self._standing[alarm.key] = State(alarm, alarm.heard, alarm.posts)
        else:
            known.heard, known.posts = max(known.heard, alarm.heard), alarm.posts

    def silent(self, now: int) -> list[Alarm]:
        """Return the alarms that nobody repeated for too long (``now`` is the edge's, ms)."""
        return [
            state.alarm
            for state in self._standing.values()
            if not 0 <= now - state.heard < state.alarm.hold_ms
        ]

    def forget(self, alarm: Alarm) -> None:
        """Forget a state that is over."""
        self._standing.pop(alarm.key, None)

    def heard_again(self, now: int) -> None:
        """Begin every hold anew: while the stream was down, nothing could be repeated."""
        for state in self._standing.values():
            state.heard = now

    def is_active(self, kind: str, device: str) -> bool:
        """Tell whether a state of this kind stands at a camera."""
        return any(
            state.alarm.kind == kind and state.alarm.device == device
            for state in self._standing.values()
        )

    def dump(self) -> list[dict[str, Any]]:
        """Return what stands, for a restart of the edge."""
        return [
            {
                "kind": alarm.kind, "device": alarm.device, "type": alarm.type,
                "zone": alarm.zone, "data": alarm.data, "at": alarm.at, "hold_ms": alarm.hold_ms,
            }
            for alarm in self._lasting()
        ]  # fmt: skip

    def restore(self, memory: Any, now: int) -> None:
        """Take over what :meth:`dump` returned; nonsense is ignored."""
        for item in memory if isinstance(memory, list) else ():
            try:
                alarm = Alarm(
                    kind=str(item["kind"]), device=str(item["device"]), type=str(item["type"]),
                    zone=item["zone"], data=dict(item["data"]), at=int(item["at"]), heard=now,
                    active=True, posts=None, hold_ms=int(item["hold_ms"]),
                )  # fmt: skip
            except (KeyError, TypeError, ValueError):
                continue
            self._standing[alarm.key] = State(alarm, now)

    def _lasting(self) -> Iterator[Alarm]:
        return (s.alarm for s in self._standing.values() if not s.alarm.momentary)
