"""What stands at a door: its contact, its release, and whether it was forced or is held open.

Pure: time is given with everything that happens, and what is to be told comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tell:
    """One observation of a door."""

    kind: str
    data: dict[str, Any]


class Door:
    """One door; times are ms of the run's clock.

    It may open while it is released: after a grant or the exit button, for the lock's time and
    a grace, and while the fire release holds. Any other opening is forced, where this edge
    drives the lock (``judges``); elsewhere nobody knows who released it.
    """

    def __init__(self, *, held_open_s: float, grace_s: float, judges: bool) -> None:
        self._held_ms = round(held_open_s * 1000)
        self._grace_ms = round(grace_s * 1000)
        self._judges = judges
        self._open: bool | None = None
        self._fire: bool | None = None
        self._pressed: bool | None = None
        self._released_until = 0
        self._opened_at = 0
        self._held_told = False

    @property
    def open(self) -> bool:
        """Tell whether the door is known to be open."""
        return self._open is True

    @property
    def fire(self) -> bool:
        """Tell whether the fire release holds."""
        return self._fire is True

    def may_open(self, now: int) -> bool:
        """Tell whether an opening now would be in order."""
        return self.fire or now <= self._released_until

    def release(self, now: int, seconds: float) -> None:
        """Note that the lock is released for so long."""
        until = now + round(seconds * 1000) + self._grace_ms
        self._released_until = max(self._released_until, until)

    def contact(self, now: int, *, is_open: bool) -> list[Tell]:
        """Take the contact's state; the first one is where the door stands, not an opening."""
        if is_open is self._open:
            return []
        first, self._open = self._open is None, is_open
        told = [Tell("access.door", {"open": is_open})]
        if is_open:
            self._opened_at, self._held_told = now, False
            if self._judges and not first and not self.may_open(now):
                told.append(Tell("access.forced", {}))
        return told

    def button(self, now: int, seconds: float, *, pressed: bool) -> list[Tell]:
        """Take the exit button's state; being pressed releases the door."""
        news = pressed and self._pressed is not True
        self._pressed = pressed
        if not news:
            return []
        self.release(now, seconds)
        return [Tell("access.exit_button", {"credential": "button"})]

    def fire_release(self, now: int, *, active: bool) -> list[Tell]:
        """Take the fire release's state; after it people may still be on their way out."""
        if active is self._fire:
            return []
        self._fire = active
        self.release(now, 0)
        if self._open:
            self._opened_at, self._held_told = now, False
        return [Tell("access.fire_release", {"active": active})]

    def due(self, now: int) -> list[Tell]:
        """Return what follows from the door having stood open until now."""
        if not self._open or self.fire or self._held_told:
            return []
        stood_ms = now - self._opened_at
        if stood_ms < self._held_ms:
            return []
        self._held_told = True
        return [Tell("access.held_open", {"open_s": stood_ms / 1000})]
