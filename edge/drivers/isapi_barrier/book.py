"""Which readings are known already: a camera tells them twice, by the stream and by the search.

There are no serial numbers. Two readings of one vehicle within a few seconds are the same; a
vehicle whose plate was not read is told apart by its second alone.
"""

from __future__ import annotations

from collections import deque
from typing import Any

#: Stream and search may differ by so much (ms) about when a plate was read.
_SAME_MS = 3_000
_REMEMBERED = 512


class ReadingBook:
    """The readings of the last while, by pseudonym; its memory is plain JSON."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)
        self.latest: int | None = None
        """The latest reading (ms of the camera's time) that was dealt with."""

    def known(self, vehicle: str | None, at: int) -> bool:
        """Tell whether this reading has been dealt with."""
        key, same = vehicle or "", _SAME_MS if vehicle else 999
        return any(k == key and abs(at - when) <= same for k, when in self._recent)

    def note(self, vehicle: str | None, at: int) -> None:
        """Remember a reading."""
        self._recent.append((vehicle or "", at))
        self.latest = at if self.latest is None else max(self.latest, at)

    def dump(self) -> dict[str, Any]:
        """Return what must be known after a restart."""
        return {"latest": self.latest, "recent": [list(item) for item in self._recent]}

    def restore(self, memory: Any) -> None:
        """Take over what :meth:`dump` returned; nonsense is as good as nothing."""
        try:
            recent = [(str(key), int(at)) for key, at in memory["recent"]]
            latest = None if memory["latest"] is None else int(memory["latest"])
        except (KeyError, TypeError, ValueError):
            return
        self._recent = deque(recent, maxlen=_REMEMBERED)
        self.latest = latest
