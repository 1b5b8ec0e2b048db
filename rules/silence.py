"""Absent rules: what has not been heard for a while.

Silence is counted in listening time from the later of the last word and the moment from which
the device's edge was listened to again; while the edge is away or drains, nothing is silent.
A device that nobody reads and that never spoke is not expected. A device that its edge says it
cannot reach is not silent: that is told already. Its silence counts again from when it is well.
"""

from __future__ import annotations

from rules import life
from rules.live import Live
from rules.plan import ActiveRule
from rules.subjects import Subject
from rules.timers import Timers, What


class Silences:
    """Watches the absent rules' devices."""

    def __init__(self, live: Live, timers: Timers) -> None:
        self._live = live
        self._timers = timers

    def watch_all(self, subject: Subject) -> None:
        """Set the timers of every absent rule for a device."""
        for active in self._live.plan.absents:
            self.watch(active, subject)

    def watch(self, active: ActiveRule, subject: Subject) -> None:
        """Set one absent rule's timer for a device, if its silence is to be counted now."""
        deadline = self.deadline(active, subject)
        if deadline is None or deadline >= active.wakes.get(subject.id, 1 << 62):
            return
        active.wakes[subject.id] = deadline
        self._timers.push(deadline, What.SILENCE, active.rule.id, subject.id)

    def deadline(self, active: ActiveRule, subject: Subject) -> int | None:
        """Return when (listening time) a device will have been silent for too long."""
        families = active.rule.families
        if subject.is_edge or (families is not None and subject.family not in families):
            return None
        within = active.within_ms(subject)
        base = self._base(active, subject)
        if within is None or base is None or not subject.running or subject.unwell:
            return None
        if subject.id in active.cells:
            return None
        return base + within

    def _word(self, active: ActiveRule, subject: Subject) -> tuple[int, int] | None:
        """Return when (listening time, own time) the last word that counts came."""
        if active.rule.kinds:
            return active.heard.get(subject.id)
        return None if subject.heard_at is None else (subject.heard_q, subject.heard_at)

    def _base(self, active: ActiveRule, subject: Subject) -> int | None:
        word = self._word(active, subject)
        if subject.edge is None:
            return None if word is None else word[0]
        return max(subject.edge.listening_q, subject.well_q, 0 if word is None else word[0])

    def due(self, rule_id: str, subject: Subject, timer_at: int) -> None:
        """A timer came due at ``timer_at`` (listening time)."""
        active = self._live.plan.rules.get(rule_id)
        if active is None or active.wakes.get(subject.id) != timer_at:
            return
        del active.wakes[subject.id]
        if self.deadline(active, subject) == timer_at:
            self._fall_silent(active, subject)
        else:
            self.watch(active, subject)

    def _fall_silent(self, active: ActiveRule, subject: Subject) -> None:
        live = self._live
        base = self._base(active, subject) or 0
        word = self._word(active, subject)
        if word is not None and word[0] >= base:
            began = word[1]
        else:
            began = live.noticed - (live.now_q - base)
        raised = began + (active.within_ms(subject) or 0)
        cell = live.cell(active, subject, subject.id)
        cell.since = began
        cell.at = cell.fired_at = raised
        cell.opening = f"absent/{began}/{live.noticed}"
        cell.event = {"silent_since": began}
        cell.occurrences = 1
        life.fire(active, cell, subject, live, began=began, raised=raised, now=raised)
        live.settle(active, cell)

    def unwell(self, subject: Subject, at: int) -> None:
        """The edge says that it cannot reach a device: that tells its silence, too."""
        for active in self._live.plan.absents:
            if subject.id in active.cells:
                self._live.over(active, subject.id, at)

    def expect(self, subject: Subject) -> None:
        """Another interval is configured for a device: what it makes no silence is over."""
        if not subject.running or subject.unwell:
            return
        live = self._live
        for active in live.plan.absents:
            if active.rule.within_ms is not None or subject.id not in active.cells:
                continue
            within, base = active.within_ms(subject), self._base(active, subject)
            if within is None or base is None or live.now_q < base + within:
                live.over(active, subject.id, live.noticed)

    def heard(self, active: ActiveRule, subject: Subject, at: int) -> None:
        """A word that counts came."""
        if active.rule.kinds:
            active.heard[subject.id] = (self._live.now_q, at)
        if subject.id in active.cells:
            self._live.over(active, subject.id, at)
        if subject.id not in active.wakes:
            self.watch(active, subject)
