"""What a restored installation must know: that it is another life of the same log.

Positions. A store that was not restored with the journal (an InfluxDB, say) has seen positions
that the restored journal will give again, to other entries; its cursor would skip those. So the
log goes on far above: no position is ever used twice. The first entry there is a tick.

Outboxes. They were copied before the journal, so the journal holds whatever had left them by
then, and some of what they still hold. Each is brought to what the journal says was committed,
as a receipt would have: nothing is sent twice, and nothing that the copy still has is lost.

Losses. What was receipted, or acknowledged, after the backup is gone, and nobody knows how much
it was: each edge and each device of plain topics gets a declared loss. Where an edge's outbox
lives on, the collector also finds the exact hole with that edge's next batch.

People. Sessions and sign-in links of the backup's time are ended (one may have been revoked
since), and the live sequence goes on above its earlier life, so that every client loads anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.contracts.events import Lane
from core.contracts.log import TICK
from core.contracts.outputs import LossOutput
from core.storage import sqlite
from core.storage.journal import Append, Journal, OnFull
from core.storage.records import Records, accounts, changes, projection

#: More entries than the busiest log writes in two years.
LEAP = 1_000_000_000_000
_FOR_EVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Stream:
    """An edge's lane, or a plain device's, as the restored journal knows it."""

    site: str
    sender: str
    epoch: str
    lane: str
    committed: int


def leap(path: Path, now_ms: int) -> int:
    """Let a log go on above every position of its earlier life; return the first new one.

    Its projections' marks are taken back: what they need is known again once they run.
    """
    db = sqlite.connect(path)
    try:
        with sqlite.transaction(db):
            db.execute("UPDATE meta SET value = value + ? WHERE name = 'pos'", (LEAP,))
            db.execute("UPDATE cursor SET pos = 0")
        (owner,) = db.execute("SELECT value FROM meta WHERE name = 'owner'").fetchone()
    finally:
        db.close()
    journal = Journal(path, owner=str(owner), budget=1 << 62, on_full=OnFull.REFUSE)
    journal.open()
    try:
        return journal.append(Append(TICK, b"", now_ms, events=0)).result()[0].pos
    finally:
        journal.close()


def streams(path: Path) -> list[Stream]:
    """Return every lane of the outside that a collector's journal knows."""
    db = sqlite.connect(path, readonly=True)
    try:
        rows = db.execute("SELECT name, last FROM lane ORDER BY id").fetchall()
    finally:
        db.close()
    return list(_streams(rows))


def _streams(rows: list[tuple[str, int]]) -> Iterator[Stream]:
    for name, last in rows:
        family, *parts = name.split("/")
        if family == "batch" and len(parts) == 4:
            yield Stream(parts[0], parts[1], parts[2], parts[3], last)
        elif family == "media" and len(parts) == 3:
            yield Stream(parts[0], parts[1], parts[2], str(Lane.MEDIA), last)
        elif family == "plain" and len(parts) == 2:
            yield Stream(parts[0], parts[1], "", "plain", last)


def reconcile_outbox(path: Path, edge: str, known: list[Stream]) -> int:
    """Take from an outbox what the journal has; return how many entries that were."""
    db = sqlite.connect(path)
    taken = 0
    try:
        with sqlite.transaction(db):
            (epoch,) = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
            for stream in known:
                if (stream.sender, stream.epoch) != (edge, epoch):
                    continue
                through, name = stream.committed, stream.lane
                db.execute(
                    "INSERT INTO lane (name, priority) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (name, Lane(name).priority),
                )
                taken += db.execute(
                    "DELETE FROM entry WHERE seq <= ? "
                    "AND lane = (SELECT id FROM lane WHERE name = ?)",
                    (through, name),
                ).rowcount
                db.execute(
                    "UPDATE lane SET last = max(last, ?1), sent = max(sent, ?1), "
                    "acknowledged = max(acknowledged, ?1) WHERE name = ?2",
                    (through, name),
                )
    finally:
        db.close()
    return taken


def declare(records: Records, log: str, position: int, known: list[Stream], now_ms: int) -> int:
    """Declare a possible loss of unknown count for everyone who was heard; return how many."""
    last = {(s.site, s.sender, s.lane == "plain"): s for s in known}  # the latest epoch of each
    outputs = [
        LossOutput(
            pos=position, index=index, at=now_ms, site=stream.site, edge=stream.sender,
            epoch=stream.epoch, lane="plain" if stream.lane == "plain" else "",
            first_seq=0, last_seq=0, events=None, reason="restored",
        )
        for index, stream in enumerate(last.values())
    ]  # fmt: skip
    with records.session() as session:
        changes.begin_again(session, LEAP)
        accounts.remove_expired(session, _FOR_EVER, attempts_before=0)
        projection.apply(session, outputs, now_ms, log=log)
    return len(outputs)
