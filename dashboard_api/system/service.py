"""How the parts are: asked now and then, kept for a moment, and honest about what is unknown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import anyio.to_thread

from core.contracts.errors import StoreUnavailableError
from core.storage.records import Records, changes, processes
from dashboard_api.live.hub import LiveHub
from dashboard_api.series.service import SeriesService
from dashboard_api.system.schemas import Part, PartState, SeriesState
from dashboard_api.system.standstill import Standing, Standstills

#: Real seconds for which an answer is kept, so that asking often costs nothing.
_KEPT_S = 1.0
#: Seconds between two looks of the watch.
_WATCH_S = 5.0
_PROCESS_STATES = {
    "running": PartState.OK,
    "stopped": PartState.DOWN,
    "down": PartState.DOWN,
}


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
        now_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._series = series
        self._hub = hub
        self._series_kind = series_kind
        self._broker_connected = broker_connected
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._standstills = Standstills(monotonic, now_ms)
        self._still: dict[str, int] = {}
        self._told: frozenset[str] | None = None
        self._kept: tuple[float, list[Part]] | None = None
        self._lock = threading.Lock()

    def parts(self) -> list[Part]:
        """Return every part, at most a second old."""
        with self._lock:
            now = self._monotonic()
            if self._kept is None or now - self._kept[0] >= _KEPT_S:
                self._kept = (now, self._look())
            return self._kept[1]

    def still(self) -> dict[str, int]:
        """Return each site whose rules stand still, and when (ms of the run) they last moved."""
        self.parts()
        return self._still

    def tell(self) -> None:
        """Put it into the live sequence when other sites stand still than before."""
        still = self.still()
        if self._told is None:
            with self._records.reading() as session:
                last = changes.last_of(session, "standstill")
            self._told = frozenset(() if last is None else last["sites"])
        if self._told == still.keys():
            return
        with self._records.session() as session:
            changes.append_change(session, "standstill", "rules", {"sites": still}, self._now_ms())
        self._told = frozenset(still)

    def forget(self) -> None:
        """Make the next question look again."""
        with self._lock:
            self._kept = None

    async def watch(self) -> None:
        """Look every few seconds, so that what stands still is seen to stand still."""
        while True:
            with contextlib.suppress(StoreUnavailableError):  # a part of its own says so
                await anyio.to_thread.run_sync(self.tell)
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

    def _look(self) -> list[Part]:
        series = self.series_state()
        parts = [
            Part(name="series", state=series.state, message=series.message or series.kind),
            self._live(),
            self._broker(),
        ]
        try:
            with self._records.reading() as session:
                rows = processes.list_processes(session)
                standings = self._standstills.look(session)
                self._still = {
                    site: each.since for each in standings if each.is_still for site in each.sites
                }
        except StoreUnavailableError:
            records = Part(
                name="records", state=PartState.DOWN, message="the database does not answer"
            )
            return [records, *parts]
        records = Part(name="records", state=PartState.OK, message=self._records.dialect)
        return [
            records,
            *parts,
            self._rules(standings),
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

    def _rules(self, standings: list[Standing]) -> Part:
        """Tell whether the rules of all sites move."""
        still = [standing for standing in standings if standing.is_still]
        if not standings:
            return Part(
                name="rules", state=PartState.UNKNOWN, message="no projection has written yet"
            )
        if still:
            where = [
                (f"{', '.join(each.sites)}: " if len(standings) > 1 else "")
                + f"has stood at {each.position} for {each.still_s:.0f} s"
                for each in still
            ]
            return Part(name="rules", state=PartState.DOWN, message="; ".join(where))
        at = ", ".join(str(each.position) for each in standings)
        if all(each.ever_moved for each in standings):
            return Part(name="rules", state=PartState.OK, message=f"at {at}")
        return Part(name="rules", state=PartState.UNKNOWN, message=f"at {at}; not seen to move yet")

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
