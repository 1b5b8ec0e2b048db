"""What was while an edge was away: its backlog is folded beside the present, then merged.

While an edge drains, each (rule, key) that its backlog or its fresh state touches is split:
the live cell goes on with what happens now (the ``device.snapshot`` above all), a *shadow*
starts as a copy of the state before and takes the late events. When every lane that a rule
listens to has drained, the two become one again:

* what began and ended in the backlog is told as history: silent, discovered late;
* what stood before the outage and ended in the backlog is cleared at its true time;
* what still stands at the backlog's end alarms fully, with the time at which it began;
* what the snapshot already raised keeps its id, and its beginning is corrected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from core.contracts.alerts import RuleSide
from core.contracts.outputs import StepKind
from rules import life
from rules.cells import Cell, Observation
from rules.edges import EdgeState, Late
from rules.life import Decision
from rules.live import Live, new_cell
from rules.model import RuleType
from rules.plan import ActiveRule
from rules.shadows import Shadow, ShadowSink
from rules.subjects import Subject


class Backlog:
    """Splits and merges; works on the shadows that each edge holds."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def is_split(self, edge: EdgeState, active: ActiveRule, key: str) -> bool:
        """Tell whether the backlog has a shadow of a key, or something that needs one."""
        return (active.rule.id, key) in edge.shadows or key in active.cells

    def _shadow(self, edge: EdgeState, active: ActiveRule, subject: Subject, key: str) -> Shadow:
        name = (active.rule.id, key)
        shadow = edge.shadows.get(name)
        if shadow is None:
            cell = active.cells.get(key)
            twin = new_cell(active, subject, key) if cell is None else cell.twin()
            before = None if twin.alert is None else twin.alert.id
            window = list(twin.window)
            shadow = Shadow(subject.id, twin, before=before, window=window, came=twin.at)
            edge.shadows[name] = shadow
        return shadow

    # -- late events ---------------------------------------------------------------------------

    def late_hold(
        self,
        edge: EdgeState,
        active: ActiveRule,
        subject: Subject,
        key: str,
        late: Late,
        seen: Observation,
    ) -> Decision:
        """A late event makes the condition true."""
        cell, sink = self._until(edge, active, subject, key, late)
        return life.hold(active, cell, subject, seen, sink)

    def late_release(
        self, edge: EdgeState, active: ActiveRule, subject: Subject, key: str, late: Late
    ) -> Decision:
        """A late event makes the condition false."""
        cell, sink = self._until(edge, active, subject, key, late)
        return life.release(active, cell, subject, late.at, sink)

    def late_over(
        self, edge: EdgeState, active: ActiveRule, subject: Subject, key: str, late: Late
    ) -> Decision:
        """A late event makes the clear condition true."""
        cell, sink = self._until(edge, active, subject, key, late)
        return life.over(cell, life.ordered(cell, late.at), sink)

    def _until(
        self, edge: EdgeState, active: ActiveRule, subject: Subject, key: str, late: Late
    ) -> tuple[Cell, ShadowSink]:
        shadow = self._shadow(edge, active, subject, key)
        cell = shadow.cell
        if late.event.seen < edge.known_to and late.at < shadow.came:
            cell = shadow.past = shadow.past or new_cell(active, subject, key)
        sink = ShadowSink(shadow, self._live.noticed)
        self._advance(active, cell, subject, late.at, sink)
        return cell, sink

    def _advance(
        self, active: ActiveRule, cell: Cell, subject: Subject, at: int, sink: ShadowSink
    ) -> None:
        if not life.advance(active, cell, subject, at, sink):
            cell.since = cell.due = None
            cell.window = []

    # -- live events while the backlog comes ---------------------------------------------------

    def live_hold(
        self, edge: EdgeState, active: ActiveRule, subject: Subject, key: str, seen: Observation
    ) -> Decision:
        """What happens now makes the condition true."""
        shadow = self._shadow(edge, active, subject, key)
        cell = active.cells.get(key)
        if cell is not None and cell.alert is None and not shadow.touched:
            # What was about to fire before the outage is the backlog's to tell.
            cell.since, cell.holders = None, {}
        if shadow.opened is None and shadow.false_at is None:
            shadow.opened = seen
        shadow.touched, shadow.confirmed = True, seen
        decision = self._live.hold(active, subject, key, seen)
        if active.rule.type is RuleType.COUNT:
            cell = active.cells.get(key)
            if decision is Decision.RAISED and shadow.rang is None and cell and cell.alert:
                shadow.rang = cell.alert.id
            if shadow.false_at is None and len(shadow.first) < active.rule.count:
                shadow.first.append(seen)
        return decision

    def live_end(
        self,
        edge: EdgeState,
        active: ActiveRule,
        subject: Subject,
        key: str,
        at: int,
        end: Callable[[], Decision],
    ) -> Decision:
        """What happens now makes the condition false, or the clear condition true, since ``at``."""
        shadow = self._shadow(edge, active, subject, key)
        cell = active.cells.get(key)
        alert = None if cell is None else cell.alert
        decision = end()
        if decision is Decision.HELD_BY_OTHERS:
            shadow.touched = True
            return decision
        is_first = shadow.false_at is None
        if shadow.false_at is None:
            shadow.false_at = at
        shadow.touched, shadow.confirmed, shadow.over_at = True, None, at
        if (
            decision is Decision.CLEARED
            and alert is not None
            and (is_first or alert.id == shadow.before)
        ):
            shadow.cleared = replace(
                alert, cleared_at=max(at, alert.began_at), revision=alert.revision + 1
            )
        return decision

    # -- merging -------------------------------------------------------------------------------

    def merge(self, edge: EdgeState, *, everything: bool = False) -> None:
        """Merge the shadows of all rules whose lanes have drained (or of all rules)."""
        for name in list(edge.shadows):
            active = self._live.plan.rules.get(name[0])
            if active is not None and not everything and not active.lanes.isdisjoint(edge.pending):
                continue
            shadow = edge.shadows.pop(name)
            subject = self._live.subjects.get(shadow.subject)
            if active is not None and subject is not None:
                self._merge(active, shadow, subject, edge.born_at)

    def _merge(self, active: ActiveRule, shadow: Shadow, subject: Subject, end: int) -> None:
        sink = ShadowSink(shadow, self._live.noticed)
        stop = end if shadow.false_at is None else shadow.false_at
        is_count = active.rule.type is RuleType.COUNT
        window = self._counted(active, shadow, subject, sink) if is_count else []
        self._advance(active, shadow.cell, subject, stop, sink)
        if shadow.past is not None:
            self._end_past(active, shadow, shadow.past, subject, sink)
        for alert in shadow.ended:
            if alert.id == shadow.before:
                self._ended_before(active, shadow, subject, alert)
            else:
                self._history(alert, alert.cleared_at)
        cell = shadow.cell
        live = active.cells.get(cell.key)
        if cell.since is not None:
            self._still(active, shadow, subject, end)
        elif not is_count and live is not None and live.alert is None and not shadow.touched:
            # It was about to fire when the outage began; the backlog says that it was over.
            live.since = live.due = None
            self._live.settle(active, live)
        if is_count:
            if not cell.window:
                window = [t for t in window if t > cell.fired_at]
            self._resume_count(active, cell.key, subject, window)

    def _end_past(
        self,
        active: ActiveRule,
        shadow: Shadow,
        past: Cell,
        subject: Subject,
        sink: ShadowSink,
    ) -> None:
        """What the past leaves open ended at the latest when the live side knew better."""
        self._advance(active, past, subject, shadow.came, sink)
        if past.alert is not None and shadow.before is None:
            life.over(past, max(shadow.came, past.alert.raised_at), sink)

    def _counted(
        self, active: ActiveRule, shadow: Shadow, subject: Subject, sink: ShadowSink
    ) -> list[int]:
        """Return what the live side has to count after the backlog: what both sides counted.

        What it counted first comes after the backlog, so that both together may reach the count.
        """
        cell, live = shadow.cell, active.cells.get(shadow.cell.key)
        now = [] if live is None else list(live.window)
        if shadow.over_at is None:
            # Each side has gone on from the same window.
            now = list((Counter(now) - Counter(shadow.window)).elements())
        known = (shadow.cleared, None if live is None else live.alert)
        if shadow.rang is not None and all(a is None or a.id != shadow.rang for a in known):
            return now  # time has cleared it: what the backlog tells was before that
        for seen in shadow.first[:1]:
            self._advance(active, cell, subject, seen.at, sink)
        past = [] if shadow.over_at is not None else list(cell.window)
        for seen in shadow.first:
            self._advance(active, cell, subject, seen.at, sink)
            life.hold(active, cell, subject, seen, sink)
        return past + now

    def _resume_count(
        self, active: ActiveRule, key: str, subject: Subject, times: list[int]
    ) -> None:
        live = active.cells.get(key)
        if live is None:
            if not times:
                return
            live = self._live.cell(active, subject, key)
        live.window = life.window_of(active, times)
        live.due = life.next_due(active, live)
        self._live.settle(active, live)

    def _ended_before(
        self, active: ActiveRule, shadow: Shadow, subject: Subject, ended: RuleSide
    ) -> None:
        """What stood before the outage ended in the backlog, at ``ended.cleared_at``."""
        at = ended.cleared_at or ended.began_at
        live = active.cells.get(shadow.cell.key)
        if live is None or live.alert is None or live.alert.id != ended.id:
            cleared = shadow.cleared
            if cleared is not None and cleared.id == ended.id and cleared.cleared_at != at:
                corrected = replace(cleared, cleared_at=at, revision=cleared.revision + 1)
                self._live.tell(corrected, StepKind.CORRECTED)
            if shadow.cell.since is None and active.rule.type is not RuleType.COUNT:
                self._between(active, shadow, subject, at)
            return
        life.over(live, at, self._live)
        self._live.settle(active, live)
        if active.rule.type is RuleType.COUNT:
            return
        first, last = shadow.opened, shadow.confirmed
        if last is not None and shadow.cell.since is None:
            # It began again after the backlog's end; the fresh state or a live event told of it.
            first = replace(first or last, since=max((first or last).since, at))
            self._live.hold(active, subject, shadow.cell.key, first)
            if last.at > first.at:
                self._live.hold(active, subject, shadow.cell.key, last)

    def _between(self, active: ActiveRule, shadow: Shadow, subject: Subject, ended: int) -> None:
        """Tell what began and ended live while what had ended in the backlog seemed to stand."""
        first, over = shadow.opened, shadow.false_at
        if first is None or over is None or over <= ended:
            return
        cell = new_cell(active, subject, shadow.cell.key)
        own = Shadow(subject.id, cell)
        sink = ShadowSink(own, self._live.noticed)
        life.hold(active, cell, subject, replace(first, since=max(first.since, ended)), sink)
        self._advance(active, cell, subject, over, sink)
        for alert in own.ended:
            self._history(alert, alert.cleared_at)
        if cell.alert is not None:
            self._history(cell.alert, max(over, cell.alert.raised_at))

    def _history(self, alert: RuleSide, cleared_at: int | None) -> None:
        told = replace(
            alert,
            late=True,
            revision=1,
            attention=0,
            noticed_at=self._live.noticed,
            cleared_at=cleared_at,
        )
        self._live.tell(told, StepKind.HISTORY)

    def _still(self, active: ActiveRule, shadow: Shadow, subject: Subject, end: int) -> None:
        """The backlog ends with the condition true."""
        cell = shadow.cell
        live = active.cells.get(cell.key)
        if shadow.false_at is not None:
            alert, told = cell.alert, shadow.cleared
            if alert is None or alert.id == shadow.before:
                return
            if told is None or told.id == shadow.before:
                self._history(alert, max(shadow.false_at, alert.raised_at))
            elif told.began_at != alert.began_at:
                self._correct_cleared(told, alert)
        elif live is None or live.since is None or (live.alert is None and not shadow.touched):
            self._adopt(active, shadow, subject)
        elif live.alert is None:
            if cell.alert is not None or live.since >= (cell.since or 0):
                self._adopt(active, shadow, subject)
        elif live.alert.id == shadow.before:
            if not shadow.touched:
                live.grades, live.fired_at = cell.grades, max(live.fired_at, cell.fired_at)
                live.occurrences, live.at = cell.occurrences, max(live.at, cell.at)
            self._refresh(active, live, max(end, live.at))
        else:
            self._same_occurrence(active, shadow, live)
            self._refresh(active, live, max(end, live.at))

    def _correct_cleared(self, told: RuleSide, alert: RuleSide) -> None:
        """What the live side raised and cleared had begun in the backlog."""
        corrected = replace(
            told,
            began_at=alert.began_at,
            raised_at=alert.raised_at,
            cleared_at=max(told.cleared_at or 0, alert.raised_at),
            revision=told.revision + 1,
        )
        self._live.tell(corrected, StepKind.CORRECTED)

    def _same_occurrence(self, active: ActiveRule, shadow: Shadow, live: Cell) -> None:
        cell = shadow.cell
        if live.alert is None or cell.since is None:
            return
        began = cell.since if cell.alert is None else cell.alert.began_at
        if began == live.alert.began_at:
            return
        raised = began + active.rule.for_ms if cell.alert is None else cell.alert.raised_at
        live.since = began
        self._live.correct(live, began_at=began, raised_at=raised)

    def _refresh(self, active: ActiveRule, live: Cell, now: int) -> None:
        life.regrade(active, live, now, self._live)
        live.due = life.next_due(active, live)
        self._live.settle(active, live)

    def _adopt(self, active: ActiveRule, shadow: Shadow, subject: Subject) -> None:
        """The backlog's cell becomes the live one; what stands in it alarms now."""
        cell = shadow.cell
        old = active.cells.get(cell.key)
        if old is not None:
            cell.at = max(cell.at, old.at)
            cell.fired_at = max(cell.fired_at, old.fired_at)
        active.cells[cell.key] = cell
        if cell.alert is not None and cell.alert.id != shadow.before:
            cell.alert = replace(cell.alert, revision=1, attention=1, noticed_at=self._live.noticed)
            self._live.publish(cell.alert, StepKind.RAISED, cell.alert.raised_at)
        self._live.settle(active, cell)
        if cell.due is not None and cell.due <= subject.now:
            self._live.step(active, cell, subject, subject.now)
