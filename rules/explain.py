"""Why did it (not) fire: what a rule thinks of a key now, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.contracts.codec import Event
from core.contracts.events import KINDS
from rules.cells import Cell
from rules.model import RuleType
from rules.plan import ActiveRule
from rules.subjects import Subject
from rules.wording import duration

if TYPE_CHECKING:
    from rules.engine import Engine


class Why(StrEnum):
    """Why a rule stands or does not."""

    STANDING = "standing"
    NOT_TRUE = "not_true"
    OTHER_CASE = "other_case"
    VALUE_MISSING = "value_missing"
    NOT_LONG_ENOUGH = "not_long_enough"
    TOO_FEW = "too_few"
    NOT_HEARD = "not_heard"
    HEARD = "heard"
    NO_INTERVAL = "no_interval"
    UNREACHABLE = "unreachable"
    EDGE_AWAY = "edge_away"
    EDGE_DRAINING = "edge_draining"
    RULE_UNKNOWN = "rule_unknown"
    DEVICE_UNKNOWN = "device_unknown"
    OTHER_FAMILY = "other_family"


_TEXTS = {
    Why.STANDING: ("已触发", "an alert stands"),
    Why.NOT_TRUE: ("条件不成立", "the condition is false"),
    Why.OTHER_CASE: ("最近事件与本规则无关", "the last event does not concern this rule"),
    Why.VALUE_MISSING: ("缺少取值，条件未知", "a value is missing, so the condition is unknown"),
    Why.NOT_HEARD: ("尚未收到相关事件", "no event of these kinds since the engine was loaded"),
    Why.HEARD: ("设备在线，未超时", "heard within the allowed silence"),
    Why.NO_INTERVAL: ("设备未设预期周期", "the device has no expected interval"),
    Why.UNREACHABLE: ("边缘节点已报告无法连接该设备", "its edge says that it cannot be reached"),
    Why.EDGE_AWAY: ("边缘节点离线，计时暂停", "its edge is away: timers stand still"),
    Why.EDGE_DRAINING: ("边缘节点正在补传，计时暂停", "its edge still drains: timers stand still"),
    Why.RULE_UNKNOWN: ("没有此规则（或已停用）", "no such rule, or it is disabled"),
    Why.DEVICE_UNKNOWN: ("拓扑中没有此设备", "the topology has no such device"),
    Why.OTHER_FAMILY: ("规则不适用于此类设备", "the rule is about other families of devices"),
}


def explain(engine: Engine, rule_id: str, key: str) -> dict[str, Any]:
    """Return ``{rule, key, why, zh, en, ...}`` with the last evaluation where there is one.

    ``key`` is the alert's key; its first part is a device, an edge or a node.
    """
    if engine.last is None:
        raise ValueError("this engine was made not to explain")
    found: dict[str, Any] = {"rule": rule_id, "key": key}
    active = engine.plan.rules.get(rule_id)
    if active is None:
        return _say(found, Why.RULE_UNKNOWN)
    rule = active.rule
    found |= {"type": rule.type.value, "condition": rule.condition, "kinds": list(rule.kinds)}
    cell = active.cells.get(key)
    subject = engine.subjects.get(key.split("/", 1)[0] if cell is None else cell.subject)
    if cell is not None:
        found["state"] = _state(cell)
    if cell is not None and cell.alert is not None:
        found |= {"alert": cell.alert.id, "reason": cell.alert.reason}
        return _say(found, Why.STANDING)
    if subject is None:
        return _say(found, Why.DEVICE_UNKNOWN)
    if rule.families is not None and subject.family not in rule.families:
        return _say(found, Why.OTHER_FAMILY)
    found["edge"] = None if subject.edge is None else _edge(subject)
    if rule.type is RuleType.ABSENT:
        return _silence(found, engine, active, subject)
    return _condition(found, active, subject, cell, engine.last.get(subject.id, {}))


def _say(found: dict[str, Any], why: Why, zh: str = "", en: str = "") -> dict[str, Any]:
    known = _TEXTS.get(why, ("", ""))
    return found | {"why": why.value, "zh": zh or known[0], "en": en or known[1]}


def _state(cell: Cell) -> dict[str, Any]:
    return {
        "since": cell.since,
        "at": cell.at,
        "due": cell.due,
        "occurrences": cell.occurrences,
        "window": len(cell.window),
    }


def _edge(subject: Subject) -> dict[str, Any] | None:
    edge = subject.edge
    return None if edge is None else {"id": edge.id, "online": edge.online, "drained": edge.drained}


def _frozen(subject: Subject, active: ActiveRule) -> Why | None:
    is_absent = active.rule.type is RuleType.ABSENT
    if subject.edge is None or (subject.running if is_absent else subject.runs(active)):
        return None
    return Why.EDGE_DRAINING if subject.edge.online else Why.EDGE_AWAY


def _silence(
    found: dict[str, Any], engine: Engine, active: ActiveRule, subject: Subject
) -> dict[str, Any]:
    within = active.within_ms(subject)
    found |= {"within_ms": within, "last_heard": subject.heard_at}
    if within is None:
        return _say(found, Why.NO_INTERVAL)
    if (frozen := _frozen(subject, active)) is not None:
        return _say(found, frozen)
    if subject.unwell:
        return _say(found, Why.UNREACHABLE)
    deadline = engine.silence.deadline(active, subject)
    if deadline is None:
        return _say(found, Why.NOT_HEARD)
    left = deadline - engine.timers.listening(engine.at)
    return _say(
        found | {"left_ms": left},
        Why.HEARD,
        f"再沉默{duration(left, 'zh')}即触发",
        f"fires after another {duration(left, 'en')} of silence",
    )


def _condition(
    found: dict[str, Any],
    active: ActiveRule,
    subject: Subject,
    cell: Cell | None,
    last: Mapping[str, Event],
) -> dict[str, Any]:
    rule = active.rule
    heard = [last[kind] for kind in rule.kinds if kind in last]
    newest = max(heard, key=lambda event: event.at, default=None)
    if newest is not None:
        values = active.values_of(subject, newest)
        found |= {"last": {"kind": newest.kind, "at": newest.at, "values": values}}
    if rule.type is RuleType.COUNT and cell is not None:
        text = f"{len(cell.window)}/{rule.count}"
        return _say(
            found, Why.TOO_FEW, f"窗口内{text}次", f"{text} within {duration(rule.window_ms, 'en')}"
        )
    if cell is not None and cell.since is not None:
        return _pending(found, active, subject, cell)
    if newest is None:
        return _say(found, _frozen(subject, active) or Why.NOT_HEARD)
    test = active.test(newest.kind)
    verdict = None if test is None else test(newest.data, subject)
    if verdict is False:
        return _say(found, Why.NOT_TRUE)
    if verdict is None:
        missing = [path for path, value in found["last"]["values"].items() if value is None]
        why = Why.VALUE_MISSING if missing else Why.OTHER_CASE
        return _say(found | {"missing": missing}, why)
    is_state = KINDS[newest.kind].standing
    return _say(found, Why.NOT_HEARD if is_state else Why.NOT_TRUE)


def _pending(
    found: dict[str, Any], active: ActiveRule, subject: Subject, cell: Cell
) -> dict[str, Any]:
    needed = active.rule.for_ms
    held = max(subject.now, cell.at) - (cell.since or 0)
    zh = f"已成立{duration(held, 'zh')}，需{duration(needed, 'zh')}"
    en = f"true for {duration(held, 'en')} of {duration(needed, 'en')}"
    if (frozen := _frozen(subject, active)) is not None:
        pair = _TEXTS[frozen]
        return _say(found | {"held_ms": held}, frozen, f"{zh}；{pair[0]}", f"{en}; {pair[1]}")
    return _say(found | {"held_ms": held, "for_ms": needed}, Why.NOT_LONG_ENOUGH, zh, en)
