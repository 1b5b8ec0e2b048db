"""What several drivers of one edge use together: a gateway's connection, a detector's weights.

Many gateways take one or two connections only, and a serial port takes one; so drivers that
name the same one share it. The last user closes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Held:
    thing: Any
    users: int


class Shared:
    """A table of shared things by key; for one event loop."""

    def __init__(self) -> None:
        self._held: dict[Hashable, _Held] = {}

    def acquire(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the thing of a key, made by the first who asks; to be given back.

        ``make`` opens nothing. Raises what it raises.
        """
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = _Held(make(), 0)
        held.users += 1
        thing: T = held.thing
        return thing

    async def release(self, key: Hashable) -> None:
        """Give a thing back; the last one closes it (by its ``close`` method, if it has one)."""
        held = self._held.get(key)
        if held is None:
            return
        held.users -= 1
        if held.users > 0:
            return
        del self._held[key]
        close = getattr(held.thing, "close", None)
        if close is not None:
            closing = close()
            if inspect.isawaitable(closing):
                await closing
