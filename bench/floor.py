"""The bare floor: one process that receives, decodes and stores, and promises nothing.

Usage: python -m bench.floor PORT EVENTS FILE|URL. Stores into an SQLite file, or into an InfluxDB
over two connections. Prints "ready", then the seconds it took.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from core.contracts import topics
from core.contracts.batch import Batch, decode_batch
from core.contracts.codec import encode
from core.contracts.letters import offset_ns
from core.contracts.ports import Point
from core.runtime.settings import InfluxSettings
from core.storage.series.influx import LINES
from core.storage.series.influx_http import Influx
from core.storage.series.lineprotocol import line_of

_CONNECTIONS = 2


class _File:
    """An SQLite file without any durability."""

    def __init__(self, path: str) -> None:
        self._store = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._store.execute("PRAGMA journal_mode = OFF")
        self._store.execute("PRAGMA synchronous = OFF")
        self._store.execute("CREATE TABLE event (at INTEGER, device TEXT, kind TEXT, data BLOB)")

    def put(self, batch: Batch) -> None:
        rows = [(e.at, e.device, e.kind, encode(e.data)) for _, e in batch.events]
        self._store.execute("BEGIN")
        self._store.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
        self._store.execute("COMMIT")

    def finish(self) -> None:
        """Everything is there already."""


class _Influx:
    """An InfluxDB, written over two connections."""

    def __init__(self, url: str) -> None:
        self._influx = Influx(InfluxSettings(url=url))
        self._influx.open()
        self._influx.ensure(None)
        self._pool = ThreadPoolExecutor(_CONNECTIONS)
        self._lines: list[str] = []
        self._sent: list[Future[None]] = []

    def put(self, batch: Batch) -> None:
        shift = offset_ns(batch.lane, batch.seq)
        self._lines += [
            line_of(Point(event.at * 1_000_000 + shift + index, "bench", event))
            for index, event in batch.events
        ]
        if len(self._lines) >= LINES:
            self._send()

    def finish(self) -> None:
        """Send what is left and wait for all answers."""
        self._send()
        for sent in self._sent:
            sent.result()

    def _send(self) -> None:
        lines, self._lines = self._lines, []
        self._sent.append(self._pool.submit(self._influx.write, lines))


def main() -> None:
    """Receive until all events have been stored."""
    port, expected, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    store = _Influx(target) if target.startswith("http") else _File(target)
    done = threading.Event()
    count, began = 0, 0.0

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal count, began
        if not count:
            began = time.monotonic()
        batch = decode_batch(bytes(message.payload))
        store.put(batch)
        count += batch.size
        if count >= expected:
            done.set()

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="floor", protocol=paho.MQTTv5)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.subscribe(topics.ALL_BATCHES, qos=1)
    client.loop_start()
    time.sleep(0.3)
    print("ready", flush=True)
    if not done.wait(120):
        raise SystemExit(f"only {count} of {expected} events came")
    store.finish()
    print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
