"""Hysteresis: from a flickering "is there" to "began" and "ended"."""

from __future__ import annotations

#: However fast the run's clock is, a state is backed by so many frames.
_LEAST_FRAMES = 3


class Latch:
    """A state that begins after ``on_ms`` of presence and ends after ``off_ms`` of absence.

    It is unknown at first; the first transition may be to False. ``least_frames`` are needed
    to begin, however fast the run's clock is.
    """

    def __init__(self, on_ms: float, off_ms: float, least_frames: int = _LEAST_FRAMES) -> None:
        self._on_ms = on_ms
        self._off_ms = off_ms
        self._least_frames = least_frames
        self._since: int | None = None
        self._frames = 0
        self._candidate: bool | None = None
        self.state: bool | None = None

    @property
    def pending(self) -> bool:
        """Tell whether a change is under way: each further picture counts."""
        return self._candidate is not None and self._candidate is not bool(self.state)

    def update(self, now: int, *, present: bool) -> bool | None:
        """Take one frame's verdict; return the new state when it changes, else None.

        ``present`` of a state that holds should be judged more generously than of one that
        does not, so that it does not flicker at the threshold.
        """
        if self._candidate is not present or self._since is None or now < self._since:
            self._candidate, self._since, self._frames = present, now, 0
        self._frames += 1
        held = now - self._since
        needed_ms = self._on_ms if present else self._off_ms
        needed_frames = self._least_frames if present else min(self._least_frames, _LEAST_FRAMES)
        if present is self.state or held < needed_ms or self._frames < needed_frames:
            return None
        self.state = present
        return present

    def present_ms(self, now: int) -> int:
        """Return for how long it has been there without a break (0: it is not)."""
        return now - self._since if self._candidate and self._since is not None else 0
