"""The life of one alert: how a cell comes to fire, worsens with time and is over.

Pure functions on a cell; what they decide goes to a sink (live, or the shadow of a backlog).
Each returns a :class:`Decision`, so that "why did it not fire?" has an answer.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import replace
from enum import StrEnum
from typing import Any, Protocol

from core.contracts.alerts import RuleSide, alert_id
from core.contracts.colours import Colour, worst
from core.contracts.outputs import StepKind
from rules.cells import Cell, Observation
from rules.model import RuleType
from rules.plan import ActiveRule
from rules.subjects import Subject
from rules.wording import duration, fill, say

#: A device clock that is set back further than this is believed; less is mere disorder.
CLOCK_STEP_MS = 60_000


class Decision(StrEnum):
    """What came of an event or a timer, and why."""

    RAISED = "raised"
    STANDING = "standing"
    PENDING = "pending"
    TOO_FEW = "too_few"
    CLEARED = "cleared"
    HELD_BY_OTHERS = "held_by_others"
    NOT_CLEARED = "not_cleared"
    DROPPED = "dropped"
    NOTHING = "nothing"


class Sink(Protocol):
    """Takes every change of an alert."""

    noticed: int

    def publish(self, alert: RuleSide, step: StepKind, at: int, /) -> None:
        """Take a change: the alert after it, what it was, and when."""
        ...


def ordered(cell: Cell, at: int) -> int:
    """Return the time of an event in a cell's own order: small disorder does not go back."""
    return at if at >= cell.at or cell.at - at > CLOCK_STEP_MS else cell.at


def hold(
    active: ActiveRule, cell: Cell, subject: Subject, seen: Observation, sink: Sink
) -> Decision:
    """The condition is true in an event."""
    rule = active.rule
    at = cell.at = ordered(cell, seen.at)
    cell.fired_at = at
    cell.occurrences += 1
    _note_grades(cell, seen)
    if rule.type is RuleType.COUNT:
        return _counted(active, cell, subject, seen, at, sink)
    since = min(seen.since, at)
    if active.is_shared:
        cell.holders.setdefault(subject.id, since)
    if cell.since is None:
        cell.since = since
        cell.opening, cell.event = seen.opening, seen.event
    if cell.alert is None:
        cell.remember(seen)
        if at - cell.since >= rule.for_ms:
            began = cell.since
            fire(active, cell, subject, sink, began=began, raised=began + rule.for_ms, now=at)
            return Decision.RAISED
    else:
        regrade(active, cell, at, sink)
    cell.due = next_due(active, cell)
    return Decision.PENDING if cell.alert is None else Decision.STANDING


def window_of(active: ActiveRule, times: list[int]) -> list[int]:
    """Return the newest of some times that a count's window still holds."""
    rule = active.rule
    newest = max(times, default=0)
    return sorted(t for t in times if newest - t < rule.window_ms)[-rule.count :]


def _counted(
    active: ActiveRule, cell: Cell, subject: Subject, seen: Observation, at: int, sink: Sink
) -> Decision:
    rule = active.rule
    insort(cell.window, at)
    newest = cell.window[-1]
    cell.window = window_of(active, cell.window)
    decision = Decision.TOO_FEW
    if cell.alert is not None:
        regrade(active, cell, at, sink)
        decision = Decision.STANDING
    else:
        cell.remember(seen)
        if len(cell.window) >= rule.count:
            cell.opening, cell.event = seen.opening, seen.event
            cell.since = cell.window[0]
            fire(active, cell, subject, sink, began=cell.since, raised=newest, now=newest)
            return Decision.RAISED
    cell.due = next_due(active, cell)
    return decision


def release(active: ActiveRule, cell: Cell, subject: Subject, at: int, sink: Sink) -> Decision:
    """The condition is false in an event."""
    rule = active.rule
    if rule.type is RuleType.COUNT:
        return Decision.NOTHING
    at = cell.at = ordered(cell, at)
    if active.is_shared:
        cell.holders.pop(subject.id, None)
        if cell.holders:
            return Decision.HELD_BY_OTHERS
    if cell.alert is None:
        cell.since = cell.due = None
        return Decision.DROPPED
    if not rule.clear.automatic:
        return Decision.NOT_CLEARED
    return over(cell, at, sink)


def over(cell: Cell, at: int, sink: Sink) -> Decision:
    """Whatever the cell holds is over at ``at``; a standing alert is cleared."""
    alert = cell.alert
    cell.alert = cell.since = cell.due = None
    cell.holders = {}
    cell.window = []
    if alert is None:
        return Decision.DROPPED
    cleared = replace(alert, cleared_at=max(at, alert.began_at), revision=alert.revision + 1)
    sink.publish(cleared, StepKind.CLEARED, cleared.cleared_at or at)
    return Decision.CLEARED


def advance(active: ActiveRule, cell: Cell, subject: Subject, now: int, sink: Sink) -> bool:
    """Let a cell's own time come to ``now``; return whether the cell is still needed."""
    rule = active.rule
    while cell.due is not None and cell.due <= now:
        due = cell.due
        if cell.alert is None:
            if rule.type is RuleType.COUNT or cell.since is None:
                return False
            fire(active, cell, subject, sink, began=cell.since, raised=due, now=due)
        elif rule.clear.after_ms is not None and cell.fired_at + rule.clear.after_ms <= due:
            over(cell, due, sink)
            return False
        else:
            regrade(active, cell, due, sink)
            cell.due = next_due(active, cell)
    return cell.since is not None or bool(cell.window)


def next_due(active: ActiveRule, cell: Cell) -> int | None:
    """Return when (the device's time) something next happens to a cell by time alone."""
    rule = active.rule
    if cell.alert is None:
        if rule.type is RuleType.COUNT:
            return cell.window[-1] + rule.window_ms if cell.window else None
        return None if cell.since is None else cell.since + rule.for_ms
    began = cell.alert.began_at
    due = [
        began + grade.after_ms
        for grade in rule.grades
        if grade.after_ms and began + grade.after_ms > cell.graded_at
    ]
    if rule.clear.after_ms is not None:
        due.append(cell.fired_at + rule.clear.after_ms)
    return min(due, default=None)


def _note_grades(cell: Cell, seen: Observation) -> None:
    if len(cell.grades) != len(seen.mask):
        cell.grades = [False] * len(seen.mask)
    for index, holds in enumerate(seen.mask):
        if holds is not None:
            cell.grades[index] = bool(holds)


def colour_at(active: ActiveRule, cell: Cell, began: int, now: int) -> Colour:
    """Return the colour that an alert has at ``now``: the worst of its grades that hold."""
    rule = active.rule
    colours = [rule.colour]
    for index, grade in enumerate(rule.grades):
        if now - began < grade.after_ms:
            continue
        if grade.when is None or (index < len(cell.grades) and cell.grades[index]):
            colours.append(grade.colour)
    return worst(colours)


def regrade(active: ActiveRule, cell: Cell, now: int, sink: Sink) -> None:
    """Give a standing alert the colour that it has now; worse asks for attention, better not."""
    alert = cell.alert
    if alert is None:
        return
    cell.graded_at = max(cell.graded_at, now)
    colour = colour_at(active, cell, alert.began_at, now)
    if colour is alert.colour:
        return
    revision = alert.revision + 1
    if colour.rank > alert.colour.rank:
        cell.alert = replace(
            alert, colour=colour, revision=revision, attention=revision, worsened_at=now
        )
        sink.publish(cell.alert, StepKind.WORSENED, now)
    else:
        cell.alert = replace(alert, colour=colour, revision=revision)
        sink.publish(cell.alert, StepKind.EASED, now)


def fire(
    active: ActiveRule,
    cell: Cell,
    subject: Subject,
    sink: Sink,
    *,
    began: int,
    raised: int,
    now: int,
) -> None:
    """Raise an alert; its id follows from the rule, the key and the opening event."""
    rule = active.rule
    texts: dict[str, Any] = dict(cell.data)
    shown: dict[str, dict[str, Any]] = {
        "zh": texts | {name: word.zh for name, word in subject.names.items()},
        "en": texts | {name: word.en for name, word in subject.names.items()},
    }
    cell.graded_at = now
    cell.alert = RuleSide(
        id=alert_id(rule.id, cell.key, cell.opening),
        rule=rule.id,
        key=cell.key,
        site=subject.site,
        node=cell.node,
        device=cell.device,
        colour=colour_at(active, cell, began, now),
        began_at=began,
        raised_at=raised,
        noticed_at=sink.noticed,
        revision=1,
        attention=1,
        title_zh=fill(rule.title.zh, shown["zh"], active.words, "zh"),
        title_en=fill(rule.title.en, shown["en"], active.words, "en"),
        advice_zh=fill(rule.advice.zh, shown["zh"], active.words, "zh"),
        advice_en=fill(rule.advice.en, shown["en"], active.words, "en"),
        reason=_reason(active, cell, subject),
    )
    cell.due = next_due(active, cell)
    sink.publish(cell.alert, StepKind.RAISED, raised)


def _reason(active: ActiveRule, cell: Cell, subject: Subject) -> dict[str, object]:
    rule = active.rule
    reason: dict[str, object] = {
        "type": rule.type.value,
        "condition": rule.condition,
        "kind": cell.kind,
        "values": dict(cell.values),
        "event": dict(cell.event),
    }
    if rule.for_ms:
        reason["for_ms"] = rule.for_ms
    if rule.type is RuleType.ABSENT:
        reason["within_ms"] = active.within_ms(subject)
    if rule.type is RuleType.COUNT:
        reason |= {"count": rule.count, "window_ms": rule.window_ms}
    reason["zh"] = _sentence(active, cell, subject, "zh")
    reason["en"] = _sentence(active, cell, subject, "en")
    return reason


def _sentence(active: ActiveRule, cell: Cell, subject: Subject, language: str) -> str:
    """Say in words why a rule fired."""
    rule = active.rule
    chinese = language == "zh"
    if rule.type is RuleType.ABSENT:
        silence = duration(active.within_ms(subject) or 0, language)
        return f"已超过{silence}未收到数据" if chinese else f"not heard for more than {silence}"
    parts = [cell.kind]
    if rule.condition:
        parts.append(rule.condition)
    if cell.values:
        separator = "，" if chinese else ", "
        parts.append(
            separator.join(
                f"{k} = {say(v, active.words, language)}" for k, v in cell.values.items()
            )
        )
    text = ("；" if chinese else "; ").join(parts)
    if rule.for_ms:
        held = duration(rule.for_ms, language)
        text += f"；已持续{held}" if chinese else f"; held for {held}"
    if rule.type is RuleType.COUNT:
        window = duration(rule.window_ms, language)
        text += f"；{window}内{rule.count}次" if chinese else f"; {rule.count} times in {window}"
    return text
