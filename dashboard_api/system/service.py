"""How the parts are: asked now and then, kept for a moment, and honest about what is unknown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import anyio.to_thread
from sqlalchemy import select

from core.contracts.errors import StoreUnavailableError
from core.storage.records import Records, processes
from core.storage.records.models import CursorRow
from dashboard_api.live.hub import LiveHub
from dashboard_api.series.service import SeriesService
from dashboard_api.system.schemas import Part, PartState, SeriesState

#: Real seconds for which an answer is kept, so that asking often costs nothing.
_KEPT_S = 1.0
#: The rules' projection, one cursor for each log (the snapshot's own cursor moves seldom).
_RULES = re.compile(r"rules(/|$)")
#: Its cursor moves with the tick of each second; standing still this long (s) is a stall.
_STALL_S = 15.0
#: Seconds between two looks of the watch.
_WATCH_S = 5.0
_PROCESS_STATES = {
    "running": PartState.OK,
    "stopped": PartState.DOWN,
    "down": PartState.DOWN,
}


@dataclass(slots=True)
class _Seen:
    """Where a cursor is, and since when (s) it has been seen there."""

    position: int
    moved: float
    ever_moved: bool = False


class HealthService:
    """Looks at the parts; its methods block and are called in threads."""

    def __init__(
        self,
        records: Records,
        series: SeriesService,
        hub: LiveHub,
        *,
        series_kind: str,
        broker_connected: Callable[[], bool] | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._series = series
        self._hub = hub
        self._series_kind = series_kind
        self._broker_connected = broker_connected
        self._monotonic = monotonic
        self._cursors: dict[str, _Seen] = {}
        self._kept: tuple[float, list[Part]] | None = None
        self._lock = threading.Lock()

    def parts(self) -> list[Part]:
        """Return every part, at most a second old."""
        with self._lock:
            now = self._monotonic()
            if self._kept is None or now - self._kept[0] >= _KEPT_S:
                self._kept = (now, self._look(now))
            return self._kept[1]

    def forget(self) -> None:
        """Make the next question look again."""
        with self._lock:
            self._kept = None

    async def watch(self) -> None:
        """Look every few seconds, so that what stands still is seen to stand still."""
        while True:
            await anyio.to_thread.run_sync(self.parts)
            with contextlib.suppress(StoreUnavailableError):  # noted by the service itself
                await self._series.run(lambda reader: reader.count(0, 1))
            await asyncio.sleep(_WATCH_S)

    def series_state(self) -> SeriesState:
        """Return how the series store is, from the questions that were asked of it."""
        kind: Any = self._series_kind
        if self._series.failing is not None:
            state, message = PartState.DOWN, "the store does not answer"
        elif self._series.asked:
            state, message = PartState.OK, ""
        else:
            state, message = PartState.UNKNOWN, "not asked yet"
        return SeriesState(kind=kind, state=state, message=message)

    def _look(self, now: float) -> list[Part]:
        series = self.series_state()
        parts = [
            Part(name="series", state=series.state, message=series.message or series.kind),
            self._live(),
            self._broker(),
        ]
        try:
            with self._records.reading() as session:
                rows = processes.list_processes(session)
                found = session.execute(select(CursorRow.projector, CursorRow.position))
                cursors = {row.projector: row.position for row in found}
        except StoreUnavailableError:
            records = Part(
                name="records", state=PartState.DOWN, message="the database does not answer"
            )
            return [records, *parts]
        records = Part(name="records", state=PartState.OK, message=self._records.dialect)
        return [
            records,
            *parts,
            self._rules({name: at for name, at in cursors.items() if _RULES.match(name)}, now),
            *self._processes(rows),
        ]

    def _live(self) -> Part:
        if self._hub.failing is not None:
            return Part(
                name="live", state=PartState.DOWN, message="the live sequence cannot be read"
            )
        return Part(name="live", state=PartState.OK, message=f"at {self._hub.seq}")

    def _broker(self) -> Part:
        if self._broker_connected is None:
            return Part(
                name="mqtt", state=PartState.UNKNOWN, message="this process has no connection"
            )
        if self._broker_connected():
            return Part(name="mqtt", state=PartState.OK, message="connected")
        return Part(name="mqtt", state=PartState.DOWN, message="not connected")

    def _rules(self, cursors: dict[str, int], now: float) -> Part:
        """Tell whether the rules' projection moves; each log that there ever was has a cursor."""
        for name, position in cursors.items():
            seen = self._cursors.setdefault(name, _Seen(position, now))
            if position != seen.position:
                seen.position, seen.moved, seen.ever_moved = position, now, True
        if not cursors:
            return Part(
                name="rules", state=PartState.UNKNOWN, message="no projection has written yet"
            )
        newest = max((self._cursors[name] for name in cursors), key=lambda seen: seen.moved)
        still = now - newest.moved
        if still >= _STALL_S:
            state, message = PartState.DOWN, f"has stood at {newest.position} for {still:.0f} s"
        elif newest.ever_moved:
            state, message = PartState.OK, f"at {newest.position}"
        else:
            state, message = PartState.UNKNOWN, f"at {newest.position}; not seen to move yet"
        return Part(name="rules", state=state, message=message)

    def _processes(self, rows: list[dict[str, Any]]) -> list[Part]:
        if not rows:
            return [
                Part(name="processes", state=PartState.UNKNOWN, message="no supervisor reports")
            ]
        return [self._process(row) for row in rows]

    def _process(self, row: dict[str, Any]) -> Part:
        state = _PROCESS_STATES.get(row["state"], PartState.UNKNOWN)
        message = row["message"] or row["state"]
        same_machine = self._records.dialect == "sqlite"
        if state is PartState.OK and same_machine and not _is_alive(row["pid"]):
            state, message = PartState.DOWN, f"process {row['pid']} is gone"
        return Part(name=row["name"], state=state, message=message)


def status_of(parts: list[Part]) -> Literal["ok", "degraded"]:
    """Return ``ok``, or ``degraded`` when a part is known not to work."""
    bad = any(part.state in (PartState.DOWN, PartState.DEGRADED) for part in parts)
    return "degraded" if bad else "ok"


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
