"""Reading an entry of the log around what crashes its readers; deterministic, given the marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from core.contracts.batch import MAX_EVENTS, MAX_RAW_BYTES, Reject, decode_by_event
from core.contracts.errors import ContractError
from core.contracts.left_out import EVERY, WHOLE, Before, LeftOut, Stage, Watched
from core.contracts.letters import REPLAY_BODY, Contents
from core.contracts.log import (
    BATCH,
    REPLAY,
    BatchEntry,
    LeftOutEntry,
    LogEntry,
    ReplayEntry,
    TickEntry,
    Unreadable,
    UnreadableEntry,
    decode_entry,
)


def read_around(
    lane: str, pos: int, seq: int, at: int, body: bytes, left_out: Sequence[LeftOut],
    before: Before | None = None,
) -> LogEntry:  # fmt: skip
    """Decode an entry as :func:`decode_entry` does, but for what is left out of it.

    What crashed its reading is refused like what breaks the contract. What crashed its use (an
    event, a timer of a tick) is gone from what is returned, a :class:`LeftOutEntry` if that is all
    of it. ``before`` hears of each event before it is read, and again before it is used.
    """
    crashed = {mark.index: mark.reason for mark in left_out if mark.stage is Stage.READ}
    if WHOLE in crashed:
        return _unread(lane, pos, seq, at, body, crashed[WHOLE])
    if EVERY in crashed:
        crashed = _every(crashed[EVERY]) | crashed
    entry: LogEntry | None = None
    if lane.startswith(f"{BATCH}/") and (crashed or before is not None):
        entry = _by_event(lane, pos, at, body, crashed, before)
    if entry is None:
        entry = decode_entry(lane, pos, seq, at, body)
    return _without(entry, {mark.index for mark in left_out if mark.stage is Stage.USE}, before)


def read_refused(
    lane: str, pos: int, seq: int, at: int, body: bytes, index: int, reason: str
) -> LogEntry:
    """Return an entry with nothing read of it but what is refused: one event, every one, or all."""
    if index != WHOLE:
        found = _by_event(lane, pos, at, body, _every(reason), None)
        if found is not None:
            rejects = [r for r in found.batch.rejects if index in (r.index, EVERY)]
            return replace(found, batch=replace(found.batch, rejects=rejects))
    return _unread(lane, pos, seq, at, body, reason)


def _every(reason: str) -> dict[int, str]:
    return dict.fromkeys(range(MAX_EVENTS), reason)


def _by_event(
    lane: str, pos: int, at: int, body: bytes, crashed: Mapping[int, str], before: Before | None
) -> BatchEntry | None:
    def reading(index: int) -> None:
        if before is not None:
            before(Stage.READ, index)

    try:
        batch = decode_by_event(body, crashed, reading)
    except ContractError:
        return None  # refused as a whole, which whoever decodes it whole puts into words
    return BatchEntry(pos, at, lane.split("/")[1], batch)


def _without(entry: LogEntry, indices: set[int], before: Before | None) -> LogEntry:
    if isinstance(entry, ReplayEntry) and WHOLE in indices:
        # Still the place at which the letter is noted as replayed.
        return replace(entry, contents=Contents(entry.contents.site))
    if WHOLE in indices:
        return LeftOutEntry(entry.pos, entry.at, entry)
    if isinstance(entry, BatchEntry) and (indices or before is not None):
        events = [item for item in entry.batch.events if item[0] not in indices]
        if before is not None:
            events = Watched(events, before)
        left_out = len(entry.batch.events) - len(events)
        return replace(entry, batch=replace(entry.batch, events=events), left_out=left_out)
    if isinstance(entry, TickEntry) and (indices or before is not None):
        return replace(entry, gate=_gate(indices, before))
    return entry


def _gate(indices: set[int], before: Before | None) -> Callable[[int], bool]:
    def may_run(number: int) -> bool:
        if number in indices:
            return False
        if before is not None:
            before(Stage.USE, number)
        return True

    return may_run


def _unread(lane: str, pos: int, seq: int, at: int, body: bytes, reason: str) -> LogEntry:
    if lane == REPLAY:
        replay = REPLAY_BODY.decode(body)
        reject = Reject(0, reason, "", replay.raw)
        contents = Contents(replay.origin.site, rejects=[(replay.origin, reject)])
        return ReplayEntry(pos, at, replay, contents)
    return UnreadableEntry(pos, at, Unreadable(lane, reason, body[:MAX_RAW_BYTES]), seq)
