"""From a checked syntax tree to Python closures.

A closure takes an event's data (a struct whose attributes are the kind's fields) and the
subject that it tells of, and returns a value or None for unknown. What a kind settles by itself
(a field that it does not have is unknown in each of its events) is settled here, once: a
condition about several kinds costs each event only the part that concerns its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol

from rules.expression.syntax import Call, Items, Literal, Name, Node, Operation
from rules.expression.types import DEVICE_ID, FIELD_TYPES, LIMITS


class Known(Protocol):
    """What a condition can ask of a subject; ``facts`` holds the other fixed paths' values."""

    id: str
    limits: dict[str, float]
    facts: dict[str, Any]


Closure = Callable[[Any, Any], Any]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


class Constant:
    """A closure whose value no event changes; None is unknown."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _data: Any, _subject: Any) -> Any:
        """Return the value."""
        return self.value


_UNKNOWN, _TRUE, _FALSE = (Constant(value) for value in (None, True, False))


def compile_for(node: Node, kind: str | None, params: dict[str, float | str | bool]) -> Closure:
    """Compile an expression for events of one kind (None: without an event).

    A field that this kind does not have is always unknown. The result is a :class:`Constant`
    where no event of the kind can change it.
    """
    fields = frozenset(FIELD_TYPES[kind]) if kind is not None else frozenset()
    return _compile(node, fields, params)


def _compile(node: Node, fields: frozenset[str], params: dict[str, Any]) -> Closure:
    if isinstance(node, Literal):
        return Constant(node.value)
    if isinstance(node, Items):
        return Constant(frozenset(item.value for item in node.items))
    if isinstance(node, Name):
        return _name(node.path, fields, params)
    parts = [_compile(child, fields, params) for child in _parts(node)]
    if isinstance(node, Call):
        made = _several(node, fields) or _call(node.function, parts)
    elif node.operator in _COMPARE:
        made = _comparison(node, parts, fields)
    elif node.operator in _ARITHMETIC:
        made = _arithmetic(_ARITHMETIC[node.operator], *parts)
    else:
        made = _LOGIC[node.operator](parts)
    settled = all(isinstance(part, Constant) for part in parts)
    return Constant(made(None, None)) if settled else made


def _parts(node: Call | Operation) -> tuple[Node, ...]:
    return node.arguments if isinstance(node, Call) else node.operands


def _is(part: Closure, constant: Constant) -> bool:
    return isinstance(part, Constant) and part.value is constant.value


def _name(path: str, fields: frozenset[str], params: dict[str, Any]) -> Closure:
    if path.startswith("params."):
        return Constant(params[path.removeprefix("params.")])
    if path.startswith(LIMITS):
        limit = path.removeprefix(LIMITS)
        return lambda _data, subject: subject.limits.get(limit)
    field = path.removeprefix("data.")
    if field in fields:
        get = attrgetter(field)
        return lambda data, _subject: get(data)
    if path == DEVICE_ID:
        return lambda _data, subject: subject.id
    if "." in path:
        return lambda _data, subject: subject.facts.get(path)
    return _UNKNOWN


def _comparison(node: Operation, parts: list[Closure], fields: frozenset[str]) -> Closure:
    compare = _COMPARE[node.operator]
    first, second = parts
    if _is(first, _UNKNOWN) or _is(second, _UNKNOWN):
        return _UNKNOWN
    left = node.operands[0]
    if isinstance(second, Constant):
        field = left.path.removeprefix("data.") if isinstance(left, Name) else ""
        if field in fields:
            return _field_against(attrgetter(field), compare, second.value)
        return _against(first, compare, second.value)

    def compared(data: Any, subject: Any) -> Any:
        a = first(data, subject)
        if a is None:
            return None
        b = second(data, subject)
        return None if b is None else compare(a, b)

    return compared


def _against(part: Closure, compare: Closure, bound: Any) -> Closure:
    def compared(data: Any, subject: Any) -> Any:
        value = part(data, subject)
        return None if value is None else compare(value, bound)

    return compared


def _field_against(get: Callable[[Any], Any], compare: Closure, bound: Any) -> Closure:
    def compared(data: Any, _subject: Any) -> Any:
        value = get(data)
        return None if value is None else compare(value, bound)

    return compared


def _arithmetic(apply: Closure, first: Closure, second: Closure) -> Closure:
    def computed(data: Any, subject: Any) -> Any:
        a = first(data, subject)
        b = second(data, subject)
        if a is None or b is None:
            return None
        try:
            result = apply(float(a), float(b))
        except ArithmeticError:
            return None
        return result if result - result == 0.0 else None  # infinities and NaN are unknown

    return computed


def _negate(parts: list[Closure]) -> Closure:
    (part,) = parts

    def negated(data: Any, subject: Any) -> Any:
        value = part(data, subject)
        return None if value is None else not value

    return negated


def _minus(parts: list[Closure]) -> Closure:
    (part,) = parts

    def minus(data: Any, subject: Any) -> Any:
        value = part(data, subject)
        return None if value is None else -value

    return minus


def _all(parts: list[Closure]) -> Closure:
    left = [part for part in parts if not _is(part, _TRUE)]
    if any(_is(part, _FALSE) for part in left):
        return _FALSE
    if not left:
        return _TRUE
    if len(left) == 1:
        return left[0]

    def conjunction(data: Any, subject: Any) -> Any:
        result: bool | None = True
        for part in left:
            value = part(data, subject)
            if value is False:
                return False
            if value is None:
                result = None
        return result

    return conjunction


def _any(parts: list[Closure]) -> Closure:
    left = [part for part in parts if not _is(part, _FALSE)]
    if any(_is(part, _TRUE) for part in left):
        return _TRUE
    if not left:
        return _FALSE
    if len(left) == 1:
        return left[0]

    def disjunction(data: Any, subject: Any) -> Any:
        result: bool | None = False
        for part in left:
            value = part(data, subject)
            if value is True:
                return True
            if value is None:
                result = None
        return result

    return disjunction


def _inside(parts: list[Closure]) -> Closure:
    item, collection = parts

    def inside(data: Any, subject: Any) -> Any:
        value, within = item(data, subject), collection(data, subject)
        return None if value is None or within is None else value in within

    return inside


_LOGIC: dict[str, Callable[[list[Closure]], Closure]] = {
    "and": _all, "or": _any, "not": _negate, "neg": _minus, "in": _inside,
}  # fmt: skip


def _call(function: str, parts: list[Closure]) -> Closure:
    if function == "known":
        (part,) = parts
        return lambda data, subject: part(data, subject) is not None
    if function in ("min", "max"):
        return _extreme(min if function == "min" else max, parts)
    if function == "between":
        return _between(*parts)
    (part,) = parts
    apply: Callable[[Any], Any] = abs if function == "abs" else len

    def applied(data: Any, subject: Any) -> Any:
        value = part(data, subject)
        return None if value is None else apply(value)

    return applied


def _several(node: Call, fields: frozenset[str]) -> Closure | None:
    """Compile ``min``/``max`` of fields only, which read at once: the commonest form."""
    paths = [a.path.removeprefix("data.") for a in node.arguments if isinstance(a, Name)]
    if node.function not in ("min", "max") or len(paths) < 2 or len(paths) < len(node.arguments):
        return None
    own = [path for path in paths if path in fields]
    if len(own) < len(paths):
        return None
    get = attrgetter(*own)
    pick: Callable[[Any], Any] = min if node.function == "min" else max

    others = len(paths) - 1

    def several(data: Any, _subject: Any) -> Any:
        values = get(data)
        unknown = values.count(None)
        if not unknown:
            return pick(values)
        if unknown == others and values[0] is not None:
            return values[0]  # a single-phase meter has one voltage only
        return _pick_known(pick, values)

    return several


def _pick_known(pick: Callable[[Any], Any], values: tuple[Any, ...]) -> Any:
    known = [value for value in values if value is not None]
    return pick(known) if known else None


def _extreme(pick: Callable[[list[Any]], Any], parts: list[Closure]) -> Closure:
    def extreme(data: Any, subject: Any) -> Any:
        """Leave unknown values out: a single-phase meter has one voltage only."""
        values = [v for part in parts if (v := part(data, subject)) is not None]
        return pick(values) if values else None

    return extreme


def _between(value: Closure, low: Closure, high: Closure) -> Closure:
    if isinstance(low, Constant) and isinstance(high, Constant):
        return _within(value, low.value, high.value)

    def between(data: Any, subject: Any) -> Any:
        v, a, b = value(data, subject), low(data, subject), high(data, subject)
        return None if v is None or a is None or b is None else a <= v <= b

    return between


def _within(value: Closure, low: Any, high: Any) -> Closure:
    if low is None or high is None:
        return _UNKNOWN

    def within(data: Any, subject: Any) -> Any:
        v = value(data, subject)
        return None if v is None else low <= v <= high

    return within
