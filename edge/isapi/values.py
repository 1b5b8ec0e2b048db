"""Values out of JSON and XML alike: numbers that are text, elements that come once or often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

_DEEPEST = 16
_LARGEST = 9_007_199_254_740_991


class ValueUnreadableError(ValueError):
    """XML that cannot be parsed, is too deep, or declares entities."""


def whole(value: Any) -> int | None:
    """Return a whole number from 0 on, however it is written; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        if not (value.isdecimal() and value.isascii() and len(value) <= 15):
            return None
        return int(value)
    return value if isinstance(value, int) and 0 <= value <= _LARGEST else None


def text(value: Any) -> str | None:
    """Return a text without the space around it, None where there is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return (value.strip() or None) if isinstance(value, str) else None


def flag(value: Any) -> bool | None:
    """Return a truth value, also of ``"true"``; None where it is neither."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if _is(value) else None


def branch(value: Any, *path: str) -> Any:
    """Return what stands at the end of a path of names, None where it breaks off."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def each(value: Any) -> Iterator[Any]:
    """Iterate over what may stand once, several times or not at all."""
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


def find(value: Any, name: str, depth: int = 0) -> Any:
    """Return the first value of this name anywhere below, None without one."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        if value.get(name) is not None:
            return value[name]
        below: Iterator[Any] = iter(value.values())
    elif isinstance(value, list):
        below = iter(value)
    else:
        return None
    for item in below:
        if (found := find(item, name, depth + 1)) is not None:
            return found
    return None


def from_xml(body: bytes) -> tuple[str, Any]:
    """Return (name of the root, its content): a text, or a mapping by local name.

    What stands several times becomes a list; attributes are dropped. Raises
    :class:`ValueUnreadableError`, also for a document type declaration.
    """
    try:
        root = fromstring(body.strip(), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise ValueUnreadableError(str(error)) from None
    return _name(root.tag), _content(root, 0)


def _content(element: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueUnreadableError("nested too deep")
    if len(element) == 0:
        return (element.text or "").strip()
    found: dict[str, Any] = {}
    for child in element:
        name, value = _name(child.tag), _content(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _is(value: Any) -> bool:
    return isinstance(value, str)
