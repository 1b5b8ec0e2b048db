"""From publish to live push: doors are forced beside a steady load, and the console listens."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

import httpx

from bench.wire import SITE
from core.contracts import topics
from core.contracts.batch import envelope, seal
from core.contracts.codec import encode, make_event
from core.contracts.events import Lane
from core.runtime.link import Link, LinkOptions
from core.runtime.settings import BrokerSettings

_EPOCH = "latency-epoch"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from publish to push, of ``count`` alerts at ``rate`` events/s."""

    count: int
    rate: float
    p50_ms: float
    p99_ms: float


class Listener:
    """A console: follows the live sequence and notes when each alert arrived."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._client.get("/sign-in", params={"token": token})
        self.arrived: dict[str, float] = {}
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self._client.stream("GET", "/api/v1/live") as response:
            response.raise_for_status()
            event = ""
            for line in response.iter_lines():
                now = time.time()
                if line.startswith("event:"):
                    event = line[6:].strip()
                    if event == "hello":
                        self.ready.set()
                elif line.startswith("data:") and event == "alert":
                    alert = json.loads(line[5:])
                    alert = alert.get("payload", alert)
                    self.arrived.setdefault(alert["device"], now)


def measure(
    port: int, edge: str, url: str, token: str, seconds: float, rate: int = 1_000
) -> Latency:
    """Publish so many events/s for some seconds, and force a door ten times a second."""
    listener = Listener(url, token)
    if not listener.ready.wait(10):
        raise TimeoutError("the live push does not greet")
    link = Link(BrokerSettings(port=port), LinkOptions("bench-latency"))
    link.start()
    link.wait_connected(5)
    published: dict[str, float] = {}
    began = time.monotonic()
    rounds, batches = int(seconds * 10), rate // 10 // 100
    for number in range(rounds):
        now = time.time_ns() // 1_000_000
        for seq in range(number * batches + 1, (number + 1) * batches + 1):
            _publish(link, edge, Lane.READING, seq, [_reading(edge, i, now) for i in range(100)])
        door = f"{edge}-door{number}"
        published[door] = time.time()
        forced = make_event("access.forced", device=door, at=now, seen=now, data={})
        _publish(link, edge, Lane.EVENT, number + 1, [encode(forced)])
        time.sleep(max(began + (number + 1) / 10 - time.monotonic(), 0))
    elapsed = time.monotonic() - began
    deadline = time.monotonic() + 10
    while len(listener.arrived) < rounds and time.monotonic() < deadline:
        time.sleep(0.05)
    link.stop()
    times = sorted(
        (listener.arrived[door] - at) * 1000
        for door, at in published.items()
        if door in listener.arrived
    )
    if len(times) < rounds:
        raise AssertionError(f"only {len(times)} of {rounds} alerts were pushed")
    return Latency(
        rounds,
        rounds * (batches * 100 + 1) / elapsed,
        times[len(times) // 2],
        times[int(len(times) * 0.99)],
    )


def _reading(edge: str, number: int, at: int) -> bytes:
    data = {"medium": "electricity", "power_w": 100.0 + number}
    return encode(
        make_event("meter.reading", device=f"{edge}-m{number % 50}", at=at, seen=at, data=data)
    )


def _publish(link: Link, edge: str, lane: Lane, seq: int, events: list[bytes]) -> None:
    sealed = seal(events, time.time_ns() // 1_000_000)
    payload = envelope(edge, _EPOCH, lane, seq, seq, sealed)
    link.publish(topics.batch(SITE, edge), payload)
