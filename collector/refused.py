"""The dead letters of what the rules leave out (ADR 0028)."""

from __future__ import annotations

from core.contracts.codec import Event, encode
from core.contracts.left_out import WHOLE
from core.contracts.letters import Family, Origin, offset_ns
from core.contracts.log import (
    ActivationEntry,
    BatchEntry,
    EventEntry,
    LeftOutEntry,
    LogEntry,
    MediaEntry,
    ReplayEntry,
    TickEntry,
    UnreadableEntry,
)
from core.storage.records.refusals import DeadLetter

#: What sources of letters begin with whose event the series store has, so that the audit knows.
SOURCE = "rules:"
#: Beyond every index of a batch: the series store may refuse the same event.
_BESIDE = 1_000
_KINDS: dict[type[LogEntry], str] = {
    LeftOutEntry: "left_out",
    TickEntry: "tick",
    ActivationEntry: "activation",
    MediaEntry: "media",
    ReplayEntry: "replay",
    UnreadableEntry: "unreadable",
}


def rules_letters(entry: LogEntry, index: int, reason: str, log_id: str) -> list[DeadLetter]:
    """Return the letters of one event of an entry, or of all of it (``WHOLE``).

    What holds no event has one letter, which can only be discarded.
    """
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        return [
            _letter(
                entry, index_of, event, reason, log_id,
                Origin(
                    Family.RULES, entry.at, entry.site, batch.edge, batch.epoch, batch.lane.value,
                    batch.seq, offset_ns=offset_ns(batch.lane, batch.seq, index_of),
                ),
            )
            for index_of, event in batch.events
            if index in (index_of, WHOLE)
        ]  # fmt: skip
    if isinstance(entry, EventEntry):
        origin = Origin(
            Family.RULES, entry.at, entry.site, entry.edge or "", seq=entry.seq,
            device=entry.event.device, offset_ns=entry.seq % 1000 * 1000,
        )  # fmt: skip
        return [_letter(entry, 0, entry.event, reason, log_id, origin)]
    raw = entry.replay.raw if isinstance(entry, ReplayEntry) else b""
    source = SOURCE + _KINDS[type(entry)]
    beside = _BESIDE + max(index, 0)
    return [DeadLetter(entry.pos, beside, entry.at, source, reason, raw=raw, log=log_id)]


def _letter(
    entry: BatchEntry | EventEntry, index: int, event: Event, reason: str, log_id: str,
    origin: Origin,
) -> DeadLetter:  # fmt: skip
    return DeadLetter(
        pos=entry.pos,
        index=_BESIDE + index,
        at=entry.at,
        source=SOURCE + event.kind,
        reason=reason,
        raw=encode(event),
        site=entry.site,
        log=log_id,
        origin=origin,
    )
