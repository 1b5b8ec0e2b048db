"""Judges events by the rules: live ones, a backlog's, and the states of a fresh snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.contracts.codec import Event
from core.contracts.events import FUTURE_MS, Lane
from core.contracts.log import BatchEntry
from core.contracts.outputs import Presence, UnknownOutput
from rules.backlog import Backlog
from rules.edges import MOST_KEPT, EdgeState, Late
from rules.live import Live
from rules.losses import loss_of
from rules.model import RuleType
from rules.plan import ActiveRule, KindPlan
from rules.presence import Presences
from rules.silence import Silences
from rules.states import states_of
from rules.subjects import Subject

_NAMES_KEPT = 10_000

#: A batch (edge, epoch, lane, seq) and the index in it; without one the position in the log and the
#: time (ms) at which it was journalled.
Origin = tuple[tuple[str, str, str, int], int]
"""(edge, epoch, lane, seq) and index; a plain event has no edge and its position as seq."""


class Judge:
    """Runs the closures and says to the live side or the backlog what came of it."""

    def __init__(
        self, live: Live, backlog: Backlog, presence: Presences, silence: Silences,
        counters: dict[str, int], unknown: dict[str, int],
        last: dict[str, dict[str, Event]] | None,
    ) -> None:  # fmt: skip
        self._live = live
        self._backlog = backlog
        self._presence = presence
        self._silence = silence
        self._counters = counters
        self._unknown = unknown
        self._last = last

    def _count(self, name: str, number: int = 1) -> None:
        self._counters[name] = self._counters.get(name, 0) + number

    def subject(self, event: Event, edge: EdgeState | None, site: str) -> Subject | None:
        """Return who an event is about; unknown and foreign devices are counted, not folded."""
        subject = self._live.subjects.get(event.device)
        if subject is None:
            self._count("unknown_devices")
            if event.device in self._unknown or len(self._unknown) < _NAMES_KEPT:
                self._unknown[event.device] = self._unknown.get(event.device, 0) + 1
            self._live.outputs.append(self._strange(event, edge, site))
            return None
        if edge is None or subject.edge_id is None:
            is_own = subject.site == site
        else:
            is_own = subject.edge_id == edge.id
        if is_own and subject.suits(event.kind):
            return subject
        self._count("foreign_devices")
        if not is_own:
            # Somebody speaks for a device that is another's: that is to be seen, not believed.
            self._live.outputs.append(self._strange(event, edge, site))
        return None

    def listen(self, subject: Subject) -> None:
        """Learn from a word, before it is noted, how often such words come."""
        live = self._live
        self._presence.listen(subject, live.now_q, live.noticed, live.outputs)

    def _strange(self, event: Event, edge: EdgeState | None, site: str) -> UnknownOutput:
        edge_id = None if edge is None else edge.id
        return UnknownOutput(
            event.device, self._live.noticed, site, edge_id, edge_id in self._live.subjects, event
        )

    def well(self, subject: Subject) -> None:
        """A device that was not online has been heard (``heard_at`` and ``heard_q`` are set)."""
        was_unwell = subject.unwell
        self._presence.heard(subject, self._live.noticed, self._live.outputs)
        if was_unwell:
            self._silence.watch_all(subject)

    def unwell(self, subject: Subject, data: Any, at: int) -> None:
        """The edge says at ``at`` that it cannot reach a device."""
        self._presence.unwell(subject, data, self._live.noticed, self._live.outputs)
        self._silence.unwell(subject, at)

    # -- batches -------------------------------------------------------------------------------

    def live_batch(
        self, edge: EdgeState, events: list[tuple[int, Event]], entry: BatchEntry
    ) -> None:
        """Fold what happens now; the engine's hottest loop, without allocations of its own."""
        batch = entry.batch
        subjects = self._live.subjects
        edge_id = edge.id
        now_q = self._live.now_q
        latest = entry.at + FUTURE_MS
        source = (batch.edge, batch.epoch, batch.lane.value, batch.seq)
        if batch.lane is Lane.URGENT and events:
            edge.told_to = max(edge.told_to, min(events[-1][1].seen, entry.at))
        for index, event in events:
            subject = subjects.get(event.device)
            if subject is None or subject.edge_id != edge_id or subject.is_edge:
                checked = self.subject(event, edge, entry.site)
                if checked is None:
                    self._declare(event, index, edge, entry)
                    continue
                subject = checked
            at = event.at
            if at > latest:
                at = entry.at
                self._count("future_events")
            kind = event.kind
            if kind == "device.health" and not event.data.online:
                self.unwell(subject, event.data, at)
            else:
                if subject.learns:
                    self.listen(subject)
                subject.heard_q = now_q
                subject.heard_at = at
                if subject.presence is not Presence.ONLINE:
                    self.well(subject)
            plan = subject.plans.get(kind)
            if plan is not None or at >= subject.next_due or kind == "device.snapshot":
                self.event(subject, event, at, (source, index), edge, plan)
            else:
                self._pass_over(subject, kind, at)
            if subject.is_edge:
                self._declare(event, index, edge, entry)

    def _pass_over(self, subject: Subject, kind: str, at: int) -> None:
        """Note an event that no rule is about."""
        if at > subject.now:
            subject.now = at
        if not subject.suits(kind):
            self._count("foreign_devices")

    def _declare(self, event: Event, index: int, edge: EdgeState, entry: BatchEntry) -> None:
        """Put a declared loss among the outputs, also that of an edge nobody has entered yet."""
        loss = loss_of(
            event, pos=entry.pos, index=index, at=entry.at, site=entry.site, edge=edge.id,
            epoch=entry.batch.epoch,
        )  # fmt: skip
        if loss is not None:
            self._live.outputs.append(loss)

    def late_batch(self, edge: EdgeState, entry: BatchEntry) -> None:
        """Fold a backlog into the shadows; what an edge says of itself is never late."""
        batch = entry.batch
        for index, event in batch.events:
            subject = self.subject(event, edge, entry.site)
            if subject is None:
                self._declare(event, index, edge, entry)
                continue
            if subject.is_edge:
                self.live_batch(edge, [(index, event)], entry)
                continue
            if event.kind not in subject.plans or event.kind == "device.snapshot":
                continue
            at = min(event.at, entry.at)
            late = Late(event, at, batch.epoch, batch.lane.value, batch.seq, index)
            if edge.keeps_back(late.lane):
                edge.kept.append(late)
                if len(edge.kept) > MOST_KEPT:
                    self._late(edge, edge.kept.popleft())
                continue
            if late.lane == Lane.EVENT:
                self.fold_kept(edge, event.seen)
            self._late(edge, late)

    def fold_kept(self, edge: EdgeState, until: int | None = None) -> None:
        """Fold what was kept back, all of it or what the edge had seen by ``until`` (ms).

        An edge has one clock, so what it saw in one lane can be put among what it saw in another.
        """
        while edge.kept and (until is None or edge.kept[0].event.seen <= until):
            self._late(edge, edge.kept.popleft())

    def _late(self, edge: EdgeState, late: Late) -> None:
        event, at = late.event, late.at
        subject = self.subject(event, edge, edge.site)
        plan = None if subject is None else subject.plans.get(event.kind)
        if subject is None or plan is None:
            return  # while it was kept back, other rules or devices came
        origin = ((edge.id, late.epoch, late.lane, late.seq), late.index)
        backlog = self._backlog
        for test, active in plan.tests:
            verdict = test(event.data, subject)
            if verdict is None:
                continue
            key = active.key_of(subject, event.data)
            if verdict is True:
                seen = active.observe(subject, event, identity(origin), at, at)
                backlog.late_hold(edge, active, subject, key, late, seen)
            elif backlog.is_split(edge, active, key):
                backlog.late_release(edge, active, subject, key, late)
        for test, active in plan.clears:
            key = active.key_of(subject, event.data)
            if backlog.is_split(edge, active, key) and test(event.data, subject) is True:
                backlog.late_over(edge, active, subject, key, late)

    # -- one live event ------------------------------------------------------------------------

    def event(
        self,
        subject: Subject,
        event: Event,
        at: int,
        origin: Origin,
        edge: EdgeState | None,
        plan: KindPlan | None,
    ) -> None:
        """Judge one live event; ``edge`` is the edge that it came through, if any."""
        if event.kind == "device.snapshot":
            self._snapshot(subject, event, at, origin, edge)
            return
        if at > subject.now:
            subject.now = at
            if at >= subject.next_due:
                self._live.advance(subject, at)
        if plan is None:
            return
        if self._last is not None:
            self._last.setdefault(subject.id, {})[event.kind] = event
        data = event.data
        pending = edge is not None and edge.pending
        for test, active in plan.tests:
            verdict = test(data, subject)
            if verdict is True:
                self._true(active, subject, event, origin, at, at, edge)
            elif verdict is False and (active.cells or pending):
                self._false(active, subject, data, at, edge)
        if plan.clears or plan.absents:
            self._clear(plan, subject, event, at, edge)

    def _true(
        self,
        active: ActiveRule,
        subject: Subject,
        event: Event,
        origin: Origin,
        since: int,
        at: int,
        edge: EdgeState | None,
    ) -> None:
        key = active.key_of(subject, event.data)
        seen = active.observe(subject, event, identity(origin), since, at)
        if edge is not None and _is_split(active, edge):
            self._backlog.live_hold(edge, active, subject, key, seen)
        else:
            self._live.hold(active, subject, key, seen)

    def _false(
        self, active: ActiveRule, subject: Subject, data: Any, at: int, edge: EdgeState | None
    ) -> None:
        if active.rule.type is RuleType.COUNT:
            return  # what does not count does not end what did
        key = active.key_of(subject, data)
        if edge is not None and _is_split(active, edge):
            self._backlog.live_end(
                edge, active, subject, key, at,
                lambda: self._live.release(active, subject, key, at),
            )  # fmt: skip
        elif key in active.cells:
            self._live.release(active, subject, key, at)

    def _clear(
        self, plan: KindPlan, subject: Subject, event: Event, at: int, edge: EdgeState | None
    ) -> None:
        for test, active in plan.clears:
            split = edge is not None and _is_split(active, edge)
            if not (active.cells or split) or test(event.data, subject) is not True:
                continue
            key = active.key_of(subject, event.data)
            if edge is not None and split:
                self._backlog.live_end(
                    edge, active, subject, key, at, self._ending(active, key, at)
                )
            else:
                self._live.over(active, key, at)
        if event.kind != "device.health" or event.data.online:
            for active in plan.absents:
                self._silence.heard(active, subject, at)

    def _ending(self, active: ActiveRule, key: str, at: int) -> Callable[[], Any]:
        return lambda: self._live.over(active, key, at)

    # -- snapshots -----------------------------------------------------------------------------

    def _snapshot(
        self, subject: Subject, event: Event, at: int, origin: Origin, edge: EdgeState | None
    ) -> None:
        """Take a device's fresh state: each state has held since its ``since``, up to ``at``.

        What is false comes first: it ended before the device's own time comes to ``at``.
        """
        trues: list[tuple[ActiveRule, Event, int]] = []
        states, unusable = states_of(subject, event, at)
        if unusable:
            self._count("unusable_states", unusable)
        for held, since in states:
            plan = subject.plans.get(held.kind)
            if held.kind == "device.health" and not held.data.online:
                self.unwell(subject, held.data, at)
            if plan is None:
                continue
            if self._last is not None:
                self._last.setdefault(subject.id, {})[held.kind] = held
            for test, active in plan.tests:
                verdict = test(held.data, subject)
                if verdict is True:
                    trues.append((active, held, since))
                elif verdict is False:
                    self._ended(active, subject, held, since, edge)
            self._clear(plan, subject, held, since, edge)
        for active, held, since in trues:
            self._true(active, subject, held, origin, since, at, edge)
        subject.now = max(subject.now, at)
        self._live.advance(subject, subject.now)
        if (plan := subject.plans.get(event.kind)) is not None:
            for active in plan.absents:
                self._silence.heard(active, subject, at)

    def _ended(
        self,
        active: ActiveRule,
        subject: Subject,
        held: Event,
        since: int,
        edge: EdgeState | None,
    ) -> None:
        cell = active.cells.get(active.key_of(subject, held.data))
        is_split = edge is not None and _is_split(active, edge)
        if cell is not None and cell.due is not None and cell.due <= since and not is_split:
            self._live.step(active, cell, subject, since)
        self._false(active, subject, held.data, since, edge)


def _is_split(active: ActiveRule, edge: EdgeState) -> bool:
    """Tell whether a backlog of an edge may still change what a rule thinks."""
    return bool(edge.pending) and not active.lanes.isdisjoint(edge.pending)


def identity(origin: Origin) -> tuple[str, dict[str, Any]]:
    """Return an event's identity as text and as data."""
    (edge, epoch, lane, seq), index = origin
    if not edge:
        return f"pos/{seq}/{index}", {"pos": seq, "journalled_at": index}
    named = {"edge": edge, "epoch": epoch, "lane": lane, "seq": seq, "index": index}
    return f"{edge}/{epoch}/{lane}/{seq}/{index}", named
