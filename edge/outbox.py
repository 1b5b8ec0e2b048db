"""The outbox: observations become events, are sealed into batches and committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from core.contracts.batch import MAX_EVENTS, MAX_MEDIA_BYTES, join, seal
from core.contracts.codec import encode, make_event
from core.contracts.errors import ContractError
from core.contracts.events import KINDS, Lane
from core.runtime.clock import Clock
from core.runtime.trail import Trail
from core.storage.journal import Append, Growth, Journal, OnFull, Tombstone

log = structlog.get_logger(__name__)

#: The byte budget of an edge's journal; seven days at 20 events/s fit.
JOURNAL_BYTES = 4 << 30
#: The least that a file may say: a picture and a sealed batch, twice, or the notes of all lanes.
LEAST_BYTES = 1 << 20
#: How long an event may wait for company before its batch is sealed (real seconds).
LINGER_S = 0.02
#: A batch is sealed at this size (bytes), well below the brokers' usual packet limit.
_SEAL_BYTES = 256 * 1024
#: Batches of a lane that may be in flight beyond the receipt.
WINDOW = 32
#: While nobody listens, a lane's last batch takes in what comes, up to so much: a week's backlog
#: of a quiet site is then drained in dense batches and not one event at a time.
GROWTH = Growth(join, most_bytes=16 * 1024, most_events=32)


def open_journal(
    path: Path,
    edge: str,
    budget: int,
    clock: Clock,
    on_failure: Callable[[BaseException], None] | None = None,
    on_evicted: Callable[[list[Tombstone]], None] = lambda _: None,
) -> Journal:
    """Open an edge's journal, which evicts heads over its budget and declares them.

    ``on_evicted`` hears of each eviction on the journal's thread, before its commit.
    """

    def note(tombstones: list[Tombstone]) -> Append:
        on_evicted(tombstones)
        return dropped(edge, tombstones, clock.now_ms())

    journal = Journal(
        path,
        owner=edge,
        budget=budget,
        on_full=OnFull.EVICT,
        note=note,
        window=WINDOW,
        on_failure=on_failure,
    )
    journal.open()
    return journal


def dropped(edge: str, tombstones: list[Tombstone], now: int) -> Append:
    """Encode tombstones as a batch of ``edge.dropped`` events in the event lane."""
    events = [
        encode(
            make_event(
                "edge.dropped",
                device=edge,
                at=now,
                seen=now,
                data={
                    "lane": stone.lane,
                    "first_seq": stone.first_seq,
                    "last_seq": stone.last_seq,
                    "events": stone.events,
                    "reason": stone.reason,
                },
            )
        )
        for stone in tombstones
    ]
    sealed = seal(events, now)
    return Append(Lane.EVENT, sealed, now, events=len(events), priority=Lane.EVENT.priority)


class Outbox:
    """Takes observations (a :class:`edge.driver.Sink`) and commits them in sealed batches.

    While ``heard`` says that the collector listens, what happens goes into the urgent lane and
    so past whatever waits; otherwise it joins what waits.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        on_commit: Callable[[], None],
        heard: Callable[[], bool] = lambda: True,
        *,
        edge: str,
    ) -> None:
        self._heard = heard
        self._edge = edge
        self._trail = Trail(log)
        self._journal = journal
        self._clock = clock
        self._on_commit = on_commit
        self._open: dict[Lane, _OpenBatch] = {}
        self.events = 0
        """Events that were committed since the start."""

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Take one observation; return when the journal has committed it.

        Raises ContractError when it breaks its kind's model, JournalError when it can't be kept.
        """
        seen = self._clock.now_ms()
        event = make_event(
            kind, device=device, at=seen if at is None else at, seen=seen, data=data, id=id
        )
        await self._add(KINDS[kind].lane, encode(event))

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Take one JPEG of at most 256 kB; return when the journal has committed it."""
        if len(jpeg) > MAX_MEDIA_BYTES or not jpeg.startswith(b"\xff\xd8"):
            raise ContractError(f"a snapshot is a JPEG of at most {MAX_MEDIA_BYTES} bytes")
        now = self._clock.now_ms()
        head = encode({"media": media_id, "device": device, "at": at, "sealed_at": now})
        await self._commit(
            Append(Lane.MEDIA, head + b"\n" + jpeg, now, priority=Lane.MEDIA.priority)
        )

    async def _add(self, lane: Lane, event: bytes) -> None:
        batch = self._open.get(lane)
        if batch is not None and (
            len(batch.events) >= MAX_EVENTS or batch.size + len(event) > _SEAL_BYTES
        ):
            self._seal(lane, batch)
            batch = None
        if batch is None:
            batch = _OpenBatch()
            self._open[lane] = batch
            asyncio.get_running_loop().call_later(LINGER_S, self._seal, lane, batch)
        batch.events.append(event)
        batch.size += len(event) + 1
        await asyncio.shield(batch.committed)

    def _seal(self, lane: Lane, batch: _OpenBatch) -> None:
        if self._open.get(lane) is not batch:
            return  # it was full before its time was over
        del self._open[lane]
        if lane is Lane.EVENT and self._heard():
            lane = Lane.URGENT
        now = self._clock.now_ms()
        append = Append(
            lane,
            seal(batch.events, now),
            now,
            events=len(batch.events),
            priority=lane.priority,
        )
        task = asyncio.ensure_future(self._commit(append))
        task.add_done_callback(batch.settle)

    async def _commit(self, append: Append) -> None:
        if append.lane == Lane.MEDIA:
            (placed,) = await asyncio.wrap_future(self._journal.append(append))
        else:
            placed = await asyncio.wrap_future(self._journal.extend(append, GROWTH))
        self.events += append.events
        self._trail.tell(
            "batch journalled", self._edge, self._journal.epoch, append.lane, [placed.seq],
            events=append.events,
        )  # fmt: skip
        self._on_commit()


class _OpenBatch:
    """A batch that still takes events; ``committed`` is done once all of them are durable."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.size = 0
        self.committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, task: asyncio.Task[None]) -> None:
        if self.committed.done():
            return
        if task.cancelled():
            self.committed.cancel()
        elif (error := task.exception()) is not None:
            self.committed.set_exception(error)
            # Nobody may be waiting any more (a driver that was stopped); that is no leak.
            self.committed.exception()
        else:
            self.committed.set_result(None)
