"""Rules bound to a topology's families: which closures run for which kind of event."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from core.contracts.codec import Event, data_dict
from core.contracts.events import KINDS
from core.contracts.topology import DeviceFamily
from rules.cells import Cell, Observation
from rules.expression.compiling import Closure, Constant, compile_for
from rules.expression.syntax import names
from rules.expression.types import DEVICE_ID, FIELD_TYPES, LIMITS
from rules.model import Expression, Rule, RuleSet, RuleType, Wording
from rules.subjects import Subject

_MISSING = "-"
#: What only an edge (or the collector, about one) says.
_EDGE_KINDS = frozenset(k for k in KINDS if k.startswith("edge.") and k != "edge.clock")
_DEVICE_KINDS = tuple(kind for kind in KINDS if not kind.startswith("edge."))


_ALWAYS = Constant(True)  # noqa: FBT003 - a value


class ActiveRule:
    """A rule at work: its closures for each kind, and its cells by key."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.params = dict(rule.params)
        self.words: dict[str, Wording] = dict(rule.words)
        self.lanes = frozenset(lane.value for lane in rule.lanes)
        self.is_shared = rule.key.level is not None
        self.cells: dict[str, Cell] = {}
        self.heard: dict[str, tuple[int, int]] = {}
        """Absent rules about some kinds only: when (listening time, own time) one was heard."""
        self.wakes: dict[str, int] = {}
        """Absent rules: the timer (listening time) that each device has in the heap."""
        self._grades = {
            kind: tuple(self._closure(grade.when, kind) for grade in rule.grades)
            for kind in rule.kinds
        }
        whole = [part for part in (rule.where, rule.when) if part is not None]
        self._paths = list(dict.fromkeys(path for part in whole for path in names(part.node)))

    def waits_for(self, lanes: Collection[str]) -> bool:
        """Tell whether its timers stand still while a backlog in some lanes is still to come.

        Anything may have been heard in any lane, so silence waits for all of them.
        """
        if self.rule.type is RuleType.ABSENT:
            return bool(lanes)
        return not self.lanes.isdisjoint(lanes)

    def _closure(self, expression: Expression | None, kind: str) -> Closure | None:
        return None if expression is None else compile_for(expression.node, kind, self.params)

    def test(self, kind: str) -> Closure | None:
        """Return the closure that says true, false, or None for "does not concern this rule".

        None where no event of the kind concerns it.
        """
        rule = self.rule
        when = self._closure(rule.when, kind) or _ALWAYS
        where = self._closure(rule.where, kind) or _ALWAYS
        if isinstance(where, Constant):
            if not where.value or (isinstance(when, Constant) and when.value is None):
                return None
            return when
        if rule.when is None or rule.where is None:
            return lambda data, subject: True if where(data, subject) else None
        return compile_for(rule.when.node, kind, self.params, rule.where.node)

    def clear_test(self, kind: str) -> Closure:
        """Return the closure of the clear condition for one kind."""
        return self._closure(self.rule.clear.when, kind) or _ALWAYS

    def key_of(self, subject: Subject, data: Any) -> str:
        """Return the key that an event of a subject belongs to."""
        key = self.rule.key
        base = subject.id if key.level is None else subject.levels[key.level]
        if not key.fields:
            return base
        values = (getattr(data, field, None) for field in key.fields)
        return "/".join((base, *(_MISSING if v is None else str(v)[:64] for v in values)))

    def observe(
        self,
        subject: Subject,
        event: Event,
        origin: tuple[str, dict[str, Any]],
        since: int,
        at: int,
    ) -> Observation:
        """Return what a true condition's event says; ``origin`` is its identity."""
        return Observation(
            since=since,
            at=at,
            kind=event.kind,
            opening=origin[0],
            event=origin[1],
            data=_flat(event),
            values={path: self._value(path, event, subject) for path in self._paths},
            mask=tuple(
                None if test is None else test(event.data, subject)
                for test in self._grades.get(event.kind, ())
            ),
        )

    def values_of(self, subject: Subject, event: Event) -> dict[str, Any]:
        """Return the values of everything that the condition names."""
        return {path: self._value(path, event, subject) for path in self._paths}

    def _value(self, path: str, event: Event, subject: Subject) -> Any:
        if path.startswith(LIMITS):
            return subject.limits.get(path.removeprefix(LIMITS))
        if path.startswith("params."):
            return self.params[path.removeprefix("params.")]
        if path == DEVICE_ID:
            return subject.id
        if path in subject.facts:
            return subject.facts[path]
        return getattr(event.data, path.removeprefix("data."), None)

    def within_ms(self, subject: Subject) -> int | None:
        """Return an absent rule's allowed silence for a subject; None: it has none."""
        if self.rule.within_ms is not None:
            return self.rule.within_ms
        if subject.expect_ms is None or self.rule.intervals is None:
            return None
        return round(subject.expect_ms * self.rule.intervals)


def _flat(event: Event) -> dict[str, Any]:
    known = FIELD_TYPES[event.kind]
    return {name: value for name, value in data_dict(event).items() if name in known}


class KindPlan:
    """What to do with an event of one kind from one family of devices."""

    __slots__ = ("absents", "clears", "tests")

    def __init__(self) -> None:
        self.tests: list[tuple[Closure, ActiveRule]] = []
        self.clears: list[tuple[Closure, ActiveRule]] = []
        self.absents: list[ActiveRule] = []


class Plan:
    """All rules at work, in the order of their files."""

    def __init__(self, rules: RuleSet | None = None) -> None:
        listed = () if rules is None else rules.rules
        self.rules = {rule.id: ActiveRule(rule) for rule in listed if rule.enabled}
        self.absents = [r for r in self.rules.values() if r.rule.type is RuleType.ABSENT]
        self._families: dict[DeviceFamily, dict[str, KindPlan]] = {}

    def for_family(self, family: DeviceFamily) -> dict[str, KindPlan]:
        """Return the plans by kind for one family; every kind that no rule wants is left out."""
        found = self._families.get(family)
        if found is None:
            found = self._families[family] = self._build(family)
        return found

    def _build(self, family: DeviceFamily) -> dict[str, KindPlan]:
        plans: dict[str, KindPlan] = {}
        for active in self.rules.values():
            rule = active.rule
            if rule.families is not None and family not in rule.families:
                continue
            if rule.type is RuleType.ABSENT:
                for kind in rule.kinds or _DEVICE_KINDS:
                    plans.setdefault(kind, KindPlan()).absents.append(active)
                continue
            if family is not DeviceFamily.EDGE and set(rule.kinds) <= _EDGE_KINDS:
                continue
            for kind in rule.kinds:
                plan = plans.setdefault(kind, KindPlan())
                if (test := active.test(kind)) is not None:
                    plan.tests.append((test, active))
            for kind in rule.clear.kinds:
                entry = (active.clear_test(kind), active)
                plans.setdefault(kind, KindPlan()).clears.append(entry)
        return plans
