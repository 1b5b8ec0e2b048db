"""Declared losses: what an edge or the collector says will never come."""

from __future__ import annotations

from core.contracts.codec import Event
from core.contracts.outputs import LossOutput


def loss_of(
    event: Event, *, pos: int, index: int, at: int, site: str, edge: str, epoch: str
) -> LossOutput | None:
    """Return the loss that an event declares, or None when it declares none."""
    data = event.data
    lane, first, last = "", 0, 0
    events: int | None = None
    if event.kind == "edge.dropped":
        lane, first, last = data.lane, data.first_seq, data.last_seq
        events, reason = data.events, data.reason
    elif event.kind == "edge.hole":
        lane, first, last, reason = data.lane, data.first_seq, data.last_seq, "hole"
    elif event.kind == "edge.epoch_abandoned":
        reason = "epoch_abandoned"
    else:
        return None
    epoch = getattr(data, "epoch", epoch)
    return LossOutput(pos, index, at, site, edge, epoch, lane, first, last, events, reason)
