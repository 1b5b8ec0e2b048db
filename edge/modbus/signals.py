"""Which signals of a device were told, so that each beginning and each end is told once."""

from __future__ import annotations

from typing import Any

from edge.driver import Sink
from edge.modbus.meaning import Key, Reading


class Signals:
    """The signals of one device; what the journal did not take is told again."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._told: dict[Key, tuple[str, dict[str, Any]]] = {}
        self._idle: set[Key] = set()

    async def tell(self, reading: Reading, sink: Sink, at: int, **more: Any) -> None:
        """Tell what began and what ended; ``more`` goes into every event.

        Raises what the sink raises; what it did not take counts as not told.
        """
        ended = (k for k in self._told if k[0] in reading.known and k not in reading.standing)
        for key in sorted(ended):
            kind, data = self._told[key]
            await sink.emit(kind, self._device, {**data, **more, "active": False}, at)
            del self._told[key]
            self._idle.add(key)
        for key, (kind, data) in sorted(reading.standing.items()):
            if key not in self._told:
                await sink.emit(kind, self._device, {**data, **more, "active": True}, at)
                self._told[key] = (kind, data)
        for key, (kind, data) in sorted(reading.idle.items()):
            if key not in self._idle and key not in self._told:
                await sink.emit(kind, self._device, {**data, **more, "active": False}, at)
                self._idle.add(key)
