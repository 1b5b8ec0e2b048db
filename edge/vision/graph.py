"""Cuts a frozen TensorFlow graph down to the part between one node and some others.

A GraphDef is a list of NodeDefs in Protocol Buffers' wire format. Only a node's name (1),
operation (2) and inputs (3) are read; the rest is copied as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: DT_FLOAT of TensorFlow's DataType.
_FLOAT = 1


class GraphError(ValueError):
    """The bytes are not the graph that was expected."""


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    inputs: tuple[str, ...]
    raw: bytes


def prune(graph: bytes, start: str, ends: Iterable[str]) -> bytes:
    """Return the graph of everything that ``ends`` need, with ``start`` as its only input.

    Raises :class:`GraphError` when a node is missing or the bytes are no graph.
    """
    nodes = {node.name: node for node in _nodes(graph)}
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in needed:
            continue
        if name not in nodes:
            raise GraphError(f"the graph has no node {name}")
        needed.add(name)
        if name != start:
            waiting += nodes[name].inputs
    if start not in needed:
        raise GraphError(f"nothing in the graph needs {start}")
    return b"".join(
        _placeholder(start) if name == start else _field(1, node.raw)
        for name, node in nodes.items()
        if name in needed
    )


def _nodes(graph: bytes) -> Iterator[_Node]:
    for number, value in _fields(graph):
        if number != 1:
            continue
        name, inputs = "", []
        for part, content in _fields(value):
            if part == 1:
                name = content.decode("utf-8", "replace")
            elif part == 3:
                inputs.append(content.decode("utf-8", "replace"))
        yield _Node(name, tuple(inputs), value)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of each field; numbers' contents are left empty."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            yield key >> 3, b""
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind == _FIXED32:
            size = 4
        elif kind == _FIXED64:
            size = 8
        else:
            raise GraphError(f"unknown wire type {kind}")
        if at + size > len(message):
            raise GraphError("a field goes beyond the end")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise GraphError("a number goes beyond the end")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _placeholder(name: str) -> bytes:
    """Return a NodeDef entry for an input of floats."""
    kind = _number(6 << 3) + _number(_FLOAT)
    attribute = _field(5, _field(1, b"dtype") + _field(2, kind))
    return _field(1, _field(1, name.encode()) + _field(2, b"Placeholder") + attribute)
