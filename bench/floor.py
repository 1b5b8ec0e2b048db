"""The bare floor: one process that receives, decodes and inserts, and promises nothing.

Usage: python -m bench.floor PORT EVENTS FILE. Prints "ready", then the seconds it took.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from core.contracts import topics
from core.contracts.batch import decode_batch
from core.contracts.codec import encode


def main() -> None:
    """Receive until all events have been inserted."""
    port, expected, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    store = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    store.execute("PRAGMA journal_mode = OFF")
    store.execute("PRAGMA synchronous = OFF")
    store.execute("CREATE TABLE event (at INTEGER, device TEXT, kind TEXT, data BLOB)")
    done = threading.Event()
    count, began = 0, 0.0

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal count, began
        if not count:
            began = time.monotonic()
        batch = decode_batch(bytes(message.payload))
        rows = [(e.at, e.device, e.kind, encode(e.data)) for _, e in batch.events]
        store.execute("BEGIN")
        store.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)
        store.execute("COMMIT")
        count += len(rows)
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
    print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
