"""Looks into the records for what people have decided, and lets it be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from core.contracts.errors import EstateError
from core.runtime.background import Background

log = structlog.get_logger(__name__)

#: How long it waits after a failure (real seconds).
_PAUSE_S = 5.0


class Clerk(Protocol):
    """Somebody with a kind of decision to carry out."""

    name: str

    def step(self) -> None:
        """Look once, and do what there is to do; raise EstateError to be called again later."""
        ...


class Desk:
    """Calls each clerk again and again, in one thread; none holds up another for long."""

    def __init__(self, clerks: Sequence[Clerk], every_s: float = 0.5) -> None:
        """It looks each ``every_s`` (real seconds)."""
        self._clerks = clerks
        self._every_s = every_s
        self._background = Background("desk", self._run)
        self.failures = 0
        self.trouble: dict[str, str] = {}
        """Why a clerk could not do its work the last time, by its name."""

    def start(self) -> None:
        """Start in the background."""
        self._background.start()

    def stop(self) -> None:
        """Stop; what is left is done after the next start."""
        self._background.stop()

    def step(self) -> None:
        """Call each clerk once; log the first failure and the recovery."""
        for clerk in self._clerks:
            try:
                clerk.step()
            except Exception as error:
                # Also a fault of our own must not end the others' work.
                self.failures += 1
                if clerk.name not in self.trouble:
                    expected = isinstance(error, EstateError)
                    log.warning(
                        "decisions wait", of=clerk.name, why=str(error), exc_info=not expected
                    )
                self.trouble[clerk.name] = str(error) or type(error).__name__
            else:
                if self.trouble.pop(clerk.name, None) is not None:
                    log.info("decisions are carried out again", of=clerk.name)

    def _run(self) -> None:
        while not self._background.stopping.wait(_PAUSE_S if self.trouble else self._every_s):
            self.step()
