"""What the collector's logs say of the way of a batch: where it was journalled, what it raised."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog

from collector.streams import StreamKey
from core.contracts.outputs import AlertOutput, Output
from core.runtime.trail import Trail, opening

log = structlog.get_logger(__name__)

#: Alerts of one write that get a line each; a flood is summed up.
_MOST_LINES = 50


class JournalTrail:
    """Gathers what became durable together; used by one thread."""

    def __init__(self) -> None:
        self._trail = Trail(log)
        self._noted: dict[StreamKey, list[tuple[int, int]]] = {}

    def note(self, key: StreamKey, seq: int, pos: int) -> None:
        """Note that a batch is durable, at a position of the log."""
        if self._trail.wanted:
            self._noted.setdefault(key, []).append((seq, pos))

    def tell(self) -> None:
        """Say what was noted: a line for each lane, with the positions in the log."""
        if not self._noted:
            return
        noted, self._noted = self._noted, {}
        for key, found in noted.items():
            seqs, positions = zip(*found, strict=True)
            self._trail.tell(
                "batches journalled", key.edge, key.epoch, key.lane, seqs,
                site=key.site, first_pos=min(positions), last_pos=max(positions),
            )  # fmt: skip


def tell_alerts(outputs: Sequence[Output]) -> None:
    """Say of each alert of a write what it did and which event opened it.

    The opening event is named by its batch and its index in it, or by its position in the log
    where it came without a batch. Of a flood the first are told, and how many more there were;
    with debug, all.
    """
    alerts = [output for output in outputs if isinstance(output, AlertOutput)]
    most = len(alerts) if log.is_enabled_for(logging.DEBUG) else _MOST_LINES
    for output in alerts[:most]:
        alert = output.alert
        log.info(
            "alert", step=output.step.value, alert=alert.id, revision=alert.revision,
            rule=alert.rule, key=alert.key, site=alert.site, colour=alert.colour.value,
            **opening(alert.reason),
        )  # fmt: skip
    if len(alerts) > most:
        log.info("and more alerts", more=len(alerts) - most)
