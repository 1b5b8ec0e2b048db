"""From a checked syntax tree to Python functions.

A function takes an event's data (a struct whose attributes are the kind's fields) and the
subject that it tells of, and returns a value or None for unknown. What a kind settles by itself
(a field that it does not have is unknown in each of its events) is settled here, once: a
condition about several kinds costs each event only the part that concerns its own.

A condition is written as one Python expression, which takes less than half the time of closures
within closures. Nothing of a rule's text stands in it but numbers and truth values: texts, lists
and the names of limits are handed to it as values, and a field's name is one of the vocabulary.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol

from rules.expression.syntax import Call, Items, Literal, Name, Node
from rules.expression.types import DEVICE_ID, FIELD_TYPES, LIMITS


class Known(Protocol):
    """What a condition can ask of a subject; ``facts`` holds the other fixed paths' values."""

    id: str
    limits: dict[str, float]
    facts: dict[str, Any]


Closure = Callable[[Any, Any], Any]

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
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
#: A settled value, or the Python expression of one that an event or its subject decides.
_Part = Constant | str


def compile_for(
    node: Node, kind: str | None, params: dict[str, float | str | bool], where: Node | None = None
) -> Closure:
    """Compile an expression for events of one kind (None: without an event).

    A field that this kind does not have is always unknown. The result is a :class:`Constant`
    where no event of the kind can change it. Where ``where`` is not true, it is not looked at and
    the value is None.
    """
    fields = frozenset(FIELD_TYPES[kind]) if kind is not None else frozenset()
    writing = _Writing(fields, params)
    part = writing.part(node)
    if where is not None:
        concerns = writing.text(writing.part(where))
        part = f"({writing.text(part)} if {concerns} else None)"
    return part if isinstance(part, Constant) else writing.function(part)


class _Writing:
    """Writes one expression, and keeps the values that it names."""

    def __init__(self, fields: frozenset[str], params: dict[str, Any]) -> None:
        self._fields = fields
        self._params = params
        self._values: dict[str, Any] = {}
        self._temporaries = 0

    def function(self, text: str) -> Closure:
        """Return the function whose value is a text's."""
        function: Closure = eval(_code(text), {**_HELPERS, **self._values})  # noqa: S307 - our own text
        return function

    def text(self, part: _Part) -> str:
        """Return a part as Python."""
        if isinstance(part, str):
            return part
        value = part.value
        if value is None or isinstance(value, bool):
            return repr(value)
        if isinstance(value, int | float) and value - value == 0:
            return f"({value!r})"  # not so of what is infinite
        return self._value(value)

    def part(self, node: Node) -> _Part:
        """Write a node."""
        if isinstance(node, Literal):
            return Constant(node.value)
        if isinstance(node, Items):
            return Constant(frozenset(item.value for item in node.items))
        if isinstance(node, Name):
            return self._name(node.path)
        operands = node.arguments if isinstance(node, Call) else node.operands
        parts = [self.part(operand) for operand in operands]
        if isinstance(node, Call):
            made = self._call(node.function, parts)
        else:
            made = self._operation(node.operator, parts)
        if isinstance(made, str) and all(isinstance(part, Constant) for part in parts):
            return Constant(self.function(made)(None, None))
        return made

    def _name(self, path: str) -> _Part:
        if path.startswith("params."):
            return Constant(self._params[path.removeprefix("params.")])
        if path.startswith(LIMITS):
            return f"subject.limits.get({self._value(path.removeprefix(LIMITS))})"
        field = path.removeprefix("data.")
        if field in self._fields:
            return f"data.{field}"
        if path == DEVICE_ID:
            return "subject.id"
        if "." in path:
            return f"subject.facts.get({self._value(path)})"
        return _UNKNOWN

    def _operation(self, sign: str, parts: list[_Part]) -> _Part:
        if sign in _COMPARISONS:
            if any(_is(part, _UNKNOWN) for part in parts):
                return _UNKNOWN
            return self._known(parts, f"{{}} {sign} {{}}")
        if sign in _ARITHMETIC:
            first, second = map(self.text, parts)
            return f"{_NAMES[sign]}({first}, {second})"
        if sign in ("and", "or"):
            return (
                self._all_or_any(parts, _TRUE, _FALSE)
                if sign == "and"
                else self._all_or_any(parts, _FALSE, _TRUE)
            )
        return self._known(parts, {"not": "not {}", "neg": "-{}", "in": "{} in {}"}[sign])

    def _all_or_any(self, parts: list[_Part], neutral: Constant, deciding: Constant) -> _Part:
        """Write "and" (neutral is true, one false decides) or "or" (the other way round)."""
        left = [part for part in parts if not _is(part, neutral)]
        if any(_is(part, deciding) for part in left):
            return deciding
        if not left:
            return neutral
        if len(left) == 1:
            return left[0]
        names = [self._temporary() for _ in left]
        pairs = list(zip(names, map(self.text, left), strict=True))
        decided = " or ".join(f"({name} := {text}) is {deciding.value}" for name, text in pairs)
        unknown = " or ".join(f"{name} is None" for name in names)
        return f"({deciding.value} if {decided} else None if {unknown} else {neutral.value})"

    def _call(self, function: str, parts: list[_Part]) -> _Part:
        if function == "known":
            (part,) = parts
            if isinstance(part, Constant):
                return Constant(part.value is not None)
            return f"({part} is not None)"
        if function in ("min", "max"):
            return f"{function}_of(({''.join(f'{self.text(part)}, ' for part in parts)}))"
        if function == "between":
            if all(isinstance(part, Constant) for part in parts[1:]) and any(
                _is(part, _UNKNOWN) for part in parts[1:]
            ):
                return _UNKNOWN
            return self._known(parts, "{1} <= {0} <= {2}")
        return self._known(parts, {"abs": "abs({})", "size": "len({})"}[function])

    def _known(self, parts: list[_Part], form: str) -> str:
        """Write what is unknown where one of its parts is."""
        tests, names = [], []
        for part in parts:
            text = self.text(part)
            if isinstance(part, Constant) and part.value is not None:
                names.append(text)
                continue
            names.append(name := self._temporary())
            tests.append(f"({name} := {text}) is None")
        value = form.format(*names)
        return f"(None if {' or '.join(tests)} else {value})" if tests else f"({value})"

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"

    def _value(self, value: Any) -> str:
        name = f"value_{len(self._values)}"
        self._values[name] = value
        return name


@functools.lru_cache(maxsize=1_000)
def _code(text: str) -> CodeType:
    return compile(f"lambda data, subject: {text}", "<condition>", "eval")


def _is(part: _Part, constant: Constant) -> bool:
    return isinstance(part, Constant) and part.value is constant.value


def _computed(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], float | None]:
    def computed(a: Any, b: Any) -> float | None:
        if a is None or b is None:
            return None
        try:
            result: float = apply(float(a), float(b))
        except ArithmeticError:
            return None
        return result if result - result == 0.0 else None  # infinities and NaN are unknown

    return computed


def _extreme(pick: Callable[[Any], Any]) -> Callable[[tuple[Any, ...]], Any]:
    def extreme(values: tuple[Any, ...]) -> Any:
        """Leave unknown values out: a single-phase meter has one voltage only."""
        unknown = values.count(None)
        if not unknown:
            return pick(values)
        if unknown == len(values) - 1 and values[0] is not None:
            return values[0]
        known = [value for value in values if value is not None]
        return pick(known) if known else None

    return extreme


_NAMES = {"+": "plus", "-": "minus", "*": "times", "/": "over"}
#: All that an expression can call.
_HELPERS: dict[str, Any] = {
    "__builtins__": {},
    "abs": abs,
    "len": len,
    "min_of": _extreme(min),
    "max_of": _extreme(max),
    **{_NAMES[sign]: _computed(apply) for sign, apply in _ARITHMETIC.items()},
}
