"""What a field of an event takes, and how a vendor's value becomes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_TRUE, _FALSE = frozenset({"1", "true", "on", "yes"}), frozenset({"0", "false", "off", "no"})
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Target:
    """One field's type."""

    kind: Literal["bool", "int", "float", "text", "choice"]
    many: bool = False
    choices: frozenset[str] = frozenset()

    def convert(self, raw: Any) -> Any:
        """Return a single value as the field's type; raise ValueError."""
        if raw is None or isinstance(raw, dict | list):
            raise ValueError("expected a single value")
        try:
            return _CONVERT[self.kind](raw, self.choices)
        except OverflowError:
            raise ValueError("the number is out of range") from None


def target_of(field: FieldInfo) -> Target:
    """Return what a field takes."""
    return _target(field.annotation)


def _target(annotation: Any) -> Target:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _target(get_args(annotation)[0])
    if origin in (Union, UnionType):
        (inner,) = (item for item in get_args(annotation) if item is not NoneType)
        return _target(inner)
    if origin is Literal:
        return Target("choice", choices=frozenset(map(str, get_args(annotation))))
    if origin is list:
        inner_target = _target(get_args(annotation)[0])
        return Target(inner_target.kind, many=True, choices=inner_target.choices)
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "text")):
        if annotation is kind:
            return Target(name)  # type: ignore[arg-type]
    raise ValueError("this field cannot be filled by a mapping")


def as_text(raw: Any) -> str:
    """Return a raw value as text: 1, 1.0 and "1" alike."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    return str(raw).strip()


def as_number(raw: Any) -> int | float:
    """Return a raw value as a finite number; raise ValueError."""
    if isinstance(raw, bool):
        raise ValueError(f"{raw} is no number")  # noqa: TRY004 (a wrong value, not a wrong call)
    if isinstance(raw, int):
        return raw
    text = raw.strip() if isinstance(raw, str) else raw
    if isinstance(text, str) and len(text) <= 40 and text.lstrip("+-").isdecimal():
        return int(text)
    try:
        number = float(text)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{str(raw)[:60]!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{str(raw)[:60]!r} is no number")
    return number


def _bool(raw: Any, _choices: frozenset[str]) -> bool:
    text = as_text(raw).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{text[:60]!r} is neither true nor false: give an enum")


def _int(raw: Any, _choices: frozenset[str]) -> int:
    number = as_number(raw)
    if number != int(number):
        raise ValueError(f"{raw} is no whole number")
    return int(number)


def _float(raw: Any, _choices: frozenset[str]) -> float:
    return float(as_number(raw))


def _text(raw: Any, _choices: frozenset[str]) -> str:
    return as_text(raw)[:_LONGEST]


def _choice(raw: Any, choices: frozenset[str]) -> str:
    text = as_text(raw)
    if text not in choices:
        raise ValueError(f"{text[:60]!r} is none of {', '.join(sorted(choices))}")
    return text


_CONVERT: dict[str, Callable[[Any, frozenset[str]], Any]] = {
    "bool": _bool, "int": _int, "float": _float, "text": _text, "choice": _choice,
}  # fmt: skip
