"""The trail of a batch through the logs: one id, from the outbox to the alert (docs/metrics.md).

A batch is ``{edge}/{epoch}/{lane}/{seq}``, the same text in every process. Lines that name
batches are written at the level debug, one for a range that moved together; so they cost
nothing until somebody asks for them with ``log.level: debug``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any


def batch_id(edge: str, epoch: str, lane: str, seq: int) -> str:
    """Return the id of a batch."""
    return f"{edge}/{epoch}/{lane}/{seq}"


class Trail:
    """Says of batches what became of them, if anybody wants to know.

    ``log`` is a structlog logger. Whether its level is debug is asked once: a question for
    every batch would cost more than all the rest that is said here.
    """

    def __init__(self, log: Any) -> None:
        self._log = log.bind()
        self.wanted: bool = self._log.is_enabled_for(logging.DEBUG)

    def tell(
        self, what: str, edge: str, epoch: str, lane: str, seqs: Iterable[int], **more: Any
    ) -> None:
        """Say it of some batches of a lane; each id is spelled out, to be searched for."""
        if self.wanted:
            batches = [batch_id(edge, epoch, lane, seq) for seq in seqs]
            if batches:
                self._log.debug(what, batches=batches, **more)


def opening(reason: dict[str, Any]) -> dict[str, Any]:
    """Return how the logs name the event that opened an alert, from the alert's reason.

    Its batch and its index in it, or its position in the log where it came without a batch.
    """
    event = reason.get("event")
    if not isinstance(event, dict):
        return {}
    if "edge" not in event:
        return {"pos": event.get("pos")}
    batch = batch_id(event["edge"], event["epoch"], event["lane"], event["seq"])
    return {"batch": batch, "index": event["index"]}
