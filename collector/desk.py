"""Looks into the records for what people have decided, and lets it be carried out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import structlog

from core.contracts.errors import EstateError

log = structlog.get_logger(__name__)

#: How often it looks, and how long it waits after a failure (real seconds).
_LOOK_S = 0.5
_PAUSE_S = 5.0


class Clerk(Protocol):
    """Somebody with a kind of decision to carry out."""

    def step(self) -> None:
        """Look once, and do what there is to do; raise EstateError to be called again later."""
        ...


class Desk:
    """Calls each clerk again and again, in one thread; none holds up another for long."""

    def __init__(self, clerks: Sequence[Clerk]) -> None:
        self._clerks = clerks
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failures = 0

    def start(self) -> None:
        """Start in the background."""
        self._thread = threading.Thread(target=self._run, name="desk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is left is done after the next start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def _run(self) -> None:
        pause = _LOOK_S
        while not self._stopping.wait(pause):
            pause = _LOOK_S
            for clerk in self._clerks:
                try:
                    clerk.step()
                except EstateError as error:
                    pause = _PAUSE_S
                    self.failures += 1
                    log.warning("a decision waits", why=str(error))
                except Exception:
                    # A fault of our own must not end the others' work; it is seen in the log.
                    pause = _PAUSE_S
                    self.failures += 1
                    log.exception("a decision could not be carried out")
