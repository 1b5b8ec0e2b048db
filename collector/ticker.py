"""Journals a tick each second of the run, so that the rules' time is in the log (ADR 0004)."""

from __future__ import annotations

import structlog

from core.contracts.errors import JournalError
from core.contracts.log import TICK
from core.runtime.background import Background
from core.runtime.clock import Clock
from core.storage.journal import Append, Log

log = structlog.get_logger(__name__)

_SECOND = 1.0
#: However fast the run's clock is, no more ticks than this (real seconds apart).
_LEAST_S = 0.02


class Ticker:
    """Appends ticks and, now and then, lets the journal drop what nobody needs any more."""

    def __init__(self, journal: Log, clock: Clock, retention_h: float) -> None:
        self._journal = journal
        self._clock = clock
        self._retention_ms = int(retention_h * 3_600_000)
        self._background = Background("ticker", self._run)
        self.ticks = 0
        self.refused = 0

    def start(self) -> None:
        """Start in the background."""
        self._background.start()

    def stop(self) -> None:
        """Stop."""
        self._background.stop()

    def _run(self) -> None:
        number = 0
        while not self._background.stopping.wait(_LEAST_S) and not self._clock.wait(
            self._background.stopping, _SECOND
        ):
            now = self._clock.now_ms()
            error = self._journal.append(Append(TICK, b"", now, events=0)).exception()
            if error is not None:
                self.refused += 1
                if self.refused == 1:
                    log.error("the log takes no ticks", why=str(error))
            else:
                self.ticks += 1
            number += 1
            if number % 30 == 0 or error is not None:
                try:
                    self._retain(now)
                except JournalError as refused:
                    log.warning("the log was not trimmed", why=str(refused))

    def _retain(self, now: int) -> None:
        """Drop what is old; what every projector has stored, sooner when space runs short."""
        short = self._journal.size > 0.8 * self._journal.budget
        since = now + 1 if short else now - self._retention_ms
        while self._journal.retain(since).result() >= 5_000:
            continue
