"""Writes down what a broker passes on."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from core.contracts.errors import EstateError
from core.runtime.clock import Clock
from core.runtime.link import Link, LinkOptions, Message
from core.runtime.settings import BrokerSettings
from simulators.recording.tape import Recorded, TapeWriter

#: Messages that may wait for the disk; beyond, the recording has a hole, which is counted.
_MOST_WAITING = 100_000
_FLUSH_S = 1.0


class Recording:
    """Subscribes and writes until it is stopped."""

    def __init__(
        self, broker: BrokerSettings, path: Path, clock: Clock, *, topic_filter: str = "#"
    ) -> None:
        self._path = path
        self._clock = clock
        self._waiting: queue.Queue[tuple[float, Message]] = queue.Queue(_MOST_WAITING)
        self._stopping = threading.Event()
        self._link = Link(broker, LinkOptions(client_id=f"record:{uuid.uuid4().hex[:8]}"))
        self._link.subscribe(topic_filter, self._on_message)
        self.seen = 0
        """Messages that have come."""
        self.missed = 0
        """Messages that came faster than the disk took them."""

    def stop(self) -> None:
        """Make :meth:`run` end."""
        self._stopping.set()

    def run(self, seconds: float | None = None, told: Callable[[int], None] | None = None) -> int:
        """Write for so many real seconds (None: until :meth:`stop`); return how many messages.

        Raises :class:`EstateError` when the broker cannot be reached or the file not written.
        """
        self._link.start()
        try:
            if not self._link.wait_connected(10):
                raise EstateError("the broker cannot be reached")
            with TapeWriter(self._path, self._clock.now_ms()) as tape:
                self._write(tape, seconds, told)
                return tape.messages
        except OSError as error:
            raise EstateError(f"{self._path}: {error}") from None
        finally:
            self._link.stop()

    def _write(
        self, tape: TapeWriter, seconds: float | None, told: Callable[[int], None] | None
    ) -> None:
        began = flushed = time.monotonic()
        first: float | None = None
        while not self._stopping.is_set():
            now = time.monotonic()
            if seconds is not None and now - began >= seconds:
                return
            if now - flushed >= _FLUSH_S:
                flushed = now
                tape.flush()
                if told is not None:
                    told(tape.messages)
            try:
                at, message = self._waiting.get(timeout=0.1)
            except queue.Empty:
                continue
            first = at if first is None else first
            tape.add(
                Recorded(
                    round((at - first) * 1000), message.topic, message.payload,
                    message.retained, tuple(message.properties),
                )
            )  # fmt: skip

    def _on_message(self, message: Message) -> None:
        self.seen += 1
        try:
            self._waiting.put_nowait((time.monotonic(), message))
        except queue.Full:
            self.missed += 1
