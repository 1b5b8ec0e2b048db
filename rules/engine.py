"""The rule engine: a pure, deterministic fold over the collector's log.

``Engine.apply`` takes the log's entries in order and returns what each of them means: alerts,
colours, presence, edges, declared losses. It reads no clock and keeps nothing outside itself;
``dump`` and ``Engine.load`` carry its whole state, so that a restart (snapshot and replay)
gives the same outputs with the same ids.
"""

from __future__ import annotations

from typing import Any

from core.contracts.codec import Event
from core.contracts.events import FUTURE_MS, Lane
from core.contracts.log import (
    ActivationEntry,
    BatchEntry,
    EventEntry,
    LogEntry,
    MediaEntry,
    ReplayEntry,
    TickEntry,
)
from core.contracts.outputs import Cause, Output, Presence
from rules.activation import activate
from rules.backlog import Backlog
from rules.colours import Colours
from rules.edges import EdgeState
from rules.explain import explain
from rules.judge import Judge
from rules.live import Live
from rules.losses import loss_of
from rules.plan import Plan
from rules.presence import Presences
from rules.silence import Silences
from rules.snapshot import dump, restore
from rules.subjects import Subject
from rules.timers import Timers, What

#: Edges that no topology names are followed up to so many.
MOST_UNKNOWN_EDGES = 1_000


class Engine:
    """The fold. A new engine knows nothing until its log activates a topology and rules.

    ``counters`` counts what was not folded (unknown devices, duplicates, refused activations …),
    ``unknown`` how often each unknown device or edge spoke, ``problem`` why the last activation
    was refused, ``position`` is the last entry folded, ``activation`` what holds, packed. ``last``
    holds each device's last events by kind where the engine ``explains``; a street's take as much
    memory as all the rest of its state.
    """

    def __init__(self, *, explains: bool = True) -> None:
        self.position = 0
        self.at = 0
        self.declared_edges = 0
        self.activation: bytes = b""
        self.problem = ""
        self.counters: dict[str, int] = {}
        self.unknown: dict[str, int] = {}
        self.subjects: dict[str, Subject] = {}
        self.edges: dict[str, EdgeState] = {}
        self.timers = Timers()
        self.last: dict[str, dict[str, Event]] | None = {} if explains else None
        self.install(Plan(), Colours())

    @classmethod
    def empty(cls) -> Engine:
        """Return an engine that has folded nothing yet."""
        return cls()

    @classmethod
    def load(cls, blob: bytes, *, explains: bool = True) -> Engine:
        """Return an engine as :meth:`dump` saw it; raise :class:`SnapshotError` on other bytes."""
        engine = cls(explains=explains)
        restore(engine, blob)
        return engine

    def dump(self) -> bytes:
        """Return the whole state, exactly."""
        return dump(self)

    def explain(self, rule_id: str, key: str) -> dict[str, Any]:
        """Say what a rule thinks of a key now, and what is missing for it to fire.

        An engine that was made not to explain raises ValueError: it has not kept what was said.
        """
        return explain(self, rule_id, key)

    def install(self, plan: Plan, colours: Colours) -> None:
        """Put rules and colours to work (``subjects`` and ``timers`` are set already)."""
        self.plan = plan
        self.colours = colours
        self.live = Live(plan, self.timers, colours)
        self.live.subjects = self.subjects
        self.backlog = Backlog(self.live)
        self.presence = Presences(self.timers, colours)
        self.silence = Silences(self.live, self.timers)
        self.judge = Judge(
            self.live, self.backlog, self.presence, self.silence, self.counters, self.unknown,
            self.last,
        )  # fmt: skip

    def count(self, name: str) -> None:
        """Count something that was not folded."""
        self.counters[name] = self.counters.get(name, 0) + 1

    # -- the fold ------------------------------------------------------------------------------

    def apply(self, entry: LogEntry) -> list[Output]:
        """Fold one entry; one that was folded before (by position) changes nothing."""
        if entry.pos <= self.position:
            self.count("repeated_entries")
            return []
        self.position = entry.pos
        self.at = entry.at
        live = self.live
        live.outputs = []
        live.noticed = entry.at
        if not isinstance(entry, TickEntry):  # a tick may find that time stood still
            live.now_q = self.timers.listening(entry.at)
        if isinstance(entry, BatchEntry):
            self._batch(entry)
        elif isinstance(entry, TickEntry):
            self._tick(entry)
        elif isinstance(entry, EventEntry):
            self._single(entry)
        elif isinstance(entry, ActivationEntry):
            activate(self, entry)
        elif isinstance(entry, MediaEntry):
            header = entry.header
            self._edge(header.edge, entry.site).take(header.epoch, "media", header.seq)
        elif isinstance(entry, ReplayEntry):
            self._replay(entry)
        outputs = self.live.outputs  # an activation replaces ``live``
        outputs.extend(self.colours.flush(entry.at))
        return outputs

    def _replay(self, entry: ReplayEntry) -> None:
        """Take what a replayed letter declares; the rest is history and raises nothing now."""
        found = entry.contents
        for index, (_, event) in enumerate(found.events):
            loss = loss_of(
                event, pos=entry.pos, index=index, at=entry.at, site=found.site, edge=found.edge,
                epoch=found.epoch,
            )  # fmt: skip
            if loss is not None:
                self.live.outputs.append(loss)

    def _tick(self, entry: TickEntry) -> None:
        at, gate = entry.at, entry.gate
        now_q = self.live.now_q = self.timers.tick(at)
        number = -1
        while (timer := self.timers.pop(now_q)) is not None:
            number += 1
            if gate is not None and not gate(number):
                continue
            if timer.what is What.CELL:
                self._cell_due(timer.rule, timer.key, timer.at)
                continue
            subject = self.subjects.get(timer.key)
            if subject is None:
                continue
            if timer.what is What.PRESENCE:
                self.presence.due(subject, timer.at, at, self.live.outputs)
            else:
                self.silence.due(timer.rule, subject, timer.at)

    def _cell_due(self, rule_id: str, key: str, timer_at: int) -> None:
        active = self.plan.rules.get(rule_id)
        cell = None if active is None else active.cells.get(key)
        if active is None or cell is None or cell.due is None or cell.due_q != timer_at:
            return
        subject = self.subjects.get(cell.subject)
        if subject is not None and subject.runs(active):
            subject.now = max(subject.now, cell.due)
            self.live.step(active, cell, subject, cell.due)

    def _edge(self, edge_id: str, site: str) -> EdgeState:
        edge = self.edges.get(edge_id)
        if edge is None:
            if len(self.edges) >= self.declared_edges + MOST_UNKNOWN_EDGES:
                # Its events are stored and listed all the same; only its lanes are not followed.
                self.count("edges_beyond_bound")
                return EdgeState(edge_id, site, known=True, online=True)
            edge = self.edges[edge_id] = EdgeState(edge_id, site)
        return edge

    def _batch(self, entry: BatchEntry) -> None:
        batch = entry.batch
        lane = batch.lane.value
        edge = self._edge(batch.edge, entry.site)
        if not edge.known:
            # Its birth was before this log began; that it speaks says that it is online.
            edge.known = edge.online = True
            edge.epoch = batch.epoch
            edge.back_q = self.live.now_q
            self.live.outputs.append(edge.output(entry.at))
            for subject in edge.subjects:
                self.live.resume(subject)
            self._listen(edge)
        if not edge.take(batch.epoch, lane, batch.seq):
            self.count("duplicate_batches")
        elif edge.is_late(batch.epoch, lane, batch.seq):
            self.judge.late_batch(edge, entry)
            self._reach(edge, batch.epoch, lane, batch.seq)
        else:
            if edge.pending:
                self._reach(edge, batch.epoch, lane, batch.seq)
            self.judge.live_batch(edge, batch.events, entry)

    def _single(self, entry: EventEntry) -> None:
        """Fold a plain event, or what the collector noted about an edge."""
        event = entry.event
        at = event.at
        if at > entry.at + FUTURE_MS:
            at = entry.at
            self.count("future_events")
        edge = None if entry.edge is None else self._edge(entry.edge, entry.site)
        subject = self.judge.subject(event, edge, entry.site)
        if edge is not None:
            self._control(edge, entry)
        if subject is None:
            return
        if event.kind == "device.health" and not event.data.online:
            self.judge.unwell(subject, event.data, at)
        else:
            if subject.learns:
                self.judge.listen(subject)
            subject.heard_q, subject.heard_at = self.live.now_q, at
            if subject.presence is not Presence.ONLINE:
                self.judge.well(subject)
        plan = subject.plans.get(event.kind)
        # Positions begin anew with a new log, and no alert may bear the id of an older one.
        origin = (("", "", "", entry.pos), entry.at)
        self.judge.event(subject, event, at, origin, subject.edge, plan)

    # -- edges ---------------------------------------------------------------------------------

    def _control(self, edge: EdgeState, entry: EventEntry) -> None:
        event = entry.event
        data = event.data
        outputs = self.live.outputs
        if event.kind == "edge.online":
            self._back(edge, entry)
        elif event.kind == "edge.offline":
            for subject in edge.subjects:
                if edge.listening or (edge.online and subject.heard_q >= edge.back_q):
                    self.live.pause(subject)
            edge.known, edge.online, edge.epoch = True, False, data.epoch
            edge.away_by = Cause.EDGE if data.cause is None else Cause(data.cause)
            outputs.append(edge.output(entry.at))
            for subject in edge.subjects:
                self.presence.edge_away(subject, edge.away_by, entry.at, outputs)
        else:
            loss = loss_of(
                event, pos=entry.pos, index=0, at=entry.at, site=entry.site, edge=edge.id,
                epoch=edge.epoch,
            )  # fmt: skip
            if loss is not None:
                outputs.append(loss)
            if event.kind == "edge.hole":
                edge.take(data.epoch, data.lane, data.last_seq)
                self._reach(edge, data.epoch, data.lane, data.last_seq)

    def _back(self, edge: EdgeState, entry: EventEntry) -> None:
        outputs = self.live.outputs
        if not edge.goes_on(entry.event.data):
            self.judge.fold_kept(edge)
        if edge.shadows:
            # A backlog that did not come to its end: what it told so far has to count.
            edge.pending = {}
            self.backlog.merge(edge)
        edge.birth(entry.event.data, entry.event.at)
        edge.back_q = self.live.now_q
        outputs.append(edge.output(entry.at))
        for subject in edge.subjects:
            self.presence.edge_back(subject, entry.at, outputs)
        for subject in edge.subjects:
            self.live.resume(subject)
        if edge.drained:
            self._listen(edge)

    def _reach(self, edge: EdgeState, epoch: str, lane: str, seq: int) -> None:
        """A lane came to ``seq``: perhaps its backlog is over, perhaps the whole backlog is.

        What waited for nothing else than that runs from now on.
        """
        waited = list(edge.pending)
        if not edge.reached(epoch, lane, seq):
            return
        if not edge.keeps_back(Lane.URGENT):
            self.judge.fold_kept(edge)
        self.backlog.merge(edge)
        if edge.drained:
            self.live.outputs.append(edge.output(self.at))
        for subject in edge.subjects:
            subject.now = max(subject.now, edge.born_at)
            if subject.next_due <= subject.now:
                self.live.advance(subject, subject.now, waited)
            if edge.online:
                self.live.resume(subject, waited)
        if edge.listening:
            self._listen(edge)

    def _listen(self, edge: EdgeState) -> None:
        """From now on silence means silence: the presence of the edge's devices is watched."""
        edge.listening_q = self.live.now_q
        for subject in edge.subjects:
            self.presence.watch(subject)
            self.silence.watch_all(subject)
