"""Texts for people: placeholders in titles and advice, values and times in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rules.model import Wording

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: Placeholders that are not data fields.
NAMES = ("device", "node", "site", "edge")
_MAX_VALUE = 64
_MISSING = "–"


def unknown_placeholders(text: str, known: Iterable[str]) -> list[str]:
    """Return the placeholders of a text that nothing could fill."""
    allowed = {*NAMES, *known}
    return [name for name in _PLACEHOLDER.findall(text) if name not in allowed]


def fill(text: str, values: Mapping[str, Any], words: Mapping[str, Wording], language: str) -> str:
    """Fill a text's placeholders; what is missing becomes a dash, device text stays short.

    Values are inserted once and never read again as a template.
    """

    def value_of(match: re.Match[str]) -> str:
        return say(values.get(match.group(1)), words, language)

    return _PLACEHOLDER.sub(value_of, text)


def say(value: Any, words: Mapping[str, Wording], language: str) -> str:
    """Return a value as people read it."""
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        if language == "zh":
            return "是" if value else "否"
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    text = str(value)
    if (wording := words.get(text)) is not None:
        return wording.zh if language == "zh" else wording.en
    shown = "".join(char for char in text if char.isprintable())
    return shown if len(shown) <= _MAX_VALUE else shown[: _MAX_VALUE - 1] + "…"


def duration(ms: int, language: str) -> str:
    """Return a duration in words, in its one or two largest units."""
    units = (
        (86_400_000, "d", "天"),
        (3_600_000, "h", "小时"),
        (60_000, "min", "分钟"),
        (1_000, "s", "秒"),
    )
    parts: list[str] = []
    rest = max(ms, 0)
    for size, en, zh in units:
        if (count := rest // size) and len(parts) < 2:
            parts.append(f"{count}{zh}" if language == "zh" else f"{count} {en}")
            rest -= count * size
    if not parts:
        return "0秒" if language == "zh" else "0 s"
    return ("" if language == "zh" else " ").join(parts)
