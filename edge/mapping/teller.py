"""Tells what messages say: transitions once, records once, and both only when committed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from core.storage.files import write_whole
from edge.driver import DriverSink
from edge.mapping.mapper import Finding, Heard

_log = structlog.get_logger(__name__)

#: So many of a rule's last records are remembered for each device.
_REMEMBERED = 1_000

Emit = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
Spot = tuple[tuple[int, int], str, str]


class Teller:
    """What has been told by one driver; ``memory`` is the file of records that were told."""

    def __init__(self, memory: Path | None) -> None:
        self._memory = memory
        self._changes: dict[Spot, dict[str, Any]] = {}
        self._standing: dict[Spot, dict[str, dict[str, Any]]] = {}
        self._once: dict[str, deque[str]] = {}
        self._fresh = False

    def restore(self) -> None:
        """Read which records were told; a file that cannot be read is as good as none."""
        if self._memory is None or not self._memory.exists():
            return
        try:
            known = json.loads(self._memory.read_text(encoding="utf-8"))
            self._once = {
                str(place): deque(map(str, keys), maxlen=_REMEMBERED)
                for place, keys in known.items()
            }
        except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
            _log.warning("records_forgotten", file=str(self._memory), error=str(error))

    async def tell(self, heard: Heard, sink: DriverSink, emit: Emit) -> None:
        """Emit everything that is new; raise what ``emit`` raises.

        ``emit`` is given each emission to make, so that a driver may insist on it.
        """
        try:
            for finding in heard.findings:
                await self._tell(finding, sink, emit)
        finally:
            self._save()

    async def _tell(self, finding: Finding, sink: DriverSink, emit: Emit) -> None:
        tell, spot = finding.tell, (finding.place, finding.device, finding.key)
        if finding.standing is not None:
            await self._stand(finding, finding.standing, sink, emit)
            return
        if tell.mode == "change" and self._changes.get(spot) == finding.data:
            return
        if finding.once is not None:
            known = self._once.setdefault(_name(finding), deque(maxlen=_REMEMBERED))
            if finding.once in known:
                sink.count("records_again")
                return
        record = None if finding.once is None else finding.once[:64]
        await emit(partial(sink.emit, tell.kind, finding.device, finding.data, finding.at, record))
        if tell.mode == "change":
            self._changes[spot] = finding.data
        if finding.once is not None:
            self._once[_name(finding)].append(finding.once)
            self._fresh = True

    async def _stand(
        self,
        finding: Finding,
        now: dict[str, dict[str, Any]],
        sink: DriverSink,
        emit: Emit,
    ) -> None:
        kind, device, at = finding.tell.kind, finding.device, finding.at
        told = self._standing.setdefault((finding.place, device, ""), {})
        for key in sorted(told.keys() - now.keys()):
            await emit(partial(sink.emit, kind, device, {**told[key], "active": False}, at))
            del told[key]
        for key in sorted(now.keys() - told.keys()):
            await emit(partial(sink.emit, kind, device, {**now[key], "active": True}, at))
            told[key] = now[key]

    def _save(self) -> None:
        if self._memory is None or not self._fresh:
            return
        told = json.dumps({k: list(v) for k, v in self._once.items()})
        try:
            write_whole(self._memory, told.encode(), synced=False)
        except OSError as error:
            _log.warning("records_not_saved", file=str(self._memory), error=str(error))
        else:
            self._fresh = False


def _name(finding: Finding) -> str:
    return f"{finding.place[0]}.{finding.place[1]}.{finding.device}"
