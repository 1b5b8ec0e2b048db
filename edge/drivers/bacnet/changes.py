"""Change-of-value subscriptions: they say when to read, never what was read.

A notification has some of an object's properties only, and may be lost: so it is a reason to
read the object whole, and without one the object is read all the same every ``check_s``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.runtime.clock import Clock
from edge.drivers.bacnet.link import BacnetLink, NackError
from edge.drivers.bacnet.reader import Reader
from edge.drivers.bacnet.settings import BacnetSettings

#: Subscriptions last so long (s, real time) and are renewed at half of it.
_LIFETIME_S = 300
#: A device that refused a subscription is asked again after so long.
_REFUSED_S = 3_600


@dataclass(slots=True)
class _Watch:
    process: int
    renew_at: float = 0.0
    stands: bool = False
    changed: bool = True
    read_at: int | None = None

    def on_change(self) -> None:
        self.changed = True


class Subscriptions:
    """The subscriptions of one device."""

    def __init__(
        self,
        link: BacnetLink,
        reader: Reader,
        settings: BacnetSettings,
        clock: Clock,
        count: Callable[[str], None],
    ) -> None:
        self._link = link
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._count = count
        self._watches: dict[str, _Watch] = {}

    async def due(self, names: Sequence[str]) -> bool:
        """Tell whether any of the objects is to be read now; subscribe where that is due.

        Raises :class:`LinkError`.
        """
        return any([await self._one_due(name) for name in dict.fromkeys(names)])

    def seen(self, names: Sequence[str]) -> None:
        """Note that objects have been read, and told."""
        for name in names:
            self._watches[name].read_at = self._clock.now_ms()

    def forget(self) -> None:
        """Give up all subscriptions; the next look subscribes anew."""
        for watch in self._watches.values():
            self._link.forget(self._reader.address, watch.process)
        self._watches.clear()

    async def _one_due(self, name: str) -> bool:
        watch = self._watches.get(name)
        if watch is None:
            watch = self._watches[name] = _Watch(self._link.new_process())
        if time.monotonic() >= watch.renew_at:
            await self._subscribe(name, watch)
        now, read_at = self._clock.now_ms(), watch.read_at
        late = read_at is None or abs(now - read_at) >= self._settings.check_s * 1000
        # What changes from here on is a reason to read again.
        due, watch.changed = watch.changed or late or not watch.stands, False
        if due:
            watch.read_at = None
        return due

    async def _subscribe(self, name: str, watch: _Watch) -> None:
        address, timeout_s = self._reader.address, self._settings.timeout_s
        try:
            await self._reader.call(
                lambda: self._link.subscribe(
                    address, name, watch.process, timeout_s,
                    lifetime_s=_LIFETIME_S, changed=watch.on_change,
                )
            )  # fmt: skip
        except NackError:
            self._count("subscriptions_refused")
            watch.stands, watch.renew_at = False, time.monotonic() + _REFUSED_S
        else:
            watch.stands, watch.renew_at = True, time.monotonic() + _LIFETIME_S / 2
