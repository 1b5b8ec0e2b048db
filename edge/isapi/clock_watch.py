"""Notices that a device's clock is off, by the times of its heartbeats."""

from __future__ import annotations

from typing import Any

#: A clock that is off by more is told (RELIABILITY: skew over 5 s), below the other it is well.
OFF_S, WELL_S = 5.0, 3.0
#: So many heartbeats in a row must agree: one that was late on its way says nothing.
_AGREE = 3


class ClockWatch:
    """Decides when ``device.fault`` ``clock`` begins and ends."""

    def __init__(self) -> None:
        self._standing = False
        self._agreeing = 0

    def see(self, offset_s: float) -> dict[str, Any] | None:
        """Take how far (s) a device is ahead; return what is to be told, None for nothing."""
        differs = abs(offset_s) < WELL_S if self._standing else abs(offset_s) > OFF_S
        self._agreeing = self._agreeing + 1 if differs else 0
        if self._agreeing < _AGREE:
            return None
        return {"fault": "clock", "active": not self._standing, "raw_code": f"{offset_s:+.0f} s"}

    def told(self, change: dict[str, Any]) -> None:
        """Remember what was told."""
        self._standing, self._agreeing = bool(change["active"]), 0
