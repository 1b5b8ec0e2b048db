"""The live cells: what holds now, its timers, and where its alerts are published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from core.contracts.alerts import RuleSide
from core.contracts.colours import Colour
from core.contracts.outputs import AlertOutput, Output, StepKind
from rules import life
from rules.cells import Cell, Observation
from rules.colours import Colours
from rules.life import Decision
from rules.plan import ActiveRule, Plan
from rules.subjects import NEVER, Subject
from rules.timers import Timers, What


class Live:
    """The live side of the fold; a :class:`~rules.life.Sink` for its cells' alerts."""

    def __init__(self, plan: Plan, timers: Timers, colours: Colours) -> None:
        self.plan = plan
        self.subjects: dict[str, Subject] = {}
        self.outputs: list[Output] = []
        self.noticed = 0
        self.now_q = 0
        self._timers = timers
        self._colours = colours
        self._standing: dict[str, Colour] = {}

    # -- a sink --------------------------------------------------------------------------------

    def publish(self, alert: RuleSide, step: StepKind, at: int) -> None:
        """Publish a change of a live alert and tint its node."""
        before = self._standing.pop(alert.id, None)
        if before is not None:
            self._colours.alert(alert.node, before, -1)
        if alert.cleared_at is None:
            self._standing[alert.id] = alert.colour
            self._colours.alert(alert.node, alert.colour, 1)
        self.outputs.append(AlertOutput(alert, step, at))

    # -- cells ---------------------------------------------------------------------------------

    def cell(self, active: ActiveRule, subject: Subject, key: str) -> Cell:
        """Return the cell of a key, new if there was none."""
        cell = active.cells.get(key)
        if cell is None:
            cell = active.cells[key] = new_cell(active, subject, key)
            subject.keep((active.rule.id, key), cell)
        return cell

    def hold(self, active: ActiveRule, subject: Subject, key: str, seen: Observation) -> Decision:
        """The condition of a key is true."""
        cell = self.cell(active, subject, key)
        decision = life.hold(active, cell, subject, seen, self)
        self.settle(active, cell)
        return decision

    def release(self, active: ActiveRule, subject: Subject, key: str, at: int) -> Decision:
        """The condition of a key is false since ``at``."""
        cell = active.cells.get(key)
        if cell is None:
            return Decision.NOTHING
        decision = life.release(active, cell, subject, at, self)
        self.settle(active, cell)
        return decision

    def over(self, active: ActiveRule, key: str, at: int) -> Decision:
        """The clear condition of a key is true."""
        cell = active.cells.get(key)
        if cell is None:
            return Decision.NOTHING
        decision = life.over(cell, life.ordered(cell, at), self)
        self.settle(active, cell)
        return decision

    def settle(self, active: ActiveRule, cell: Cell) -> None:
        """Drop a cell that nothing needs any more, or set its timer."""
        subject = self.subjects.get(cell.subject)
        name = (active.rule.id, cell.key)
        if cell.since is None and not cell.window:
            if active.cells.get(cell.key) is cell:
                del active.cells[cell.key]
            if subject is not None:
                subject.forget(name)
            return
        if subject is not None:
            subject.keep(name, cell)
            self.arm(active, cell, subject)

    def arm(self, active: ActiveRule, cell: Cell, subject: Subject) -> None:
        """Set the timer of a cell, in its own time and in listening time."""
        if cell.due is None:
            return
        subject.next_due = min(subject.next_due, cell.due)
        if not subject.runs(active):
            return
        due_q = cell.due + subject.offset(self.now_q, self.noticed)
        cell.due_q = due_q
        self._timers.push(due_q, What.CELL, active.rule.id, cell.key)

    def advance(self, subject: Subject, now: int, waited: Collection[str] | None = None) -> None:
        """Let a subject's own time come to ``now``: what is due on the way happens first.

        ``waited`` are lanes: only what had to wait for their backlog.
        """
        frozen = subject.edge.pending if subject.edge is not None else None
        for due, rule_id, key in sorted(
            (cell.due, name[0], name[1])
            for name, cell in subject.cells.items()
            if cell.due is not None and cell.due <= now
        ):
            active = self.plan.rules[rule_id]
            if due > now or (frozen and active.waits_for(frozen)):
                continue  # the backlog will tell what became of it
            if waited is not None and not active.waits_for(waited):
                continue
            self.step(active, active.cells[key], subject, now)
        subject.next_due = min(
            (cell.due for cell in subject.cells.values() if cell.due is not None), default=NEVER
        )

    def step(self, active: ActiveRule, cell: Cell, subject: Subject, now: int) -> None:
        """Let one cell's time come to ``now``."""
        if not life.advance(active, cell, subject, now, self):
            cell.since = cell.due = None
            cell.window = []
        self.settle(active, cell)

    def pause(self, subject: Subject) -> None:
        """Note how far ticks have brought a subject's own time, as its edge goes away."""
        if subject.cells:
            came_to = self.now_q - subject.offset(self.now_q, self.noticed)
            subject.now = max(subject.now, came_to)

    def resume(self, subject: Subject, waited: Collection[str] | None = None) -> None:
        """Start a subject's timers again where they stood: those that run now and did not before.

        ``waited`` are the lanes whose backlog was waited for; None: its edge was away.
        """
        back_q = 0 if subject.edge is None else subject.edge.back_q
        for (rule_id, key), cell in subject.cells.items():
            active = self.plan.rules[rule_id]
            if cell.due is None or not subject.runs(active):
                continue
            if waited is not None and not active.waits_for(waited):
                continue
            if subject.heard_at is not None and subject.heard_q >= back_q:
                cell.due_q = cell.due + subject.offset(self.now_q, self.noticed)
            else:
                cell.due_q = self.now_q + max(cell.due - max(subject.now, cell.at), 0)
            self._timers.push(cell.due_q, What.CELL, rule_id, key)

    # -- standing alerts -----------------------------------------------------------------------

    def recount(self) -> None:
        """Count the alerts that stand already (after a snapshot or a new topology)."""
        self._standing = {}
        for active in self.plan.rules.values():
            for cell in active.cells.values():
                if cell.alert is not None:
                    self._standing[cell.alert.id] = cell.alert.colour
                    self._colours.alert(cell.alert.node, cell.alert.colour, 1)

    def correct(self, cell: Cell, **times: int | None) -> None:
        """Correct the times of a published alert: a new revision without new attention."""
        if cell.alert is None:
            return
        revision = cell.alert.revision + 1
        cell.alert = replace(cell.alert, revision=revision, **times)  # type: ignore[arg-type]
        self.publish(cell.alert, StepKind.CORRECTED, self.noticed)

    def tell(self, alert: RuleSide, step: StepKind) -> None:
        """Publish an alert that does not stand: history, or a correction of a cleared one."""
        self.outputs.append(AlertOutput(alert, step, self.noticed))


def new_cell(active: ActiveRule, subject: Subject, key: str) -> Cell:
    """Return an empty cell for a key, seen first from a subject."""
    level = active.rule.key.level
    if level is None:
        device = None if subject.is_edge else subject.id
        return Cell(key, subject.id, node=subject.node, device=device)
    return Cell(key, subject.id, node=subject.levels[level])
