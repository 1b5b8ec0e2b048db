"""An edge without uplink for days, and the drain after it: size, rate, and how late "now" is.

Usage: python -m bench.outage [--days 7]. The outage is on a simulated clock and a real journal;
the drain is on a real broker, collector and API, while doors are forced and a console listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.latency import Listener
from bench.parts import broker, part, write_settings
from core.contracts.batch import seal
from core.contracts.events import Lane
from core.runtime import settings
from core.runtime.broker import free_port
from core.runtime.clock import ScaledClock
from core.runtime.settings import BrokerSettings
from core.storage.journal import Append, Journal
from core.storage.records import Records
from core.storage.series import open_reader
from dashboard_api.auth.service import issue_sign_in_link
from edge.outbox import GROWTH, JOURNAL_BYTES, Outbox, open_journal
from edge.uplink import Uplink
from simulators.scale.plan import SitePlan
from simulators.scale.traffic import SiteTraffic

EDGE, SITE = "outage-edge", "outage"
#: Readings, status and door and camera events of some 20 a second together.
PLAN = SitePlan(
    SITE,
    EDGE,
    tuple(f"m{n}" for n in range(720)),
    tuple(f"l{n}" for n in range(5)),
    tuple(f"d{n}" for n in range(40)),
    tuple(f"c{n}" for n in range(60)),
)
_DAY_S = 86_400
_UNDER_WAY = 2_000
#: A door is forced so often while the backlog is drained.
_FORCED_EVERY_S = 0.25
_FOREVER = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Outage:
    """What an outage came to, and its end."""

    events: int
    batches: int
    bytes: int
    file_bytes: int
    fill_s: float
    drain_s: float
    forced: int
    p50_ms: float
    p99_ms: float
    lost: int
    """Events that are neither stored nor declared."""

    @property
    def rate(self) -> float:
        """Return the events/s of the drain, from the birth's answer to the last receipt."""
        return self.events / self.drain_s

    def row(self, days: float) -> str:
        """Return the row of the benchmark's table."""
        return (
            f"| {days:g} days offline "
            f"| {self.events:,} events ({self.events / days / _DAY_S:.1f}/s) in "
            f"{self.batches:,} batches | {self.bytes / 2**30:.2f} GiB counted, "
            f"{self.file_bytes / 2**30:.2f} GiB on disk | drained at {self.rate:,.0f}/s "
            f"| device to push meanwhile p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms "
            f"({self.forced} doors) | lost {self.lost} |"
        )


def fill(journal: Journal, days: float, now_ms: int) -> int:
    """Journal the events of so many days before ``now_ms``, each as the outbox would."""
    journal.grow(allowed=True)
    traffic = SiteTraffic(PLAN, 7)
    waiting: deque[Future[Any]] = deque()
    events = 0
    seconds = round(days * _DAY_S)
    for second in range(seconds):
        at = now_ms - (seconds - second) * 1000
        traffic.second(at)
        interval = traffic.take()
        for lane, encoded in interval.events.items():
            for event in encoded:
                append = Append(lane, seal([event], at), at, priority=lane.priority)
                waiting.append(journal.extend(append, GROWTH))
        events += interval.counts.total()
        while len(waiting) > _UNDER_WAY:
            waiting.popleft().result()
    while waiting:
        waiting.popleft().result()
    return events


def topology(doors: int) -> dict[str, Any]:
    """Return the site with its devices, and a door for each that will be forced."""
    name = {"zh": "测", "en": "bench"}
    families = (
        ("meter", PLAN.meters), ("elevator", PLAN.lifts), ("camera", PLAN.cameras),
        ("door", (*PLAN.doors, *(f"now-{n}" for n in range(doors)))),
    )  # fmt: skip
    return {
        "datum": "wgs84",
        "nodes": [
            {"id": "street", "level": "street", "name": name},
            {"id": SITE, "level": "site", "name": name, "parent": "street",
             "site_kind": "residential_estate"},
        ],
        "edges": [{"id": EDGE, "site": SITE, "name": name}],
        "devices": [
            {"id": device, "family": family, "name": name, "node": SITE, "edge": EDGE,
             "expect_s": 3600}
            for family, devices in families
            for device in devices
        ],
    }  # fmt: skip


def measure(days: float, folder: Path) -> Outage:
    """Fill a journal, then drain it into a collector; return the figures."""
    clock = ScaledClock()
    journal = open_journal(folder / "outbox.sqlite", EDGE, JOURNAL_BYTES, clock)
    began = time.monotonic()
    events = fill(journal, days, clock.now_ms())
    fill_s = time.monotonic() - began
    infos = journal.lanes().values()
    batches, size = sum(info.entries for info in infos), journal.size
    file_bytes = sum(path.stat().st_size for path in folder.glob("outbox.sqlite*"))
    doors = 20_000
    (folder / "topology.json").write_text(json.dumps(topology(doors)))
    with broker(folder) as (port, _):
        api_port = free_port()
        file = write_settings(folder, port, api_port)
        (folder / "data").mkdir()
        options = ("--settings", str(file))
        place = ("--topology", str(folder / "topology.json"))
        with part(folder, "collector", *options, *place), part(folder, "api", *options):
            listener = Listener(*_signed_in(file, api_port))
            if not listener.ready.wait(30):
                raise SystemExit("bench: the live push does not greet")
            drained = asyncio.run(_drain(journal, port, clock, doors))
            lost = events + len(drained.forced) - _stored(file)
    journal.close()
    times = sorted(
        (listener.arrived[door] - at) * 1000
        for door, at in drained.forced.items()
        if door in listener.arrived
    )
    if len(times) < len(drained.forced):
        raise SystemExit(f"bench: {len(drained.forced) - len(times)} alerts were not pushed")
    return Outage(
        events, batches, size, file_bytes, fill_s, drained.seconds, len(times),
        times[len(times) // 2], times[int(len(times) * 0.99)], lost,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Drained:
    seconds: float
    forced: dict[str, float]
    """Door -> when it was forced (s since the epoch)."""


async def _drain(journal: Journal, port: int, clock: ScaledClock, doors: int) -> _Drained:
    """Send everything; meanwhile force a door again and again, as a driver would."""

    def fresh() -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    uplink = Uplink(
        site=SITE, edge=EDGE, journal=journal, broker=BrokerSettings(port=port), clock=clock,
        version="bench", fresh_state=fresh,
    )  # fmt: skip
    outbox = Outbox(journal, clock, uplink.wake, lambda: uplink.heard, edge=EDGE)
    uplink.start()
    try:
        while not uplink.online:  # noqa: ASYNC110 (the uplink's thread decides)
            await asyncio.sleep(0.01)
        began = time.monotonic()
        forced: dict[str, float] = {}
        ended: float | None = None
        while ended is None or time.monotonic() - ended < 1:
            door = f"now-{len(forced) % doors}"
            forced[door] = time.time()
            await outbox.emit("access.forced", door, {})
            await asyncio.sleep(_FORCED_EVERY_S)
            if ended is None and await asyncio.to_thread(_is_drained, journal):
                ended = time.monotonic()
        return _Drained(ended - began, forced)
    finally:
        await asyncio.to_thread(uplink.stop)


def _is_drained(journal: Journal) -> bool:
    waiting = (Lane.EVENT, Lane.STATE, Lane.READING)
    return all(b.oldest > b.last for lane, b in journal.bounds().items() if lane in waiting)


def _signed_in(file: Path, api_port: int) -> tuple[str, str]:
    url = f"http://127.0.0.1:{api_port}"
    deadline = time.monotonic() + 60
    while "listens" not in (file.parent / "api.log").read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise SystemExit("bench: the API did not start")
        time.sleep(0.1)
    records = Records(settings.load(file).records_url)
    records.open()
    try:
        return url, issue_sign_in_link(records)
    finally:
        records.close()


def _stored(file: Path) -> int:
    """Return how many events of devices are stored, once no more come."""
    reader = open_reader(settings.load(file))
    try:
        count, since = -1, time.monotonic()
        while time.monotonic() - since < 15:
            counts = reader.counts(0, _FOREVER)
            found = sum(n for kind, n in counts.items() if not kind.startswith("edge."))
            if found > count:
                count, since = found, time.monotonic()
            time.sleep(0.5)
        return count
    finally:
        reader.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.outage", description=__doc__)
    parser.add_argument("--days", type=float, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(options.days, Path(name))
    print(f"filled in {found.fill_s:.0f} s")
    print(found.row(options.days))


if __name__ == "__main__":
    main()
