"""A tiny detector in ONNX, written byte by byte: it finds red and blue squares.

The picture is averaged over a grid of cells; a cell's score for a class is how much of its
colour it has. Boxes are the cells themselves, so every expected box is known.
"""

from __future__ import annotations

import numpy as np

SIZE, GRID = 64, 4
_CELL = SIZE // GRID
#: Red and blue minus what all colours share; a full cell scores 1.
_CLASSES = np.array([[1.0, -0.5, -0.5], [-0.5, -0.5, 1.0]], np.float32)


def model(head: str) -> bytes:
    """Return the network with the head ``columns`` (YOLOv8) or ``rows`` (YOLOv5)."""
    cells = GRID * GRID
    centres = (np.indices((GRID, GRID)).reshape(2, -1)[::-1] + 0.5) * _CELL
    boxes = np.concatenate([centres, np.full((2, cells), float(_CELL))]).astype(np.float32)
    fixed = boxes if head == "columns" else np.concatenate([boxes, np.ones((1, cells))])
    tensors = [
        _tensor("weights", _CLASSES.reshape(2, 3, 1, 1)),
        _tensor("fixed", fixed.astype(np.float32)[None]),
        _tensor("shape", np.array([1, 2, cells], np.int64)),
    ]
    side = [_CELL, _CELL]
    nodes = [
        _node("AveragePool", ["images"], "pooled", {"kernel_shape": side, "strides": side}),
        _node("Conv", ["pooled", "weights"], "scores", {"kernel_shape": [1, 1]}),
        _node("Reshape", ["scores", "shape"], "flat", {}),
        _node("Concat", ["fixed", "flat"], "columns" if head == "rows" else "output", {"axis": 1}),
    ]  # fmt: skip
    rows = 6 if head == "columns" else 7
    shape = [1, rows, cells]
    if head == "rows":
        nodes.append(_node("Transpose", ["columns"], "output", {"perm": [0, 2, 1]}))
        shape = [1, cells, rows]
    graph = b"".join(_field(1, node) for node in nodes)
    graph += _field(2, b"tiny") + b"".join(_field(5, tensor) for tensor in tensors)
    graph += _field(11, _value("images", [1, 3, SIZE, SIZE])) + _field(12, _value("output", shape))
    return _number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 13))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _tensor(name: str, values: np.ndarray) -> bytes:
    kind = 7 if values.dtype == np.int64 else 1
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, kind) + _field(8, name.encode()) + _field(9, values.tobytes())


def _node(
    kind: str, inputs: list[str], output: str, attributes: dict[str, int | list[int]]
) -> bytes:
    parts = [_field(1, name.encode()) for name in inputs]
    parts += [_field(2, output.encode()), _field(3, output.encode()), _field(4, kind.encode())]
    for name, value in attributes.items():
        if isinstance(value, int):
            body = _number(3, value) + _number(20, 2)
        else:
            body = b"".join(_number(8, item) for item in value) + _number(20, 7)
        parts.append(_field(5, _field(1, name.encode()) + body))
    return b"".join(parts)


def _value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(_field(1, _number(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, 1) + _field(2, dims)))
