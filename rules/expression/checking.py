"""Checks an expression's types against the event models, before anything runs."""

from __future__ import annotations

from rules.expression.syntax import (
    Call,
    ExpressionError,
    Items,
    Literal,
    Name,
    Node,
    Operation,
)
from rules.expression.types import BOOLEAN, NUMBER, Scope, Sort, Type, literal_type, nearest

#: The named functions: least and most arguments, and what they answer.
FUNCTIONS: dict[str, tuple[int, int, Type]] = {
    "abs": (1, 1, NUMBER),
    "min": (1, 20, NUMBER),
    "max": (1, 20, NUMBER),
    "between": (3, 3, BOOLEAN),
    "known": (1, 1, BOOLEAN),
    "size": (1, 1, NUMBER),
}
_ARITHMETIC = frozenset({"+", "-", "*", "/", "neg"})
_ORDER = frozenset({"<", "<=", ">", ">="})


def check(node: Node, scope: Scope) -> Type:
    """Return an expression's type; raise :class:`ExpressionError` where it makes no sense."""
    if isinstance(node, Literal):
        return literal_type(node.value)
    if isinstance(node, Name):
        return _name(node, scope)
    if isinstance(node, Items):
        return _items(node)
    if isinstance(node, Call):
        return _call(node, scope)
    return _operation(node, scope)


def check_condition(node: Node, scope: Scope) -> None:
    """Check that an expression is a condition: something that is true, false or unknown."""
    found = check(node, scope)
    if found.sort is not Sort.BOOLEAN:
        raise ExpressionError(
            f"a condition must be true or false; this is a {found.sort}", node.offset
        )


def _name(node: Name, scope: Scope) -> Type:
    found = scope.lookup(node.path)
    if found is None:
        raise ExpressionError(f"unknown field {node.path!r}", node.offset, scope.nearest(node.path))
    return found


def _items(node: Items) -> Type:
    sorts = {literal_type(item.value).sort for item in node.items}
    if not node.items:
        raise ExpressionError("an empty list", node.offset, "nothing is ever in it")
    if len(sorts) > 1 or sorts == {Sort.BOOLEAN}:
        raise ExpressionError("a list holds numbers or texts, not a mixture", node.offset)
    return Type(Sort.NUMBERS if sorts == {Sort.NUMBER} else Sort.TEXTS)


def _call(node: Call, scope: Scope) -> Type:
    if node.function not in FUNCTIONS:
        raise ExpressionError(
            f"unknown function {node.function!r}", node.offset, nearest(node.function, FUNCTIONS)
        )
    least, most, answer = FUNCTIONS[node.function]
    if not least <= len(node.arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ExpressionError(
            f"{node.function} takes {wanted} argument(s), not {len(node.arguments)}", node.offset
        )
    for argument in node.arguments:
        found = check(argument, scope)
        if node.function == "size":
            if found.sort not in (Sort.NUMBERS, Sort.TEXTS):
                raise ExpressionError(f"size needs a list, not a {found.sort}", argument.offset)
        elif node.function == "known":
            if not isinstance(argument, Name):
                raise ExpressionError("known asks about a field", argument.offset)
        else:
            _want(argument, found, Sort.NUMBER, node.function)
    return answer


def _want(node: Node, found: Type, sort: Sort, operator: str) -> None:
    if found.sort is not sort:
        raise ExpressionError(f"{operator} needs a {sort}, not a {found.sort}", node.offset)


def _operation(node: Operation, scope: Scope) -> Type:
    found = [check(operand, scope) for operand in node.operands]
    if node.operator in ("and", "or", "not"):
        for operand, each in zip(node.operands, found, strict=True):
            _want(operand, each, Sort.BOOLEAN, f"`{node.operator}`")
        return BOOLEAN
    if node.operator in _ARITHMETIC or node.operator in _ORDER:
        for operand, each in zip(node.operands, found, strict=True):
            _want(operand, each, Sort.NUMBER, f"`{node.operator}`")
        return NUMBER if node.operator in _ARITHMETIC else BOOLEAN
    left, right = found
    if node.operator == "in":
        _check_in(node, left, right)
    else:
        _check_equal(node, left, right)
    return BOOLEAN


def _check_equal(node: Operation, left: Type, right: Type) -> None:
    if left.sort is not right.sort or left.sort in (Sort.NUMBERS, Sort.TEXTS):
        raise ExpressionError(
            f"a {left.sort} cannot equal a {right.sort}", node.offset,
            "texts are quoted" if Sort.TEXT in (left.sort, right.sort) else "",
        )  # fmt: skip
    for mine, other in zip(node.operands, reversed(node.operands), strict=True):
        kind = left if other is node.operands[0] else right
        if isinstance(mine, Literal) and isinstance(mine.value, str):
            _possible(mine, kind)


def _check_in(node: Operation, left: Type, right: Type) -> None:
    wanted = {Sort.NUMBERS: Sort.NUMBER, Sort.TEXTS: Sort.TEXT}.get(right.sort)
    if wanted is None:
        raise ExpressionError(f"`in` needs a list, not a {right.sort}", node.operands[1].offset)
    if left.sort is not wanted:
        raise ExpressionError(f"a {left.sort} cannot be in a {right.sort}", node.offset)
    if isinstance(node.operands[1], Items):
        for item in node.operands[1].items:
            _possible(item, left)
    elif isinstance(node.operands[0], Literal):
        _possible(node.operands[0], right)


def _possible(literal: Literal, kind: Type) -> None:
    if kind.choices is not None and literal.value not in kind.choices:
        raise ExpressionError(
            f"{literal.value!r} can never occur here", literal.offset,
            nearest(str(literal.value), sorted(kind.choices)),
        )  # fmt: skip
