"""Projections of the log: idempotent, cursor stored with the output, rebuildable (ADR 0003)."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import structlog

from collector.feed import Chunk, Feed
from core.contracts.errors import EstateError

log = structlog.get_logger(__name__)

_WAIT_S = 0.5
_BACKOFF_S = (0.2, 10.0)
#: The journal hears of a projector's progress this often; its own store knows at once.
_TELL_S = 2.0
_DRAIN_S = 1.0


class Projection(Protocol):
    """One projection of the log."""

    name: str

    def open(self) -> int:
        """Open the store and return the position to go on from."""
        ...

    def apply(self, chunk: Chunk) -> None:
        """Store a chunk and its position together; raise RetryableError to be called again."""
        ...

    def needed_after(self) -> int:
        """Return the position after which the log is still needed to start anew."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Projector:
    """Runs one projection in a thread of its own, so that none holds up another.

    A store that is down stops its projector only; the log waits, and so do no receipts.
    """

    def __init__(self, projection: Projection, feed: Feed) -> None:
        self._projection = projection
        self._feed = feed
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.position = 0
        self.failures = 0
        self.trouble: str | None = None
        """Why the projector stands still, or None while it moves."""

    @property
    def name(self) -> str:
        """Return the projection's name."""
        return self._projection.name

    def start(self) -> None:
        """Start in the background; the store may be down."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fold what the log holds, for as long as ``_DRAIN_S`` and only while all is well; stop.

        What is left is folded after the next start.
        """
        deadline = time.monotonic() + _DRAIN_S
        while (
            self.position < self._feed.end
            and self.trouble is None
            and self._thread is not None
            and self._thread.is_alive()
            and time.monotonic() < deadline
        ):
            self._stopping.wait(0.02)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._feed.open()
                if self._until_done(self._open):
                    self._work()
            except Exception as error:
                # A fault of our own: start again from what is stored, and let it be seen.
                log.exception("projector failed", projector=self.name)
                self.failures += 1
                self.trouble = f"{type(error).__name__}: {error}"
                self._stopping.wait(_BACKOFF_S[1])
            finally:
                self._projection.close()
                self._feed.close()

    def _open(self) -> None:
        self.position = self._projection.open()

    def _work(self) -> None:
        told, told_at = self._projection.needed_after(), time.monotonic()
        self._feed.passed(self.name, told)
        while not self._stopping.is_set():
            chunk = self._feed.next(self.position, _WAIT_S)
            if chunk is not None:
                if not self._until_done(lambda chunk=chunk: self._projection.apply(chunk)):
                    return
                self.position = chunk.position
            if time.monotonic() - told_at > _TELL_S:
                needed, told_at = self._projection.needed_after(), time.monotonic()
                if needed > told:
                    self._feed.passed(self.name, needed)
                    told = needed

    def _until_done(self, action: _Action) -> bool:
        """Try until it works or we are stopped; log the first failure and the recovery."""
        wait = _BACKOFF_S[0]
        while not self._stopping.is_set():
            try:
                action()
            except EstateError as error:  # also what needs a person: it may be mended meanwhile
                self.failures += 1
                if self.trouble is None:
                    log.warning("projector stands still", projector=self.name, why=str(error))
                self.trouble = str(error)
                self._stopping.wait(wait)
                wait = min(wait * 2, _BACKOFF_S[1])
            else:
                if self.trouble is not None and action != self._open:
                    log.info("projector goes on", projector=self.name)
                    self.trouble = None
                return True
        return False


class _Action(Protocol):
    def __call__(self) -> None: ...
