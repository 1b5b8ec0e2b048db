"""Checked rules, as the engine uses them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.contracts.colours import Colour
from core.contracts.errors import ContractError
from core.contracts.events import KINDS, WAYS, Lane
from core.contracts.topology import DeviceFamily, Level
from rules.expression.syntax import Node


class RuleType(StrEnum):
    """How a rule comes to fire."""

    MATCH = "match"
    """As soon as its condition is true."""
    SUSTAINED = "sustained"
    """When its condition has been true for a while without a break."""
    ABSENT = "absent"
    """When a device has not been heard for a while."""
    COUNT = "count"
    """When enough matching events fall into a window."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a rule file; line and column count from 1."""

    source: str
    line: int
    column: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the problem as compilers print it."""
        tail = f"; {self.remedy}" if self.remedy else ""
        return f"{self.source}:{self.line}:{self.column}: {self.message}{tail}"


class RuleError(ContractError):
    """Rule files that cannot be used; ``problems`` says where and why."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True)
class Wording:
    """A text in both languages; it may hold placeholders such as ``{device}``."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression with its text as written."""

    text: str
    node: Node


@dataclass(frozen=True, slots=True)
class Grade:
    """A colour that an alert takes when ``when`` holds and ``after_ms`` have passed."""

    colour: Colour
    when: Expression | None = None
    after_ms: int = 0


@dataclass(frozen=True, slots=True)
class Clear:
    """When a standing alert is over.

    ``automatic``: when the rule's own condition is false. Otherwise on an event of ``kinds``
    for which ``when`` is true, or ``after_ms`` after the last event that fired it.
    """

    automatic: bool = True
    kinds: tuple[str, ...] = ()
    when: Expression | None = None
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """What an alert is about: a device (or edge), or the node of ``level`` above it.

    ``fields`` split further, so that each zone of a camera has an alert of its own.
    """

    level: Level | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One checked rule; durations are ms."""

    id: str
    source: str
    line: int
    type: RuleType
    title: Wording
    advice: Wording
    kinds: tuple[str, ...]
    colour: Colour
    where: Expression | None = None
    when: Expression | None = None
    for_ms: int = 0
    within_ms: int | None = None
    intervals: float | None = None
    count: int = 0
    window_ms: int = 0
    clear: Clear = Clear()
    grades: tuple[Grade, ...] = ()
    key: Key = Key()
    families: frozenset[DeviceFamily] | None = None
    enabled: bool = True
    params: tuple[tuple[str, float | str | bool], ...] = ()
    words: tuple[tuple[str, Wording], ...] = ()

    @property
    def condition(self) -> str:
        """Return the condition's text as written (empty when every event of the kinds counts)."""
        return " and ".join(part.text for part in (self.where, self.when) if part is not None)

    @property
    def lanes(self) -> frozenset[Lane]:
        """Return the lanes that can carry what this rule listens to."""
        kinds = (*self.kinds, *self.clear.kinds)
        return frozenset(lane for kind in kinds for lane in WAYS[KINDS[kind].lane])


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules that hold together, in the order of their files."""

    rules: tuple[Rule, ...] = ()

    def by_id(self) -> dict[str, Rule]:
        """Index the rules by id."""
        return {rule.id: rule for rule in self.rules}


def is_momentary(kind: str) -> bool:
    """Tell whether a kind says that something happened and never that it is over."""
    spec = KINDS[kind]
    return spec.lane is Lane.EVENT and not spec.standing and "active" not in spec.data.model_fields
