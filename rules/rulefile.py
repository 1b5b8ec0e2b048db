"""Reads one rule of a file: every key on its own, then what must fit together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from core.contracts.colours import Colour
from core.contracts.events import ID_PATTERN, KINDS
from core.contracts.topology import DeviceFamily, Level
from rules.expression.checking import check_condition
from rules.expression.syntax import ExpressionError, parse
from rules.expression.types import Scope, nearest
from rules.model import (
    Clear,
    Expression,
    Grade,
    Key,
    Rule,
    RuleType,
    Wording,
    is_momentary,
)
from rules.reader import Reader, YamlNode
from rules.wording import NAMES, unknown_placeholders

_KEYS = (
    "id", "title", "advice", "on", "type", "where", "when", "for", "within", "intervals",
    "count", "window", "clear", "colour", "grades", "key", "families", "enabled",
)  # fmt: skip
#: Which keys belong to which type only.
_TYPE_KEYS = {
    "for": RuleType.SUSTAINED, "within": RuleType.ABSENT, "intervals": RuleType.ABSENT,
    "count": RuleType.COUNT, "window": RuleType.COUNT,
}  # fmt: skip
_ALERT_COLOURS = tuple(colour.value for colour in Colour if colour.is_alert)
_CLOSED_KINDS = frozenset({"device.snapshot"})


@dataclass(frozen=True, slots=True)
class FileScope:
    """What the rules of one file share."""

    params: dict[str, float | str | bool]
    words: dict[str, Wording]


def read_wording(reader: Reader, node: YamlNode, what: str, *, most: int) -> Wording | None:
    """Read a text in both languages."""
    found = reader.mapping(node, ("zh", "en"), what)
    if found is None:
        return None
    texts: dict[str, str] = {}
    for language in ("zh", "en"):
        if language not in found:
            reader.complain(node, f"{what} lacks {language}", "every text is in both languages")
        elif (text := reader.text(found[language], f"{what}.{language}", most=most)) is not None:
            texts[language] = text
    return Wording(texts["zh"], texts["en"]) if len(texts) == 2 else None


def read_rule(reader: Reader, node: YamlNode, scope: FileScope) -> Rule | None:
    """Read one rule; None when it has faults (which the reader then holds)."""
    before = len(reader.problems)
    found = reader.mapping(node, _KEYS, "a rule")
    if found is None:
        return None
    rule = _RuleReader(reader, node, found, scope).read()
    return rule if len(reader.problems) == before else None


class _RuleReader:
    def __init__(
        self, reader: Reader, node: YamlNode, found: dict[str, YamlNode], scope: FileScope
    ) -> None:
        self._reader = reader
        self._node = node
        self._found = found
        self._scope = scope

    def read(self) -> Rule:
        reader = self._reader
        kind = self._take("type", lambda n: reader.choice(n, tuple(RuleType), "rule type"))
        rule_type = RuleType(kind or RuleType.MATCH)
        self._check_type_keys(rule_type)
        kinds = self._kinds("on", required=True, every=rule_type is RuleType.ABSENT)
        when = self._condition("when", kinds)
        colour, grades = self._colours(kinds)
        rule = Rule(
            id=self._id(),
            source=reader.source,
            line=self._node.start_mark.line + 1,
            type=rule_type,
            title=self._wording("title", kinds, most=120),
            advice=self._wording("advice", kinds, most=2_000),
            kinds=kinds,
            colour=colour,
            where=self._condition("where", kinds),
            when=when,
            for_ms=self._duration("for", needed=rule_type is RuleType.SUSTAINED) or 0,
            within_ms=self._duration("within", needed=False),
            intervals=self._take("intervals", lambda n: reader.number(n, "intervals", 0.5, 1000)),
            count=int(self._take("count", lambda n: reader.number(n, "count", 2, 10_000)) or 0),
            window_ms=self._duration("window", needed=rule_type is RuleType.COUNT) or 0,
            grades=grades,
            key=self._key(kinds),
            families=self._families(),
            enabled=self._take("enabled", lambda n: reader.truth(n, "enabled")) is not False,
            params=tuple(self._scope.params.items()),
            words=tuple(self._scope.words.items()),
        )
        self._check_together(rule)
        return self._with_clear(rule)

    def _take(self, name: str, read: Any) -> Any:
        node = self._found.get(name)
        return None if node is None else read(node)

    def _require(self, name: str, remedy: str = "") -> YamlNode | None:
        if name not in self._found:
            self._reader.complain(self._node, f"{name} is missing", remedy)
        return self._found.get(name)

    def _id(self) -> str:
        node = self._require("id")
        text = self._reader.text(node, "id", most=64) if node is not None else None
        if text is not None and re.fullmatch(ID_PATTERN, text) is None:
            self._reader.complain(node, f"{text!r} is not a usable id", "letters, digits, _ . -")
        return text or ""

    def _wording(self, name: str, kinds: tuple[str, ...], *, most: int) -> Wording:
        node = self._require(name, "write it in zh and en")
        wording = read_wording(self._reader, node, name, most=most) if node is not None else None
        if wording is None:
            return Wording("", "")
        known = Scope(kinds, self._scope.params).fields()
        for text in (wording.zh, wording.en):
            for placeholder in unknown_placeholders(text, known):
                self._reader.complain(
                    node, f"{name}: nothing fills {{{placeholder}}}",
                    nearest(placeholder, [*NAMES, *known]),
                )  # fmt: skip
        return wording

    def _kinds(self, name: str, *, required: bool, every: bool = False) -> tuple[str, ...]:
        node = self._require(name) if required else self._found.get(name)
        return self._kinds_of(node, name, every=every) if node is not None else ()

    def _kinds_of(self, node: YamlNode, name: str, *, every: bool) -> tuple[str, ...]:
        if every and isinstance(node, yaml.ScalarNode) and node.value == "any":
            return ()
        found: dict[str, None] = {}
        for item in self._reader.sequence(node, name):
            kind = self._reader.choice(item, KINDS, "event kind")
            if kind in _CLOSED_KINDS:
                self._reader.complain(item, f"{kind} holds states", "listen to their own kinds")
            elif kind is not None:
                found[kind] = None
        if len({kind.startswith("edge.") for kind in found}) > 1:
            self._reader.complain(node, "kinds of devices and of edges do not mix")
        return tuple(found)

    def _condition(self, name: str, kinds: tuple[str, ...]) -> Expression | None:
        node = self._found.get(name)
        return None if node is None else self._expression(node, name, kinds)

    def _expression(self, node: YamlNode, name: str, kinds: tuple[str, ...]) -> Expression | None:
        text = self._reader.text(node, name, most=4_000)
        if text is None:
            return None
        try:
            tree = parse(text)
            check_condition(tree, Scope(kinds, self._scope.params))
        except ExpressionError as refused:
            self._reader.complain_inside(node, refused)
            return None
        return Expression(" ".join(text.split()), tree)

    def _duration(self, name: str, *, needed: bool) -> int | None:
        node = self._require(name, "such as 30s") if needed else self._found.get(name)
        value: int | None = None if node is None else self._reader.duration(node, name)
        return value

    def _colours(self, kinds: tuple[str, ...]) -> tuple[Colour, tuple[Grade, ...]]:
        base = self._take("colour", lambda n: self._reader.choice(n, _ALERT_COLOURS, "colour"))
        grades: list[Grade] = []
        node = self._found.get("grades")
        for item in [] if node is None else self._reader.sequence(node, "grades"):
            grade = self._grade(item, kinds)
            if grade is None:
                continue
            if grade.when is None and not grade.after_ms:
                if base is not None:
                    self._reader.complain(
                        item, "two colours without a condition", "give this one when or after"
                    )
                base = grade.colour.value
            else:
                grades.append(grade)
        if base is None and "colour" not in self._found:
            self._reader.complain(
                self._node, "no colour", f"colour: one of {', '.join(_ALERT_COLOURS)}"
            )
        return Colour(base or Colour.BLUE), tuple(grades)

    def _grade(self, node: YamlNode, kinds: tuple[str, ...]) -> Grade | None:
        found = self._reader.mapping(node, ("colour", "when", "after"), "a grade")
        if found is None:
            return None
        if "colour" not in found:
            self._reader.complain(node, "a grade needs a colour")
            return None
        colour = self._reader.choice(found["colour"], _ALERT_COLOURS, "colour")
        when = self._expression(found["when"], "when", kinds) if "when" in found else None
        after = self._reader.duration(found["after"], "after") if "after" in found else 0
        return None if colour is None else Grade(Colour(colour), when, after or 0)

    def _key(self, kinds: tuple[str, ...]) -> Key:
        node = self._found.get("key")
        if node is None:
            return Key()
        level: Level | None = None
        fields: list[str] = []
        known = Scope(kinds, {}).fields()
        for position, item in enumerate(self._reader.sequence(node, "key")):
            names = ("device", "edge", *Level) if position == 0 else known
            name = self._reader.choice(
                item, names, "key" if position == 0 else "field of the kinds"
            )
            if position and name is not None:
                fields.append(name)
            elif name in tuple(Level):
                level = Level(name)
        return Key(level, tuple(fields))

    def _families(self) -> frozenset[DeviceFamily] | None:
        node = self._found.get("families")
        if node is None:
            return None
        names = [
            self._reader.choice(item, tuple(DeviceFamily), "device family")
            for item in self._reader.sequence(node, "families")
        ]
        return frozenset(DeviceFamily(name) for name in names if name is not None)

    def _check_type_keys(self, rule_type: RuleType) -> None:
        for name, owner in _TYPE_KEYS.items():
            if name in self._found and rule_type is not owner:
                self._reader.complain(
                    self._found[name], f"{name} belongs to type: {owner}, not to {rule_type}"
                )

    def _check_together(self, rule: Rule) -> None:
        if rule.type is RuleType.COUNT:
            self._require("count", "how many events")
        if rule.type is not RuleType.ABSENT:
            return
        if rule.within_ms is None and rule.intervals is None:
            self._reader.complain(
                self._node, "absent needs within or intervals",
                "within: 10m, or intervals: 3 of the device's expected interval",
            )  # fmt: skip
        for name in ("where", "when", "clear"):
            if name in self._found:
                self._reader.complain(
                    self._found[name], f"{name} does not go with absent",
                    "it is over when the device is heard",
                )  # fmt: skip
        if rule.kinds and rule.families is None:
            self._reader.complain(
                self._node, "absent about some kinds needs families", "the ones that send them"
            )
        if rule.key != Key() or any(kind.startswith("edge.") for kind in rule.kinds):
            self._reader.complain(self._node, "absent is about single devices")

    def _with_clear(self, rule: Rule) -> Rule:
        node = self._found.get("clear")
        clear = Clear() if node is None else self._clear(node, rule)
        if rule.type is RuleType.COUNT and node is None:
            clear = Clear(automatic=False, after_ms=rule.window_ms)
        elif clear.automatic and rule.type is not RuleType.ABSENT and rule.kinds:
            if momentary := [kind for kind in rule.kinds if is_momentary(kind)]:
                self._reader.complain(
                    self._node, f"{momentary[0]} never says that it is over",
                    "clear: {after: 10m} or clear: {on: another kind, when: ...}",
                )  # fmt: skip
            elif "when" not in self._found:
                self._reader.complain(
                    self._node, "without when it would never be over", "such as when: active"
                )
        values = {name: getattr(rule, name) for name in rule.__dataclass_fields__}
        return Rule(**{**values, "clear": clear})

    def _clear(self, node: YamlNode, rule: Rule) -> Clear:
        if isinstance(node, yaml.ScalarNode):
            if node.value in KINDS:
                return Clear(automatic=False, kinds=self._kinds_of(node, "clear", every=False))
            self._reader.choice(node, ("auto", *KINDS), "way to clear")
            return Clear()
        found = self._reader.mapping(node, ("on", "when", "after"), "clear")
        if not found:
            return Clear()
        after = self._reader.duration(found["after"], "after") if "after" in found else None
        kinds: tuple[str, ...] = ()
        if "on" in found:
            kinds = self._kinds_of(found["on"], "on", every=False)
        elif "when" in found:
            kinds = rule.kinds
        when = self._expression(found["when"], "when", kinds) if "when" in found else None
        return Clear(automatic=False, kinds=kinds, when=when, after_ms=after)
