"""Reads YAML as nodes with their places, so that every complaint names line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from rules.expression.syntax import ExpressionError
from rules.expression.types import nearest
from rules.model import Problem

MAX_BYTES = 512 * 1024
_MAX_DEPTH = 12
_DURATION = re.compile(r"(?:\d{1,9}(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_DURATION_MS = 366 * 86_400_000

YamlNode = Any
"""A node of PyYAML's composer: scalar, sequence or mapping, with ``start_mark``."""


class Reader:
    """Walks one file and collects its problems; a value that cannot be used reads as None."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def complain(self, node: YamlNode | None, message: str, remedy: str = "") -> None:
        """Note a problem at a node (None: at the start of the file)."""
        line, column = (
            (node.start_mark.line, node.start_mark.column) if node is not None else (0, 0)
        )
        self.problems.append(Problem(self.source, line + 1, column + 1, message, remedy))

    def complain_inside(self, node: YamlNode, refused: ExpressionError) -> None:
        """Note a problem inside a scalar: on one line the column is exact."""
        mark = node.start_mark
        column = mark.column
        if node.start_mark.line == node.end_mark.line:
            column += refused.offset + (1 if node.style in ("'", '"') else 0)
        self.problems.append(
            Problem(self.source, mark.line + 1, column + 1, refused.message, refused.remedy)
        )

    def document(self, text: str) -> YamlNode | None:
        """Return a file's root node; aliases, tags, depth and size are limited."""
        if len(text) > MAX_BYTES:
            self.complain(None, f"the file is longer than {MAX_BYTES} bytes")
            return None
        try:
            if not self._is_plain(text):
                return None
            return yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            message = f"not readable as YAML: {error.problem or error.context}"
            self.problems.append(Problem(self.source, line, column, message))
        except yaml.YAMLError as error:
            self.complain(None, f"not readable as YAML: {' '.join(str(error).split())[:120]}")
        except (UnicodeError, RecursionError, ValueError) as error:
            self.complain(None, f"not readable as YAML ({type(error).__name__})")
        return None

    def _is_plain(self, text: str) -> bool:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                self.complain(event, "anchors and aliases are not used here", "write it out")
                return False
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            if depth > _MAX_DEPTH:
                self.complain(event, "nested too deeply")
                return False
        return True

    def mapping(
        self, node: YamlNode, known: Iterable[str] | None, what: str
    ) -> dict[str, YamlNode] | None:
        """Return a mapping's nodes by key; unknown keys (``known`` None: none are) are faults."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"{what} must be a mapping")
            return None
        found: dict[str, YamlNode] = {}
        names = None if known is None else list(known)
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self.complain(key, f"a key of {what} must be a plain name")
            elif names is not None and name not in names:
                self.complain(key, f"{what} has no key {name!r}", nearest(name, names))
            elif name in found:
                self.complain(key, f"the key {name!r} stands twice")
            else:
                found[name] = value
        return found

    def sequence(self, node: YamlNode, what: str) -> list[YamlNode]:
        """Return a list's nodes; a lone scalar or mapping is a list of one."""
        if isinstance(node, yaml.SequenceNode):
            if not node.value:
                self.complain(node, f"{what} is an empty list")
            return list(node.value)
        return [node]

    def text(self, node: YamlNode, what: str, *, most: int = 2_000) -> str | None:
        """Return a text of at most ``most`` characters."""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.complain(node, f"{what} must be a text")
            return None
        if len(node.value) > most:
            self.complain(node, f"{what} is longer than {most} characters")
            return None
        return str(node.value).strip()

    def choice(self, node: YamlNode, known: Iterable[str], what: str) -> str | None:
        """Return one of the known words."""
        value = self.text(node, what)
        names = list(known)
        if value is not None and value not in names:
            self.complain(node, f"{value!r} is not a {what}", nearest(value, names))
            return None
        return value

    def truth(self, node: YamlNode, what: str) -> bool | None:
        """Return true or false."""
        value = self.choice(node, ("true", "false"), what)
        return None if value is None else value == "true"

    def number(self, node: YamlNode, what: str, low: float, high: float) -> float | None:
        """Return a number between ``low`` and ``high``."""
        value = self.text(node, what)
        if value is None:
            return None
        try:
            found = float(value)
        except ValueError:
            self.complain(node, f"{what} must be a number")
            return None
        if not low <= found <= high:
            self.complain(node, f"{what} must be between {low:g} and {high:g}")
            return None
        return found

    def duration(self, node: YamlNode, what: str) -> int | None:
        """Return a duration such as ``30s``, ``10m`` or ``1h30m`` in ms."""
        value = self.text(node, what)
        if value is None:
            return None
        if _DURATION.fullmatch(value) is None:
            self.complain(node, f"{what}: {value!r} is not a duration", "such as 30s, 10m or 2h")
            return None
        total = sum(int(count) * _UNIT_MS[unit] for count, unit in _PART.findall(value))
        if not 0 < total <= _MAX_DURATION_MS:
            self.complain(node, f"{what} must be more than nothing and at most a year")
            return None
        return total

    def literal(self, node: YamlNode, what: str) -> float | str | bool | None:
        """Return a parameter's value: a number, a truth value or a text."""
        value = self.text(node, what)
        if value is None or (isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')):
            return value
        if value in ("true", "false"):
            return value == "true"
        try:
            found = float(value)
        except ValueError:
            return value
        if found - found != 0.0:
            self.complain(node, f"{what} must be a finite number")
            return None
        return found
