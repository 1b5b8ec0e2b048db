"""One reader as its bus sees it: who it is, what it tells, and how the talk with it stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

#: First pause before a lost reader is asked anew.
RETRY_S = 0.3
NOT_DONE: Final = False


@dataclass(frozen=True, slots=True)
class Station:
    """A reader as the bus knows it; ``key`` is its secure channel's, None for clear text."""

    address: int
    key: bytes | None = field(default=None, repr=False)
    install: bool = False


@dataclass(frozen=True, slots=True)
class Online:
    """A reader answers (after the secure channel, where it has one), or went offline."""

    online: bool
    why: str = ""
    credentials: bool = False
    """The reader is there and does not have our key."""


@dataclass(frozen=True, slots=True)
class Told:
    """A reader's event as libosdp gives it."""

    event: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The line is gone; nothing follows."""

    error: Exception


News = Online | Told | Ended


@dataclass(slots=True)
class Request:
    """One command for a reader; ``done`` hears whether it was done."""

    command: dict[str, Any]
    done: Callable[[bool], None] | None = None
    given: float = 0.0


class Talk:
    """What the thread keeps of one reader."""

    def __init__(self, index: int, station: Station) -> None:
        self.index = index
        self.station = station
        self.online = False
        self.secure = False
        self.since = 0.0
        self.retry_at: float | None = None
        self.switched_off = False
        self.pause_s = RETRY_S
        self.asked_at = 0.0
        self.asked: int | None = None
        self.heard_at = 0.0
        self.latency_ms: float | None = None
        self.answer: int | None = None
        self.refused: set[int] = set()
        self.waiting: deque[Request] = deque()
        self.current: Request | None = None

    def drop(self) -> None:
        """Tell everybody who waits for a command that it will not be done."""
        requests = [*([self.current] if self.current else []), *self.waiting]
        self.current = None
        self.waiting.clear()
        for request in requests:
            if request.done is not None:
                request.done(NOT_DONE)
