"""Plays a street's hours: by the run's clock, or as fast as the collector takes them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.contracts.errors import EstateError
from core.runtime.clock import Clock
from core.runtime.settings import BrokerSettings
from simulators.scale.plan import StreetPlan
from simulators.scale.sender import Fleet
from simulators.scale.traffic import SiteTraffic

#: Events wait so long (s of run time) for company before their batch is sealed.
LINGER_S = 5
#: So many unreceipted batches an edge make the simulator wait: what a street produces would
#: otherwise fill this process's memory when the collector is away.
MOST_HELD = 400
#: Flat out, an edge has so many batches under way.
_FLAT_OUT_HELD = 48
_PAUSE_S = 0.005


@dataclass(slots=True)
class Played:
    """What was sent: events by kind, the run time they cover, and how it went."""

    counts: Counter[str] = field(default_factory=Counter)
    first_ms: int = 0
    last_ms: int = 0
    real_s: float = 0.0
    behind_s: float = 0.0
    """The greatest delay (real time) behind the run's clock."""

    @property
    def events(self) -> int:
        """Return the number of events."""
        return sum(self.counts.values())

    def write(self, path: Path) -> None:
        """Write it as JSON for whoever compares it with what is stored."""
        body = {
            "events": self.events, "counts": dict(self.counts), "first_ms": self.first_ms,
            "last_ms": self.last_ms, "real_s": self.real_s, "behind_s": self.behind_s,
        }  # fmt: skip
        path.write_text(json.dumps(body, indent=2), encoding="utf-8")


class Street:
    """Drives the traffic of all sites into the fleet."""

    def __init__(
        self,
        plan: StreetPlan,
        broker: BrokerSettings,
        clock: Clock,
        *,
        seed: int = 1,
        progress: Callable[[Played, int], None] = lambda _played, _held: None,
    ) -> None:
        self._clock = clock
        self._traffic = [SiteTraffic(site, seed) for site in plan.sites]
        self._fleet = Fleet(broker, [(site.site, site.edge) for site in plan.sites])
        self._progress = progress
        self._stopping = threading.Event()
        self._told = 0.0
        self.played = Played()

    def stop(self) -> None:
        """Make :meth:`play` end early; what has begun is still sent."""
        self._stopping.set()

    def play(self, seconds: int, *, flat_out: bool = False, drain_s: float = 600) -> Played:
        """Send so many seconds of run time and wait until all of it is receipted.

        It begins when a collector has answered. ``flat_out`` does not wait for the clock: the
        events then lie in the past ``seconds``. Raises :class:`EstateError` when receipts do not
        come for ``drain_s`` real seconds.
        """
        played, clock = self.played, self._clock
        speed = getattr(clock, "speed", 1.0)
        self._fleet.start()
        try:
            self._await_collector(drain_s)
            start = (clock.now_ms() // 1000 + 1) * 1000 - (seconds * 1000 if flat_out else 0)
            played.first_ms = played.last_ms = start
            began = time.monotonic()
            for second in range(seconds):
                at = start + second * 1000
                while not self._stopping.is_set() and self._must_wait(at, flat_out=flat_out):
                    self._step()
                    time.sleep(_PAUSE_S)
                if self._stopping.is_set():
                    break
                for traffic in self._traffic:
                    traffic.second(at)
                played.last_ms = at + 999
                if not flat_out:
                    late_s = (clock.now_ms() - at - 1000) / 1000 / speed
                    played.behind_s = max(played.behind_s, late_s)
                if second % LINGER_S == LINGER_S - 1:
                    self._seal(at + 1000)
                self._step()
            self._seal(played.last_ms)
            self._drain(drain_s)
            played.real_s = time.monotonic() - began
        finally:
            self._fleet.stop(clock.now_ms())
        self._progress(played, self._fleet.held)
        return played

    def restart(self, edge: str) -> None:
        """Let an edge be born again, as after a crash that left its journal: from the receipt on.

        To be called from ``progress``, that is, from the thread that plays.
        """
        self._fleet.senders[edge].begin_again()

    def _step(self) -> None:
        """Send what is due; about once a second tell how it goes."""
        self._fleet.step(self._clock.now_ms())
        if time.monotonic() - self._told > 1:
            self._told = time.monotonic()
            self._progress(self.played, self._fleet.held)

    def _await_collector(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while not self._fleet.answered and not self._stopping.is_set():
            self._step()
            if time.monotonic() > deadline:
                raise EstateError(f"no collector answered in {patience_s:g} s")
            time.sleep(_PAUSE_S)

    def _must_wait(self, at: int, *, flat_out: bool) -> bool:
        if flat_out:
            return self._fleet.held > _FLAT_OUT_HELD * len(self._traffic)
        if self._clock.now_ms() < at + 1000:
            return True
        return self._fleet.held > MOST_HELD * len(self._traffic)

    def _seal(self, now: int) -> None:
        for traffic in self._traffic:
            interval = traffic.take()
            sender = self._fleet.senders[traffic.plan.edge]
            for lane, events in interval.events.items():
                if events:
                    sender.add(lane, events, now)
            self.played.counts.update(interval.counts)

    def _drain(self, drain_s: float) -> None:
        least, since = self._fleet.held, time.monotonic()
        while held := self._fleet.held:
            self._step()
            if held < least:
                least, since = held, time.monotonic()
            if time.monotonic() - since > drain_s:
                raise EstateError(f"no receipt in {drain_s:g} s; {held} batches are not committed")
            time.sleep(_PAUSE_S)
