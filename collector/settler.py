"""Looks again and again how far the log is stored, and has it settled."""

from __future__ import annotations

import structlog

from collector.holding import Holding
from collector.ingest import Ingest
from collector.rules_projection import RulesProjection
from core.contracts.errors import EstateError
from core.runtime.background import Background
from core.storage.journal import Log

log = structlog.get_logger(__name__)

_EVERY_S = 1.0


class Settler:
    """Settles what every projection has stored, in a thread of its own."""

    def __init__(self, journal: Log, holding: Holding, ingest: Ingest) -> None:
        self._journal = journal
        self._holding = holding
        self._ingest = ingest
        self._background = Background("settler", self._run)
        self._trouble = False

    def start(self) -> None:
        """Start in the background."""
        self._background.start()

    def stop(self) -> None:
        """Settle once more and stop; what is not settled the edges have."""
        if self._background.stop():
            self._step(is_last=True)

    def _run(self) -> None:
        while not self._background.stopping.wait(_EVERY_S):
            self._step()

    def _step(self, *, is_last: bool = False) -> None:
        try:
            if is_last:
                # What the projections told last is taken before this, in its order.
                self._journal.advance(RulesProjection.name, 0).result()
            stored = min(self._journal.cursors().values(), default=0)
            if told := self._holding.settle(stored):
                self._ingest.on_stored(told)
            if is_last:
                self._holding.end(stored, self._journal.position)
        except EstateError as error:
            if not self._trouble:
                log.warning("not settled", site=self._holding.tenure.site, why=str(error))
            self._trouble = True
        else:
            self._trouble = False
