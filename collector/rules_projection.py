"""The rules projection: the engine's fold over the log, and what it says, in the records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog
from sqlalchemy.orm import Session

from collector.feed import FOR_RULES, Chunk
from collector.holding import Holding
from collector.refused import rules_letters
from collector.tally import tally
from collector.tenure import steady_letters, steady_outputs
from collector.trail import tell_alerts
from core.contracts import log as logs
from core.contracts.errors import EstateError
from core.contracts.ledger import line_of, received_of
from core.contracts.log import (
    BatchEntry,
    EventEntry,
    LeftOutEntry,
    LogEntry,
    ReplayEntry,
    UnreadableEntry,
)
from core.contracts.outputs import AlertOutput, Output, TopologyOutput
from core.runtime.clock import Clock
from core.storage.records import Records, letters, projection, refusals, tenures
from core.storage.records.ledger import Witness
from rules.engine import Engine

log = structlog.get_logger(__name__)

_Replayed = tuple[int, letters.Replayed]
_Pending = tuple[list[Output], list[refusals.DeadLetter], list[_Replayed]]
#: The engine's state is kept this often (real seconds); a restart replays what came after.
_SNAPSHOT_S = 20.0
#: The same where another collector may go on from it, for which the edges keep what came after.
_SHARED_SNAPSHOT_S = 5.0


class RulesProjection:
    """Folds the log with the rule engine; outputs, dead letters and cursor go in together.

    Cursors are named after the log's identity, so that a new journal starts from its beginning.
    """

    name = "rules"
    families: frozenset[str] | None = None
    most_bytes = FOR_RULES

    def __init__(
        self,
        records: Records,
        clock: Clock,
        log_id: str,
        on_stored: Callable[[], None],
        holding: Holding | None = None,
    ) -> None:
        """``holding`` is of the one site that the log is about, where it is about one only."""
        self._records = records
        self._clock = clock
        self._log_id = log_id
        self._on_stored = on_stored
        self._tenure = None if holding is None else holding.tenure
        self._settlement = None if holding is None else holding.settlement
        self._snapshot_s = _SNAPSHOT_S if holding is None else _SHARED_SNAPSHOT_S
        self._cursor = projection.rules_cursor(log_id)
        self._snapshot_cursor = projection.snapshot_cursor(log_id)
        self._engine = Engine(explains=False)
        self._tally = tally(records, Witness.RECEIVED, log_id, self._settlement)
        self._applied = 0
        self._kept = 0
        self.kept_at = 0.0
        """When (monotonic, s) the engine's state was last kept or loaded."""
        self._folded = 0
        self._pending: _Pending = ([], [], [])
        self.outputs = 0
        self.dead_letters = 0
        self.busy_s = 0.0
        """Seconds spent in the engine."""
        self.events = 0
        """Events that were folded, those of a replay included."""
        self.steps: Counter[tuple[str, str]] = Counter()
        """Stored steps of alerts by rule and kind."""

    @property
    def engine(self) -> Engine:
        """Return the engine, which is this projection's alone to change."""
        return self._engine

    def open(self) -> int:
        """Load the engine's last state; return the position to fold on from."""
        with self._records.reading() as session:
            self._applied, _ = projection.cursor(session, self._cursor)
            self._kept, snapshot = projection.cursor(session, self._snapshot_cursor)
        self._tally.open()
        self._engine = Engine(explains=False)
        if snapshot is not None:
            try:
                self._engine = Engine.load(snapshot, explains=False)
            except ValueError as error:
                # A state of another program version: the log rebuilds it, as far as it reaches.
                log.warning("engine state not readable, folding the log anew", why=str(error))
                self._kept = 0
        self.kept_at = time.monotonic()
        self._folded = self._kept
        return self._kept

    def apply(self, chunk: Chunk) -> None:
        """Fold a chunk and store what comes of it.

        Up to the cursor the outputs are stored already: there the fold only rebuilds its state.
        """
        if chunk.position > self._folded:
            self._fold(chunk)  # once only, however often the records have to be tried
        self._store(chunk.position)

    def _fold(self, chunk: Chunk) -> None:
        began = time.perf_counter()
        outputs: list[Output] = []
        refused: list[refusals.DeadLetter] = []
        replayed: list[_Replayed] = []
        for entry in chunk.entries:
            made = self._made(entry)
            if isinstance(entry, BatchEntry):
                self.events += entry.batch.size
            elif isinstance(entry, EventEntry):
                self.events += 1
            if entry.pos > self._applied:
                found = letters_of(entry, self._log_id)
                if self._tenure is not None:
                    made, found = steady_outputs(entry, made), steady_letters(entry, found)
                outputs += made
                refused += found
                if isinstance(entry, ReplayEntry):
                    where = f"{self._log_id}-{entry.pos}"
                    replay = entry.replay
                    told = letters.Replayed(replay.letter, entry.at, replay.by, where)
                    replayed.append((entry.pos, told))
        self._count(chunk)
        self._pending = (outputs, refused, replayed)
        self._folded = chunk.position
        self.busy_s += time.perf_counter() - began

    def _made(self, entry: LogEntry) -> list[Output]:
        if isinstance(entry, LeftOutEntry):
            return []
        try:
            return self._engine.apply(entry)
        except EstateError as error:
            # Nothing that trying again could mend: the engine's state is half changed.
            raise RuntimeError(f"the engine raised {type(error).__name__}: {error}") from error

    def _count(self, chunk: Chunk) -> None:
        for entry in chunk.entries:
            line = line_of(entry) if self._tally.wants(entry.pos) else None
            if line is None:
                continue
            counts = self._tally.line(line, entry.pos)
            seq, events, rejects = received_of(entry)
            counts.events += events
            counts.rejects += rejects
            if seq:
                counts.first_seq = min(counts.first_seq or seq, seq)
                counts.last_seq = max(counts.last_seq, seq)
                counts.batches += 1
        self._tally.counted(chunk.position)

    def _store(self, position: int) -> None:
        outputs, refused, replayed = self._pending
        keep = time.monotonic() - self.kept_at > self._snapshot_s or (
            # The next collector knows what is said of an alert, or would say it once more.
            self._tenure is not None and any(isinstance(out, AlertOutput) for out in outputs)
        )
        count = keep or self._tally.due()
        if not outputs and not refused and not replayed and not count:
            return
        with self._records.session() as session:
            self._write(session, self._pending, position, keep=keep)
            if count:  # never behind the engine's state, from which a restart folds on
                self._tally.keep(session)
        if count:
            self._tally.settle()
        self._tally.buried(refused)
        if self._settlement is not None:
            self._settlement.bring_back(replayed)
        self._applied = max(self._applied, position)
        self._on_stored()
        self.outputs += len(outputs)
        self.dead_letters += len(refused)
        self.steps.update(
            (o.alert.rule, o.step.value) for o in outputs if isinstance(o, AlertOutput)
        )
        tell_alerts(outputs)
        if keep:
            self._kept, self.kept_at = position, time.monotonic()

    def _write(
        self,
        session: Session,
        pending: _Pending,
        position: int,
        *,
        keep: bool,
    ) -> None:
        now = self._clock.now_ms()
        outputs, refused, replayed = pending
        site = None
        if self._tenure is not None:
            site = self._tenure.site
            # The tree as a whole is told by who has the whole topology.
            outputs = [out for out in outputs if not isinstance(out, TopologyOutput)]
        projection.apply(session, outputs, now, log=self._log_id, site=site)
        refusals.add_dead_letters(session, refused, now)
        if self._settlement is None:  # else they are asked for until what they brought is settled
            letters.mark_replayed(session, [told for _, told in replayed], now)
        if position > self._applied:
            projection.save_cursor(session, self._cursor, position, None)
        if keep:
            projection.save_cursor(session, self._snapshot_cursor, position, self._engine.dump())
        if self._tenure is not None:
            tenures.check(session, self._tenure.site, self._tenure.term)

    def needed_after(self) -> int:
        """Return the position of the engine's last kept state."""
        return self._kept

    def rest(self) -> None:
        """Keep the engine's state and what was counted: whoever is next needs none of this log."""
        if self._kept == self._folded:
            return
        with self._records.session() as session:
            self._write(session, ([], [], []), self._folded, keep=True)
            self._tally.keep(session)
        self._tally.settle()
        self._applied = max(self._applied, self._folded)
        self._kept, self.kept_at = self._folded, time.monotonic()

    def close(self) -> None:
        """Keep what was counted; there is nothing to release, the records are the collector's."""
        self._tally.close()

    def letters(self, entry: LogEntry, index: int, reason: str, /) -> list[refusals.DeadLetter]:
        """Return the letters of what of an entry is left out."""
        found = rules_letters(entry, index, reason, self._log_id)
        return found if self._tenure is None else steady_letters(entry, found)

    def done(self) -> dict[str, int]:
        """Return how many outputs and dead letters were stored."""
        return {"outputs": self.outputs, "dead_letters": self.dead_letters}


def letters_of(entry: LogEntry, log_id: str) -> list[refusals.DeadLetter]:
    """Return the dead letters that an entry of the log holds."""
    found = logs.letters_of(entry)
    if not found:
        return []
    site: str | None = None
    if isinstance(entry, BatchEntry):
        batch = entry.batch
        site = entry.site
        source = f"batch/{entry.site}/{batch.edge}/{batch.lane}/{batch.seq}"
    elif isinstance(entry, UnreadableEntry):
        source = entry.message.topic
    else:
        source = logs.REPLAY
    return [
        refusals.DeadLetter(
            pos=entry.pos,
            index=reject.index,
            at=entry.at,
            source=source,
            reason=reject.reason,
            field=reject.field,
            raw=reject.raw,
            site=site or origin.site or None,
            log=log_id,
            origin=origin,
            line=line_of(entry),
        )
        for origin, reject in found
    ]
